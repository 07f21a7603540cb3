"""Facts about bodies, the genesis document and units."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol import units
from protocol.bodies import BODIES
from protocol.codec import VALUE_MAX_BYTES, decode, encode
from protocol.genesis import Clock, Genesis
from protocol.messages import (
    ARRAY_MAX,
    INTEGER_MAX,
    RECEIPT_ROUNDS_MAX,
    RECEIPT_SLOTS_MAX,
    Bid,
    Body,
    Receipt,
)
from tests.builders import attestation, digest, genesis, job, keypair, offer, slot_energy, training, whole_history

HONEST = {entry.kind: BODIES[entry.kind].model_validate(entry.body) for entry in whole_history().entries}


def test_the_history_of_the_tests_has_every_kind() -> None:
    assert HONEST.keys() == BODIES.keys()


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_survives_the_wire_and_json(kind: str) -> None:
    body = HONEST[kind]
    assert type(body).model_validate(decode(encode(body.model_dump()))) == body
    assert type(body).model_validate_json(body.model_dump_json()) == body


# What a lax reader would take for the value of such a field.
LOOSE: dict[type, tuple[Any, ...]] = {int: (True, 1.0, "1"), bool: (1, "true"), str: (b"text", 1), bytes: ("0" * 64,)}


@pytest.mark.parametrize("kind", BODIES)
def test_a_field_that_is_missing_unknown_or_of_another_type_is_refused(kind: str) -> None:
    model, whole = BODIES[kind], HONEST[kind].model_dump()
    with pytest.raises(ValidationError, match="unheard_of"):
        model.model_validate(whole | {"unheard_of": 1})
    for name, value in whole.items():
        if model.model_fields[name].is_required():
            with pytest.raises(ValidationError, match=name):
                model.model_validate({key: whole[key] for key in whole if key != name})
        for wrong in LOOSE.get(type(value), (object(),)):
            with pytest.raises(ValidationError, match=name):
                model.model_validate(whole | {name: wrong})


@pytest.mark.parametrize(
    ("body", "changes", "complaint"),
    [
        (job(), {"deadline_slot": 102}, "deadline_slot 102 leaves 2 slots from 100; 3 are needed"),
        (job(), {"shards": 0}, "shards"),
        (job(), {"shards": ARRAY_MAX + 1}, "shards"),
        (job(), {"mode": "private"}, "mode"),
        (offer(), {"pue_permille": 999}, "pue_permille"),
        (offer(), {"peak_w": 0}, "peak_w"),
        (offer(), {"units": INTEGER_MAX + 1}, "units"),
        (offer(), {"place": {"zone": "de", "latitude_decidegrees": 0, "longitude_decidegrees": 0}}, "zone"),
        (offer(), {"place": {"zone": "DE\n", "latitude_decidegrees": 0, "longitude_decidegrees": 0}}, "zone"),
        (offer(), {"place": {"zone": "DE", "latitude_decidegrees": 901, "longitude_decidegrees": 0}}, "latitude"),
        (HONEST["bid"], {"free_units": (1,)}, r"per-slot arrays differ in length: \[1, 10\]"),
        (HONEST["award"], {"placements": ()}, "placements"),
        (HONEST["award"], {"job": b"short"}, "job"),
        (HONEST["closure"], {"outcome": "open"}, "outcome"),
        (training(), {"data": ()}, "data"),
        (training().model, {"hidden_size": 18, "num_attention_heads": 2}, "hidden_size 18 must be a multiple of 2 x"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_its_bound(body: Body, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        type(body).model_validate(body.model_dump() | changes)


def test_the_fullest_receipt_and_bid_fit_an_entry() -> None:
    row = slot_energy(embodied_ug=2**52, grid_g_per_kwh=0, own_g_per_kwh=2**52, attestation=digest("a"))
    receipt: Any = HONEST["receipt"].model_dump() | {
        "deltas": (digest("delta"),) * RECEIPT_ROUNDS_MAX,
        "energy": (row.model_copy(update={"slot": INTEGER_MAX, "energy_j": INTEGER_MAX}),) * RECEIPT_SLOTS_MAX,
    }
    slots = (INTEGER_MAX,) * ARRAY_MAX
    arrays = ("free_units", "surplus_s50_j", "surplus_s20_j", "grid_g_per_kwh")
    bid: Any = HONEST["bid"].model_dump() | dict.fromkeys(arrays, slots) | {"attestations": (digest("a"),) * 16}
    envelope_bytes = 16 * 34 + 250
    for body in (Receipt(**receipt), Bid(**bid)):
        assert len(encode(body.model_dump())) + envelope_bytes <= VALUE_MAX_BYTES


def test_tokens_are_rounds_times_steps_times_batch_times_context() -> None:
    assert training().tokens_per_round == 5 * 2 * 8
    assert training().tokens_per_shard == 4 * 5 * 2 * 8


# --- genesis ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"clock": Clock(unix_ms=0, network_ms=0, speed=2)},
        {"slot_ms": 1},
        {"witnesses": (keypair(1).public,)},
        {"auditors": (keypair(1).public,)},
        {"surplus_assurance_min": 0},
        {"admission": "devnet"},
        {"admission": "closed", "admitters": (keypair(1).public,)},
        {"admission": "closed", "admitters": (keypair(2).public,)},
    ],
)
def test_every_field_of_the_genesis_document_changes_the_network(changes: dict[str, Any]) -> None:
    assert genesis(**changes).network_id() != genesis().network_id()


def test_networks_older_than_closed_ones_keep_their_ids() -> None:
    document = genesis()
    assert "admitters" not in decode(document.encoded())
    assert document.network_id().hex() == "78bf8e0c14acd7afda9a2de6775deae23d8381cee6a1d1a2aac739309f8ebecf"


@pytest.mark.parametrize(
    "document",
    [
        genesis(witnesses=(keypair(1).public,)),
        genesis(admission="closed", admitters=(keypair(1).public, keypair(2).public)),
    ],
    ids=lambda document: document.admission,
)
def test_the_genesis_document_survives_the_wire_and_json(document: Genesis) -> None:
    assert Genesis.model_validate(decode(document.encoded())) == document
    assert Genesis.model_validate_json(document.model_dump_json()) == document


@pytest.mark.parametrize(
    "changes",
    [
        {"slot_ms": 0},
        {"slot_ms": 3_600_001},
        {"surplus_assurance_min": 5},
        {"admission": "anyone"},
        {"name": ""},
        {"admission": "closed"},
        {"admitters": (keypair(1).public,)},
        {"admission": "devnet", "admitters": (keypair(1).public,)},
    ],
)
def test_a_genesis_document_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        genesis(**changes)


def test_network_time_runs_as_fast_as_the_clock_says_from_the_moment_it_says() -> None:
    clock = Clock(unix_ms=1000, network_ms=50_000, speed=60)
    assert clock.network_time_ms(1000) == 50_000
    assert clock.network_time_ms(1001) == 50_060
    assert clock.network_time_ms(999) == 49_940
    assert [clock.unix_time_ms(clock.network_time_ms(at_ms)) for at_ms in (999, 1000, 1001)] == [999, 1000, 1001]
    assert clock.network_time_ms(0) == 0, "there is no time before zero"


@given(speed=st.integers(1, 100_000), stretch_ms=st.integers(0, 10**12))
def test_a_stretch_of_network_time_lasts_its_length_over_the_speed_and_never_nothing(
    speed: int, stretch_ms: int
) -> None:
    lasts_ms = Clock(unix_ms=0, network_ms=0, speed=speed).real_ms(stretch_ms)
    assert lasts_ms >= 1
    assert lasts_ms == 1 or lasts_ms * speed <= stretch_ms < (lasts_ms + 1) * speed


@pytest.mark.parametrize("speed", [0, -1, 100_001])
def test_a_clock_stands_neither_still_nor_runs_backwards_nor_away(speed: int) -> None:
    with pytest.raises(ValidationError, match="speed"):
        Clock(unix_ms=0, network_ms=0, speed=speed)


# --- units ------------------------------------------------------------------------------------------------------------


def test_a_slot_begins_with_its_first_millisecond() -> None:
    assert [units.slot_of(ms, 1000) for ms in (0, 999, 1000, 1999, 2000)] == [0, 0, 1, 1, 2]


@given(numerator=st.integers(0, 2**80), denominator=st.integers(1, 2**60))
def test_division_rounds_up_and_by_less_than_one(numerator: int, denominator: int) -> None:
    result = units.ceil_div(numerator, denominator)
    assert (result - 1) * denominator < numerator <= result * denominator


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (units.format_energy(0), "0 Wh"),
        (units.format_energy(44_280), "12.3 Wh"),
        (units.format_energy(16_416_000), "4.56 kWh"),
        (units.format_energy(45_720_000_000), "12.7 MWh"),
        (units.format_carbon(850), "850 µg"),
        (units.format_carbon(12_400), "12.4 mg"),
        (units.format_carbon(3_210_000), "3.21 g"),
        (units.format_carbon(1_500_000_000), "1.5 kg"),
        (units.format_carbon(2_000_000_000_000), "2 t"),
        (units.format_credits(12_500), "0.0125 credits"),
        (units.format_clock(86_400_000 + 13 * 3_600_000 + 5 * 60_000), "13:05"),
    ],
)
def test_units_as_people_read_them(shown: str, expected: str) -> None:
    assert shown == expected


def test_reject_a_marginal_figure_in_the_place_of_an_average() -> None:
    """A headline would rest on it; the body has a field of its own for it."""
    with pytest.raises(ValidationError, match="intensity_kind"):
        attestation(intensity_kind="marginal")
    assert attestation(marginal_g_per_kwh=480).marginal_g_per_kwh == 480
