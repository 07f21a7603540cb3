"""What the facts about web sources share: a service that runs, and a key in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.home.secret import write_private
from tests.energy.sources.services import KEY
from tests.energy.standin import Answer, StandIn, stand_in


@pytest.fixture
def service() -> Iterator[StandIn]:
    with stand_in(lambda _: Answer("", 500)) as running:
        yield running


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    write_private(tmp_path / "key", KEY)
    return str(tmp_path / "key")
