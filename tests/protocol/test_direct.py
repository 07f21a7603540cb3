"""Facts about the messages between two connected peers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.direct import (
    DIRECT,
    DIRECT_MAX_BYTES,
    HEADS_MAX,
    MATCHING_MAX_BYTES,
    SPANS_MAX,
    SPLIT,
    AddCheckpoint,
    Adverts,
    Assignment,
    Checkpoint,
    Compare,
    Cosignature,
    Countersigned,
    Entries,
    Failure,
    Finish,
    Handover,
    HeadIs,
    Heads,
    Matching,
    News,
    Ping,
    Pong,
    Ready,
    RoundDelta,
    RoundStart,
    Since,
    Summary,
    Ticket,
    Want,
    WantAdverts,
    WantCheckpoint,
    WantCountersignature,
    WantHead,
    WantIds,
    WantMatching,
    decode_direct,
    encode_direct,
)
from protocol.errors import Reject
from protocol.messages import ARRAY_MAX, INTEGER_MAX, Blob, Body
from tests.builders import digest, entry

from .values import near, values

AWARD = digest("award")
TICKET = Ticket(
    blob=Blob(sha256=digest("blob"), size_bytes=10),
    url="https://127.0.0.1:4443",
    certificate_sha256=digest("certificate"),
    server=digest("server"),
    holder=digest("holder"),
    expires_at_ms=1,
    signature=bytes(64),
)
DELTA: dict[str, Any] = {"loss_millinats": 1, "tokens": 2, "duration_ms": 3, "energy_j": 4, "carbon_ug": 5}
MESSAGES: tuple[Body, ...] = (
    Summary(epoch=bytes(16), position=9, cut=digest("cut"), below=bytes(16), above=bytes(range(16))),
    Compare(spans=((b"", ((b"\x80", bytes(16)), (b"", bytes(16)))),), lists=((b"a", b"b", bytes(16)),)),
    Heads(heads=((digest("author"), 7, digest("id")),), unknown=bytes(8)),
    Since(epoch=bytes(16), position=7),
    News(epoch=bytes(16), position=9, feeds=((digest("author"), 7),), more=True),
    Want(ranges=((digest("author"), 0),)),
    WantIds(ids=(digest("id"),)),
    WantAdverts(authors=(digest("author"),), regions=("europe", "other"), since=7, after=b"\x80"),
    Adverts(adverts=(b"full", b"update"), more=True),
    WantHead(),
    HeadIs(entry=entry().raw),
    Entries(entries=(entry().raw, b""), more=False),
    Checkpoint(note=b"a signed note"),
    WantCheckpoint(author=digest("author")),
    AddCheckpoint(request=b"old 0"),
    Cosignature(status=409, body=b"7"),
    WantCountersignature(kind="device", body=b"\x80"),
    Countersigned(body_sha256=digest("body"), signature=None, check=2, reason="not approved"),
    WantMatching(job=digest("job"), award=AWARD),
    Matching(award=AWARD, record=b"record"),
    Assignment(award=AWARD, shard=0, data=(TICKET,), moments=None),
    Ready(award=AWARD, shard=255),
    RoundStart(award=AWARD, shard=0, round=3, parameters=TICKET),
    RoundDelta(award=AWARD, shard=0, round=3, delta=TICKET, **DELTA),
    Finish(award=AWARD, shard=0),
    Failure(award=AWARD, shard=0, reason="out of memory"),
    Ping(nonce=7),
    Pong(nonce=7),
    Handover(award=AWARD, shard=0, reason="paused by carbon > 300 => pause", moments=None),
)


def test_every_kind_of_message_is_tried_here() -> None:
    assert {type(message) for message in MESSAGES} == set(DIRECT.values())


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_reads_as_it_was_made(message: Body) -> None:
    assert decode_direct(encode_direct(message)) == message


def test_the_longest_lists_fit() -> None:
    heads = Heads(heads=((digest("author"), INTEGER_MAX, digest("id")),) * HEADS_MAX, unknown=bytes(8 * HEADS_MAX))
    ends = ((digest("end"), bytes(16)),) * SPLIT
    compare = Compare(spans=((digest("start"), ends),) * SPANS_MAX, lists=((b"", b"", bytes(512)),) * SPANS_MAX)
    for message in (heads, compare):
        assert decode_direct(encode_direct(message)) == message


def test_a_peer_may_hold_nothing_of_our_feed() -> None:
    assert decode_direct(encode_direct(HeadIs(entry=None))) == HeadIs(entry=None)


def test_the_largest_record_of_a_matching_fits() -> None:
    largest = Matching(award=AWARD, record=bytes(MATCHING_MAX_BYTES))
    assert decode_direct(encode_direct(largest)) == largest
    with pytest.raises(Reject, match=r"^check 4: matching: record"):
        decode_direct(encode(("matching", {"award": AWARD, "record": bytes(MATCHING_MAX_BYTES + 1)})))


@pytest.mark.parametrize("value", [None, (), ("ready",), ("ready", {}, {}), (1, {}), (b"ready", {}), {}], ids=repr)
def test_reject_what_is_no_pair_of_type_and_body(value: Any) -> None:
    with pytest.raises(Reject, match=r"check 2: .*array of a type and a body"):
        decode_direct(encode(value))


def test_reject_an_unknown_type_quoting_little_of_it() -> None:
    with pytest.raises(Reject, match="check 3: unknown direct message") as refusal:
        decode_direct(encode(("\x1b[2J" * 1000, {})))
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("heads", {"heads": ((digest("a"), -1, digest("i")),)}),
        ("heads", {"heads": ((digest("a"), 1),)}),
        ("heads", {"unknown": bytes(8 * HEADS_MAX + 1)}),
        ("summary", {"cut": bytes(31)}),
        ("summary", {"below": bytes(17)}),
        ("compare", {"spans": ((b"", ((b"", bytes(15)),)),)}),
        ("compare", {"spans": ((b"", ((b"", bytes(16)),) * (SPLIT + 1)),)}),
        ("compare", {"spans": ((b"", ()),) * (SPANS_MAX + 1)}),
        ("compare", {"lists": ((b"", bytes(33), b""),)}),
        ("compare", {"lists": ((b"", b"", bytes(513)),)}),
        ("since", {"epoch": bytes(15)}),
        ("news", {"feeds": ((digest("a"), -1),)}),
        ("want_adverts", {"authors": (digest("author"),) * 65}),
        ("want_adverts", {"regions": ("europe",) * 8}),
        ("want_adverts", {"regions": ("x" * 33,)}),
        ("want_adverts", {"after": bytes(33)}),
        ("adverts", {"adverts": (b"",) * 129}),
        ("adverts", {"adverts": (bytes(12 * 1024 + 1),)}),
        ("want_ids", {"ids": (digest("id"),) * (ARRAY_MAX + 1)}),
        ("head_is", {"entry": bytes(16 * 1024 + 1)}),
        ("want", {"ranges": ((b"short", 0),)}),
        ("entries", {"entries": ("text",)}),
        ("entries", {"entries": (b"",) * (ARRAY_MAX + 1)}),
        ("want_matching", {"job": b"short"}),
        ("matching", {"record": "text"}),
        ("assignment", {"data": ()}),
        ("assignment", {"data": (TICKET.model_dump() | {"url": "http://127.0.0.1"},)}),
        ("assignment", {"data": (TICKET.model_dump() | {"url": "https://127.0.0.1/path"},)}),
        ("assignment", {"data": (TICKET.model_dump() | {"url": "https://user@host"},)}),
        ("assignment", {"data": (TICKET.model_dump() | {"url": "https://127.0.0.1\n"},)}),
        ("ready", {"shard": ARRAY_MAX}),
        ("ready", {"shard": True}),
        ("ready", {"award": b"short"}),
        ("round_start", {"round": -1}),
        ("round_delta", {"tokens": None}),
        ("failure", {"reason": "x" * 1025}),
        ("failure", {"reason": b"bytes"}),
        ("finish", {"unheard_of": 0}),
    ],
)
def test_reject_a_field_out_of_bounds_naming_message_and_field(kind: str, change: dict[str, Any]) -> None:
    good = next(message for message in MESSAGES if DIRECT[kind] is type(message))
    with pytest.raises(Reject, match=rf"^check 4: {kind}: {next(iter(change))}"):
        decode_direct(encode((kind, good.model_dump() | change), HEADS_MAX))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_reject_a_missing_field(message: Body) -> None:
    whole = message.model_dump()
    kind = next(name for name, model in DIRECT.items() if model is type(message))
    for name in whole:
        with pytest.raises(Reject, match=name):
            decode_direct(encode((kind, {key: whole[key] for key in whole if key != name})))


def test_reject_more_than_four_megabytes() -> None:
    with pytest.raises(Reject, match="exceed the bound"):
        decode_direct(bytes(DIRECT_MAX_BYTES + 1))


@given(data=near(*map(encode_direct, MESSAGES)) | st.tuples(st.sampled_from(sorted(DIRECT)), values).map(encode))
def test_a_strangers_bytes_raise_nothing_but_reject(data: bytes) -> None:
    complaint = ""
    try:
        decode_direct(data)
    except Reject as verdict:
        complaint = str(verdict)
    assert len(complaint) < 300
