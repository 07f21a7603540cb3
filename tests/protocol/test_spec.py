"""The specification says what the code does: where a comparison is cheap, it is made here.

Tables of fields stand under a heading that ends in the kind or the class in backticks, and have two columns that follow
from the model: the name, and type with bounds. The third says what a number means.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import proof
from ledger.archive import check
from ledger.checkpoint import origin_of, witness_name
from ledger.places import PLACES_SHA256
from ledger.state import JOB_TABLE, LOT_TABLE, PLACEMENT_TABLE
from ledger.transitions import PROCESS
from ledger.witness import Status
from protocol import adverts, direct, envelope, gossip, invitation
from protocol.adverts import Advert, Update
from protocol.bodies import BODIES
from protocol.certificates import Lot
from protocol.direct import DIRECT, Ticket
from protocol.genesis import Clock, Genesis
from protocol.gossip import Topics
from protocol.hello import Hello
from protocol.identity import peer_id
from protocol.invitation import Invitation
from protocol.messages import (
    INTEGER_MAX,
    Blob,
    Body,
    Countersignature,
    MeterSeal,
    ModelSpec,
    Place,
    Placement,
    SlotEnergy,
    TrainingSpec,
)
from protocol.regions import COUNTRIES, REGIONS

SPEC = (Path(__file__).parents[2] / "protocol/SPEC.md").read_text()
MODELS: dict[str, type[Body]] = {
    **BODIES,
    **DIRECT,
    **{
        model.__name__: model
        for model in (
            *(Advert, Blob, Clock, Countersignature, Genesis, Hello, Invitation, Lot, MeterSeal, ModelSpec, Place),
            *(Placement, SlotEnergy, Ticket, TrainingSpec, Update),
        )
    },
}
MODULES = (
    *(
        "adverts",
        "codec",
        "credit",
        "devices",
        "direct",
        "discovery",
        "envelope",
        "genesis",
        "gossip",
        "hello",
        "identity",
        "invitation",
        "messages",
        "scan",
    ),
    *("signed", "tickets", "units"),
    *(
        "archive",
        "archive.frames",
        "archive.lines",
        "archive.seal",
        "checkpoint",
        "energy",
        "feed",
        "forecasts",
        "heads",
        "merkle",
        "places",
        "proof",
    ),
    *("solar", "sync", "transitions", "witness"),
)
NETWORK, AUTHOR = bytes(range(32)), bytes(range(1, 33))


def modules() -> Iterator[tuple[str, Any]]:
    for name in MODULES:
        package = "protocol" if (Path(__file__).parents[2] / f"protocol/{name}.py").exists() else "ledger"
        yield f"{package}.{name}", importlib.import_module(f"{package}.{name}")


CONSTANTS = [
    (module_name, name, value)
    for module_name, module in modules()
    for name, value in vars(module).items()
    if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) and isinstance(value, int | bytes | str)
]
# How a program finds the canonical form quickly, or the archive of another version, is no matter of the protocol.
PRIVATE = {
    "GROUP_ORDER_TOP",
    "CANONICAL",
    "FORMER",
    "NO_PREV",
    "EMPTY_ROOT",
    "FROZEN",
    "ALL",
    "INTEGER_MAX",
    "OPENED_MAX",
}


# --- tables of fields ---------------------------------------------------------------------------------------------


def described(schema: dict[str, Any]) -> str:
    """A field's type and bounds, in the words of the specification."""
    if "$ref" in schema:
        text = f"`{schema['$ref'].rpartition('/')[2]}`"
    elif "anyOf" in schema:
        text = " or ".join(described(part) for part in schema["anyOf"])
    elif "const" in schema:
        text = _literal(schema["const"])
    elif "enum" in schema:
        text = ", ".join(map(_literal, schema["enum"]))
    else:
        text = _plain(schema)
    return text + (f"; absent: {_literal(schema['default'])}" if "default" in schema else "")


def _plain(schema: dict[str, Any]) -> str:
    match schema["type"]:
        case "integer":
            high = schema.get("maximum", schema.get("exclusiveMaximum", 0) - 1)
            return f"integer {schema['minimum']} to {'2^53-1' if high == INTEGER_MAX else high}"
        case "string":
            low, high = schema.get("minLength", 0), schema.get("maxLength", schema.get("minLength"))
            if schema.get("format") == "binary":
                return f"{low} bytes" if low == high else f"{low} to {high} bytes"
            lengths = [] if high is None else [f"{low} to {high} characters"]
            return " ".join(lengths + ([f"`{schema['pattern']}`"] if "pattern" in schema else [])) or "text"
        case "array" if "prefixItems" in schema:
            return f"({', '.join(map(described, schema['prefixItems']))})"
        case "array":
            return f"{schema.get('minItems', 0)} to {schema['maxItems']} of [{described(schema['items'])}]"
    return "nil" if schema["type"] == "null" else str(schema["type"])


def _literal(value: Any) -> str:
    if value is None or value == []:
        return "nil" if value is None else "none"
    return f'"{value}"' if isinstance(value, str) else str(value)


def fields(model: type[Body]) -> list[tuple[str, str]]:
    return [(name, described(part)) for name, part in model.model_json_schema().get("properties", {}).items()]


