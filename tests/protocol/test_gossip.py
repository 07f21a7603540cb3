"""Facts about adverts, announcements and what the network layer forwards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from protocol.adverts import LIFETIME_MAX_MS, Advert, open_advert, seal
from protocol.codec import decode, encode
from protocol.envelope import Head
from protocol.errors import Ignore, Reject
from protocol.gossip import (
    ADVERT_MAX_BYTES,
    ANNOUNCEMENT_MAX_BYTES,
    ANNOUNCEMENTS_MAX,
    CHECKPOINT_MAX_BYTES,
    CLOCK_SKEW_MAX_MS,
    Topics,
    encode_announcement,
    judge,
    judge_advert,
    judge_announcement,
)
from protocol.messages import ARRAY_MAX, INTEGER_MAX
from tests.builders import FIRST_SLOT, NOW_MS, digest, genesis, keypair, offer

from .values import arrays_like, near

NETWORK = genesis().network_id()
TOPICS = Topics.of(NETWORK)


def advert(**changes: Any) -> Advert:
    fields: dict[str, Any] = {
        "number": NOW_MS,
        "expires_at_ms": NOW_MS + 60_000,
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


def sealed(**changes: Any) -> bytes:
    return seal(keypair(1), NETWORK, advert(**changes))


REAL = sealed()
HEAD = Head(keypair(1).public, 7, digest("entry"))


def test_an_advert_reads_as_it_was_sealed() -> None:
    signed = judge_advert(REAL, NETWORK, NOW_MS)
    assert (signed.author, signed.advert, signed.raw) == (keypair(1).public, advert(), REAL)


def test_every_single_flipped_bit_of_an_advert_is_refused() -> None:
    for bit in range(8 * len(REAL)):
        flipped = bytearray(REAL)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Reject):
            judge_advert(bytes(flipped), NETWORK, NOW_MS)


def test_reject_an_advert_under_anothers_name() -> None:
    version, network, _, body, signature = decode(REAL)
    forged = encode((version, network, keypair(2).public, body, signature))
    with pytest.raises(Reject, match="check 5: invalid signature"):
        judge_advert(forged, NETWORK, NOW_MS)


def test_reject_an_advert_of_another_network() -> None:
    with pytest.raises(Reject, match=r"check 4: .*another network"):
        judge_advert(seal(keypair(1), digest("other"), advert()), NETWORK, NOW_MS)


@pytest.mark.parametrize("value", [None, (), (1,) * 4, (1,) * 6, {}], ids=repr)
def test_reject_what_is_no_array_of_five(value: Any) -> None:
    with pytest.raises(Reject, match=r"check 2: .*array of five"):
        open_advert(encode(value), NETWORK, ADVERT_MAX_BYTES)


@pytest.mark.parametrize("version", [0, 2, True, "1"])
def test_reject_an_advert_of_another_version(version: Any) -> None:
    with pytest.raises(Reject, match=r"check 3: .*version"):
        open_advert(encode((version, *decode(REAL)[1:])), NETWORK, ADVERT_MAX_BYTES)


def signed_body(**changes: Any) -> bytes:
    """An advert, truly signed, of a body that the model would not make."""
    four = encode((1, NETWORK, keypair(1).public, advert().model_dump() | changes))
    return b"\x95" + four[1:] + b"\xc4\x40" + keypair(1).sign(b"heliotrope-advert/v1\0" + four)


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
    with pytest.raises(Reject, match=f"check 6: advert: .*{complaint}"):
        judge_advert(signed_body(**changes), NETWORK, NOW_MS)


def test_the_name_of_an_unknown_field_is_shortened_and_cannot_steer_a_terminal() -> None:
    with pytest.raises(Reject) as refusal:
        judge_advert(signed_body(**{"\x1b[2J" + "x" * 4000: 1}), NETWORK, NOW_MS)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


def test_reject_an_advert_that_would_live_longer_than_an_hour() -> None:
    judge_advert(sealed(expires_at_ms=NOW_MS + LIFETIME_MAX_MS), NETWORK, NOW_MS)
    with pytest.raises(Reject, match="check 7: advert lives 3600001 ms"):
        judge_advert(sealed(expires_at_ms=NOW_MS + LIFETIME_MAX_MS + 1), NETWORK, NOW_MS)


def test_ignore_an_advert_once_it_has_expired() -> None:
    expires_at_ms = advert().expires_at_ms
    judge_advert(REAL, NETWORK, expires_at_ms - 1)
    with pytest.raises(Ignore, match="check 8: advert expired 0 ms ago"):
        judge_advert(REAL, NETWORK, expires_at_ms)


def test_ignore_an_advert_dated_more_than_ten_minutes_ahead() -> None:
    long = {"expires_at_ms": NOW_MS + 1000}
    judge_advert(sealed(**long), NETWORK, NOW_MS - CLOCK_SKEW_MAX_MS)
    with pytest.raises(Ignore, match=r"check 9: .*600001 ms ahead"):
        judge_advert(sealed(**long), NETWORK, NOW_MS - CLOCK_SKEW_MAX_MS - 1)


def test_the_fullest_advert_fits_its_bound() -> None:
    slots = (INTEGER_MAX,) * ARRAY_MAX
    raw = sealed(
        label="é" * 32,
        surplus_s50_j=slots,
        surplus_s20_j=slots,
        grid_g_per_kwh=slots,
        attestations=(digest("a"),) * 16,
        addresses=("a" * 256,) * 8,
    )
    judge_advert(raw, NETWORK, NOW_MS)
    with pytest.raises(Reject, match=r"check 1: .*exceed the bound"):
        open_advert(raw, NETWORK, len(raw) - 1)


def test_an_announcement_reads_as_it_was_made() -> None:
    heads = (HEAD,) * ANNOUNCEMENTS_MAX
    assert judge_announcement(encode_announcement(heads)) == heads


@pytest.mark.parametrize(
    "value",
    [
        None,
        (),
        ((HEAD.author, 7, HEAD.id),) * (ANNOUNCEMENTS_MAX + 1),
        (None,),
        ((),),
        ((HEAD.author, 7),),
        ((HEAD.author, 7, HEAD.id, 0),),
        ((bytes(31), 7, HEAD.id),),
        ((HEAD.author.hex(), 7, HEAD.id),),
        ((HEAD.author, 7, bytes(33)),),
        ((HEAD.author, -1, HEAD.id),),
        ((HEAD.author, True, HEAD.id),),
        ((HEAD.author, None, HEAD.id),),
    ],
    ids=lambda value: repr(value)[:32],
)
def test_reject_what_is_no_announcement(value: Any) -> None:
    is_list = type(value) is tuple and 0 < len(value) <= ANNOUNCEMENTS_MAX
    with pytest.raises(Reject, match=f"^check {3 if is_list else 2}: "):
        judge_announcement(encode(value))


def test_reject_an_announcement_beyond_its_bound() -> None:
    with pytest.raises(Reject, match=r"check 1: .*exceed the bound"):
        judge_announcement(bytes(ANNOUNCEMENT_MAX_BYTES + 1))


def test_topics_name_the_network_and_nothing_else_is_forwarded() -> None:
    assert NETWORK.hex()[:32] in TOPICS.adverts
    assert NETWORK.hex()[:32] in TOPICS.entries
    judge(TOPICS, NETWORK, TOPICS.adverts, REAL, NOW_MS)
    judge(TOPICS, NETWORK, TOPICS.entries, encode_announcement([HEAD]), NOW_MS)
    judge(TOPICS, NETWORK, TOPICS.checkpoints, bytes(CHECKPOINT_MAX_BYTES), NOW_MS)
    with pytest.raises(Reject, match=f"checkpoint of {CHECKPOINT_MAX_BYTES + 1} bytes exceeds"):
        judge(TOPICS, NETWORK, TOPICS.checkpoints, bytes(CHECKPOINT_MAX_BYTES + 1), NOW_MS)
    for topic in ("", "x" * 10_000, Topics.of(digest("other")).adverts):
        with pytest.raises(Reject, match="unknown topic"):
            judge(TOPICS, NETWORK, topic, REAL, NOW_MS)


@given(data=near(REAL, encode_announcement([HEAD, HEAD])) | arrays_like(decode(REAL)))
def test_a_strangers_gossip_raises_nothing_but_reject_and_ignore(data: bytes) -> None:
    complaints = []
    for topic in (TOPICS.adverts, TOPICS.entries):
        try:
            judge(TOPICS, NETWORK, topic, data, NOW_MS)
        except (Reject, Ignore) as verdict:
            complaints.append(str(verdict))
    assert all(len(complaint) < 300 for complaint in complaints)
