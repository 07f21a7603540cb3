"""Facts about full adverts, the updates that change them, goodbyes, and batches of all of these."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.adverts import (
    ADVERT_MAX_BYTES,
    LIFETIME_MAX_MS,
    RUNS_MAX,
    Advert,
    SignedAdvert,
    SignedUpdate,
    Update,
    goodbye,
    open_advert,
    seal,
    update_of,
    updated,
)
from protocol.codec import decode, encode
from protocol.errors import Ignore, Reject
from protocol.gossip import BATCH_MAX, BATCH_MAX_BYTES, CLOCK_SKEW_MAX_MS, encode_batch, judge_adverts
from protocol.messages import ARRAY_MAX, INTEGER_MAX
from tests.builders import FIRST_SLOT, NOW_MS, digest, genesis, keypair, offer

NETWORK = genesis().network_id()
AUTHOR = keypair(1)
LIFE_MS = 60_000


def advert(**changes: Any) -> Advert:
    fields: dict[str, Any] = {
        "number": NOW_MS,
        "expires_at_ms": NOW_MS + LIFE_MS,
        "label": "sol",
        "offer": offer(),
        "free_units": 4,
        "first_slot": FIRST_SLOT,
        "surplus_s50_j": (12_000, 11_000),
        "surplus_s20_j": (9000, 8000),
        "grid_g_per_kwh": (360, 350),
        "attestations": (digest("attestation"),),
        "addresses": ("/ip4/127.0.0.1/tcp/4001",),
    }
    return Advert(**fields | changes)


def update(**changes: Any) -> Update:
    """One slot is over, a new one in sight, and one unit has been let."""
    fields: dict[str, Any] = {
        "number": NOW_MS + 10,
        "base_number": NOW_MS,
        "expires_at_ms": NOW_MS + 10 + LIFE_MS,
        "free_units": 3,
        "shift_slots": 1,
        "slots": 2,
        "surplus_s50_j": ((1, (10_000,)),),
        "surplus_s20_j": ((1, (7000,)),),
        "grid_g_per_kwh": ((0, (351, 340)),),
        "attestations": None,
        "addresses": None,
    }
    return Update(**fields | changes)


def sealed(**changes: Any) -> bytes:
    return seal(AUTHOR, NETWORK, advert(**changes))


def sealed_update(**changes: Any) -> bytes:
    return seal(AUTHOR, NETWORK, update(**changes))


def judged(*raws: bytes, region: str = "europe", now_ms: int = NOW_MS + 20) -> tuple[SignedAdvert | SignedUpdate, ...]:
    return judge_adverts(encode_batch(raws), NETWORK, region, now_ms)


FULL, UPDATE = sealed(), sealed_update()


# --- form ---------------------------------------------------------------------------------------------------------


def test_adverts_and_updates_read_as_they_were_sealed() -> None:
    full, changed = judged(FULL, UPDATE)
    assert full == SignedAdvert(AUTHOR.public, advert(), FULL)
    assert changed == SignedUpdate(AUTHOR.public, update(), UPDATE)


@pytest.mark.parametrize("raw", [FULL, UPDATE], ids=["full", "update"])
def test_every_single_flipped_bit_is_refused(raw: bytes) -> None:
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Reject):
            judged(bytes(flipped))


@pytest.mark.parametrize("raw", [FULL, UPDATE], ids=["full", "update"])
def test_reject_what_is_said_under_anothers_name(raw: bytes) -> None:
    version, network, _, body, signature = decode(raw)
    with pytest.raises(Reject, match="check 7: invalid signature"):
        judged(encode((version, network, keypair(2).public, body, signature)))


def test_the_signature_of_an_advert_serves_for_no_update() -> None:
    """Each is signed under a domain of its own."""
    body = update().model_dump()
    four = encode((1, NETWORK, AUTHOR.public, body))
    forged = b"\x95" + four[1:] + b"\xc4\x40" + AUTHOR.sign(b"heliotrope-advert/v1\0" + four)
    with pytest.raises(Reject, match="check 7: invalid signature"):
        judged(forged)


def test_reject_an_advert_of_another_network() -> None:
    with pytest.raises(Reject, match=r"check 6: .*another network"):
        judged(seal(AUTHOR, digest("other"), advert()))


@pytest.mark.parametrize("value", [None, (), (1,) * 4, (1,) * 6, {}], ids=repr)
def test_reject_what_is_no_array_of_five(value: Any) -> None:
    with pytest.raises(Reject, match=r"check 4: .*array of five"):
        judged(encode(value))


@pytest.mark.parametrize("version", [0, 2, True, "1"])
def test_reject_an_advert_of_another_version(version: Any) -> None:
    with pytest.raises(Reject, match=r"check 5: .*version"):
        judged(encode((version, *decode(FULL)[1:])))


def signed_body(said: Advert | Update, **changes: Any) -> bytes:
    """Truly signed, of a body that the model would not make."""
    domain = b"heliotrope-advert-update/v1\0" if isinstance(said, Update) else b"heliotrope-advert/v1\0"
    four = encode((1, NETWORK, AUTHOR.public, said.model_dump() | changes))
    return b"\x95" + four[1:] + b"\xc4\x40" + AUTHOR.sign(domain + four)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"free_units": -1}, "free_units: "),
        ({"free_units": True}, "free_units: "),
        ({"label": "x" * 33}, "label: "),
        ({"addresses": ("a",) * 9}, "addresses: "),
        ({"surplus_s50_j": (1,)}, r"differ in length: \[1, 2\]"),
        ({"grid_g_per_kwh": ()}, r"differ in length: \[0, 2\]"),
        ({"unheard_of": 1}, "unheard_of: "),
        ({"offer": {}}, "offer.device: "),
    ],
)
def test_reject_a_signed_advert_whose_body_is_out_of_bounds(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Reject, match=f"check 8: advert: .*{complaint}"):
        judged(signed_body(advert(), **changes))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"base_number": -1}, "base_number: "),
        ({"base_number": None}, "base_number: "),
        ({"shift_slots": ARRAY_MAX + 1}, "shift_slots: "),
        ({"slots": ARRAY_MAX + 1}, "slots: "),
        ({"surplus_s50_j": ((0, (1,)),) * (RUNS_MAX + 1)}, "surplus_s50_j: "),
        ({"surplus_s20_j": ((0, ()),)}, "surplus_s20_j.0.1: "),
        ({"grid_g_per_kwh": ((ARRAY_MAX, (1,)),)}, "grid_g_per_kwh.0.0: "),
        ({"grid_g_per_kwh": ((0,),)}, "grid_g_per_kwh.0"),
        ({"addresses": ("a",) * 9}, "addresses: "),
        ({"label": "moon"}, "label: "),
        ({"offer": offer().model_dump()}, "offer: "),
    ],
)
def test_reject_a_signed_update_whose_body_is_out_of_bounds(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Reject, match=f"check 8: update: .*{complaint}"):
        judged(signed_body(update(), **changes))


def test_the_name_of_an_unknown_field_is_shortened_and_cannot_steer_a_terminal() -> None:
    with pytest.raises(Reject) as refusal:
        judged(signed_body(advert(), **{"\x1b[2J" + "x" * 4000: 1}))
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


def test_the_fullest_advert_and_update_fit_their_bound() -> None:
    slots = (INTEGER_MAX,) * ARRAY_MAX
    full: dict[str, Any] = {
        "surplus_s50_j": slots,
        "surplus_s20_j": slots,
        "grid_g_per_kwh": slots,
        "attestations": (digest("a"),) * 16,
        "addresses": ("a" * 256,) * 8,
    }
    raw = sealed(label="é" * 32, **full)
    runs = {name: ((0, values),) for name, values in full.items() if values == slots}
    judged(raw, sealed_update(slots=ARRAY_MAX, **full | runs))
    with pytest.raises(Reject, match=r"check 3: .*exceed the bound"):
        open_advert(raw + bytes(ADVERT_MAX_BYTES + 1 - len(raw)), NETWORK)


# --- time and place -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sealed, sealed_update], ids=["full", "update"])
def test_reject_what_would_live_longer_than_an_hour_or_less_than_no_time(make: Any) -> None:
    judged(make(number=NOW_MS, expires_at_ms=NOW_MS + LIFETIME_MAX_MS))
    for life_ms in (LIFETIME_MAX_MS + 1, -1):
        with pytest.raises(Reject, match=f"check 9: advert lives {life_ms} ms"):
            judged(make(number=NOW_MS, expires_at_ms=NOW_MS + life_ms))


def test_reject_a_full_advert_that_expires_as_it_is_sealed() -> None:
    with pytest.raises(Reject, match="check 9: advert lives 0 ms"):
        judged(sealed(expires_at_ms=NOW_MS))


def test_reject_a_full_advert_in_the_topic_of_another_region() -> None:
    with pytest.raises(Reject, match="check 10: advert from zone DE in the topic of asia"):
        judged(FULL, region="asia")
    judged(UPDATE, region="asia")


@pytest.mark.parametrize(("raw", "ends_ms"), [(FULL, NOW_MS + LIFE_MS), (UPDATE, NOW_MS + 10 + LIFE_MS)])
def test_ignore_what_has_expired(raw: bytes, ends_ms: int) -> None:
    judged(raw, now_ms=ends_ms - 1)
    with pytest.raises(Ignore, match="check 11: advert expired 0 ms ago"):
        judged(raw, now_ms=ends_ms)


def test_ignore_what_is_dated_more_than_ten_minutes_ahead() -> None:
    judged(FULL, now_ms=NOW_MS - CLOCK_SKEW_MAX_MS)
    with pytest.raises(Ignore, match=r"check 12: .*600001 ms ahead"):
        judged(FULL, now_ms=NOW_MS - CLOCK_SKEW_MAX_MS - 1)


def test_a_goodbye_is_heard_for_an_hour() -> None:
    raw = seal(AUTHOR, NETWORK, goodbye(advert(), NOW_MS))
    judged(raw, now_ms=NOW_MS + LIFETIME_MAX_MS - 1)
    with pytest.raises(Ignore, match="check 11"):
        judged(raw, now_ms=NOW_MS + LIFETIME_MAX_MS)


# --- batches ------------------------------------------------------------------------------------------------------


def test_a_batch_holds_adverts_of_several_authors() -> None:
    raws = [seal(keypair(n), NETWORK, advert()) for n in range(BATCH_MAX)]
    assert [item.author for item in judged(*raws)] == [keypair(n).public for n in range(BATCH_MAX)]


@pytest.mark.parametrize("value", [None, (), (FULL,) * (BATCH_MAX + 1), ("text",), (FULL, None)], ids=lambda v: "")
def test_reject_what_is_no_batch(value: Any) -> None:
    with pytest.raises(Reject, match="check 2: "):
        judge_adverts(encode(value), NETWORK, "europe", NOW_MS)


def test_reject_a_batch_beyond_its_bound() -> None:
    with pytest.raises(Reject, match=r"check 1: .*exceed the bound"):
        judge_adverts(bytes(BATCH_MAX_BYTES + 1), NETWORK, "europe", NOW_MS)


@pytest.mark.parametrize("place", range(3))
def test_one_faulty_or_stale_item_condemns_its_batch(place: int) -> None:
    raws = [FULL, UPDATE]
    raws.insert(place, FULL[:-1] + bytes([FULL[-1] ^ 1]))
    with pytest.raises(Reject):
        judged(*raws)
    raws[place] = sealed(number=NOW_MS - 2, expires_at_ms=NOW_MS - 1)
    with pytest.raises(Ignore):
        judged(*raws)


# --- what an update leads to ----------------------------------------------------------------------------------------


def test_an_update_shifts_the_arrays_and_writes_over_them() -> None:
    assert updated(advert(), update()) == advert(
        number=NOW_MS + 10,
        expires_at_ms=NOW_MS + 10 + LIFE_MS,
        free_units=3,
        first_slot=FIRST_SLOT + 1,
        surplus_s50_j=(11_000, 10_000),
        surplus_s20_j=(8000, 7000),
        grid_g_per_kwh=(351, 340),
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"base_number": NOW_MS + 1}, "an update of advert"),
        ({"surplus_s50_j": ((2, (1,)),)}, "writes slots 2 to 3 of 1, at most 2"),
        ({"surplus_s50_j": ((1, (1, 2)),)}, "writes slots 1 to 3 of 1, at most 2"),
        ({"surplus_s50_j": ()}, "says 1 of 2 slots"),
        ({"slots": 3}, "says 2 of 3 slots"),
        ({"shift_slots": 2}, "writes slots 1 to 2 of 0"),
    ],
)
def test_reject_an_update_that_does_not_fit_its_base(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Reject, match=complaint):
        updated(advert(), update(**changes))


def test_reject_an_update_that_leads_to_no_advert() -> None:
    base = advert(first_slot=INTEGER_MAX)
    with pytest.raises(Reject, match="leads to no advert: first_slot"):
        updated(base, update())


values = st.integers(0, 3)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Advert, Advert]:
    """Two adverts of one author; few different values, so that some slots are as they were."""

    def arrays(first_slot: int) -> dict[str, Any]:
        slots = draw(st.integers(0, 40))
        series = st.lists(values, min_size=slots, max_size=slots).map(tuple)
        names = ("surplus_s50_j", "surplus_s20_j", "grid_g_per_kwh")
        return {"first_slot": first_slot} | {name: draw(series) for name in names}

    later: dict[str, Any] = {"number": NOW_MS + 7, "expires_at_ms": NOW_MS + 9, "free_units": draw(values)}
    if draw(st.booleans()):
        later |= {"attestations": (), "addresses": ("/ip4/127.0.0.2/tcp/4001",)}
    return advert(**arrays(FIRST_SLOT)), advert(**arrays(FIRST_SLOT + draw(st.integers(0, 50))), **later)


@given(histories())
def test_an_update_leads_from_what_was_said_to_what_is_said_now(history: tuple[Advert, Advert]) -> None:
    base, now = history
    told = update_of(base, now)
    assert told is not None
    assert updated(base, told) == now
    opened = open_advert(seal(AUTHOR, NETWORK, told), NETWORK)
    assert isinstance(opened, SignedUpdate)
    assert opened.update == told


def test_an_hour_later_an_update_is_a_fraction_of_the_advert() -> None:
    """Of a forecast that came true: only what has come in sight is new."""
    series = tuple(range(1000, 1076))
    arrays = dict.fromkeys(("surplus_s50_j", "surplus_s20_j", "grid_g_per_kwh"), series[:64])
    base = advert(**arrays)
    now = advert(number=NOW_MS + 1, first_slot=FIRST_SLOT + 12, **dict.fromkeys(arrays, series[12:]))
    told = update_of(base, now)
    assert told is not None
    assert 2 * len(seal(AUTHOR, NETWORK, told)) < len(seal(AUTHOR, NETWORK, base))


@pytest.mark.parametrize(
    "changes",
    [{"label": "moon"}, {"offer": offer(units=1)}, {"first_slot": FIRST_SLOT - 1}, {"first_slot": FIRST_SLOT + 257}],
    ids=lambda changes: str(changes)[:30],
)
def test_what_no_update_can_say_needs_a_full_advert(changes: dict[str, Any]) -> None:
    assert update_of(advert(), advert(**changes)) is None


def test_a_goodbye_says_nothing_but_that_it_is_one() -> None:
    told = goodbye(advert(), NOW_MS + 5)
    assert told.is_goodbye
    assert not update().is_goodbye
    assert len(seal(AUTHOR, NETWORK, told)) < 400