def section(name: str) -> str:
    """What stands under the heading that ends in this name."""
    found = re.findall(rf"^#+ [^\n]*`{re.escape(name)}`\n(.*?)(?=^#|\Z)", SPEC, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{len(found)} headings end in `{name}`"
    return str(found[0])


def numbers(*functions: Callable[..., Any]) -> list[str]:
    """The numbers of the checks in these docstrings."""
    return [n for f in functions for n in re.findall(r"^\s*(\d+)\. ", f.__doc__ or "", re.MULTILINE)]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_its_table_with_exactly_its_fields(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| [^\n]*\|$", section(name), re.MULTILINE)
    assert rows == fields(MODELS[name])


@pytest.mark.parametrize("kind", PROCESS)
def test_every_kind_lists_as_many_checks_as_its_rules_have(kind: str) -> None:
    assert re.findall(r"^(\d+)\. ", section(kind), re.MULTILINE) == numbers(PROCESS[kind])


def test_no_heading_is_of_a_kind_or_message_that_does_not_exist() -> None:
    assert set(re.findall(r"^#{3,4} [^\n]*`([\w.]+)`$", SPEC, re.MULTILINE)) == set(MODELS)


# --- states, names and numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "table"), [("job", JOB_TABLE), ("placement", PLACEMENT_TABLE), ("lot", LOT_TABLE)])
def test_state_tables_are_those_of_the_code(name: str, table: dict[tuple[str, str], str]) -> None:
    rows = re.findall(rf"^\| {name} \| ([\w ]+) \| ([\w ]+) \| ([\w ]+) \|$", SPEC, re.MULTILINE)
    assert sorted(rows) == sorted((before, act, after) for (before, act), after in table.items())


def test_every_constant_is_named_with_its_value() -> None:
    for module, name, value in CONSTANTS:
        if name not in PRIVATE and isinstance(value, int):
            assert re.search(rf"`{name}` = {value}\b", SPEC), f"{module}.{name} = {value} is not in the specification"


def test_the_map_of_zones_is_the_one_that_is_named() -> None:
    content = (Path(__file__).parents[2] / "ledger/places.txt").read_bytes()
    assert hashlib.sha256(content).hexdigest() == PLACES_SHA256
    assert f"`PLACES_SHA256` =\n`{PLACES_SHA256}`" in SPEC


def test_every_number_that_is_named_is_that_of_the_code() -> None:
    known: dict[str, set[int]] = {}
    for _, name, value in CONSTANTS:
        if isinstance(value, int):
            known.setdefault(name, set()).add(value)
    named = re.findall(r"`([A-Z][A-Z0-9_]*)` = (\d+)", SPEC)
    assert [pair for pair in named if int(pair[1]) not in known.get(pair[0], ())] == []


def test_every_country_is_in_the_region_that_the_code_says() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| ((?:[A-Z]{2} ?)+) \|$", SPEC, re.MULTILINE)
    assert dict(rows) == {region: " ".join(sorted(named.split())) for region, named in COUNTRIES.items()}


def test_every_domain_topic_and_name_occurs() -> None:
    topics = Topics.of(NETWORK)
    texts = {topics.adverts("<region>"), topics.entries, topics.checkpoints, origin_of(NETWORK, AUTHOR), *REGIONS}
    texts.add(witness_name(NETWORK, AUTHOR))
    spelled = {t.replace(NETWORK.hex()[:32], "<network>").replace(peer_id(AUTHOR), "<peer id>") for t in texts}
    for _, name, value in CONSTANTS:
        if name.endswith("DOMAIN") or name == "MAGIC":
            text = value.decode() if isinstance(value, bytes) else str(value)
            spelled.add(text.replace("\0", r"\0").replace("\n", r"\n"))
    assert [text for text in sorted(spelled) if f"`{text}`" not in SPEC] == []


@pytest.mark.parametrize(
    ("heading", "functions"),
    [
        ("5 Entries", (envelope.parse, envelope.open_parsed)),
        ("12 Proof files", (proof.verify,)),
        ("15 Direct messages", (direct.decode_direct,)),
        ("18 Archives", (check.Check,)),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_numbered_checks_are_those_of_the_code(heading: str, functions: tuple[Callable[..., Any], ...]) -> None:
    (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^#|\Z)", SPEC, re.MULTILINE | re.DOTALL)
    assert re.findall(r"^(\d+)\. ", text, re.MULTILINE) == numbers(*functions)


@pytest.mark.parametrize(
    ("topic", "functions"),
    [
        ("adverts", (gossip.judge_adverts, adverts.open_advert, gossip.judge_advert)),
        ("entries", (gossip.judge_announcement,)),
        ("invitation", (invitation.open_invitation, invitation.judge_invitation)),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_every_check_of_gossip_has_its_verdict(topic: str, functions: tuple[Callable[..., Any], ...]) -> None:
    rows = re.findall(rf"^\| {topic} \| (\d+) \| [^\n]* \| (Ignore|Reject) \|$", SPEC, re.MULTILINE)
    assert [number for number, _ in rows] == numbers(*functions)
    promised = [line for f in functions for line in (f.__doc__ or "").splitlines() if re.match(r"\s*\d+\. ", line)]
    assert [number for number, verdict in rows if verdict == "Ignore"] == [
        line.split(".")[0].strip() for line in promised if "Ignore" in line
    ]


def test_every_answer_of_a_witness_is_in_the_table() -> None:
    assert [s for s in Status if not re.search(rf"^\| {s.value} \| ", SPEC, re.MULTILINE)] == []
