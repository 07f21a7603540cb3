"""Facts about the list of sources, and about the example that people copy from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import get_args

from pydantic import TypeAdapter

from node.energy.sources.registry import AnySource

EXAMPLE = Path(__file__).resolve().parents[3] / "deploy" / "energy.toml.example"
NAMES = [get_args(s.model_fields["source"].annotation)[0] for s in get_args(get_args(AnySource)[0])]


def test_the_registry_names_every_source_once_in_order() -> None:
    assert sorted(set(NAMES)) == NAMES


def test_the_example_has_a_section_of_every_source_and_all_of_them_are_valid() -> None:
    adapter: TypeAdapter[AnySource] = TypeAdapter(AnySource)
    sections = tomllib.loads(EXAMPLE.read_text())
    read = [adapter.validate_json(json.dumps(section)) for section in sections.values()]
    assert {section.source for section in read} == set(NAMES)
