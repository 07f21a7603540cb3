"""Facts about entries: what is signed, what names them, and what is refused before anyone judges it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import VALUE_MAX_BYTES, decode, encode
from protocol.envelope import DOMAIN, NO_PREV, REFS_MAX, is_signed, open_entry, parse
from protocol.errors import Reject
from protocol.messages import INTEGER_MAX
from tests.builders import NOW_MS, digest, entry, genesis, job, keypair

from .values import arrays_like, near

NETWORK = genesis().network_id()
REAL = entry(kind="job", refs=(digest("ref"),), body=job().model_dump())
FIELDS = ("version", "network", "kind", "author", "seq", "prev", "time_ms", "refs", "body", "sig")


def spelled(**changes: Any) -> bytes:
    """The bytes of an entry with some of its ten fields replaced after signing."""
    fields = dict(zip(FIELDS, decode(REAL.raw), strict=True)) | changes
    return encode(tuple(fields.values()))


def test_an_entry_reads_as_it_was_sealed() -> None:
    opened = open_entry(REAL.raw, NETWORK)
    assert (opened.kind, opened.author, opened.seq, opened.prev) == ("job", keypair(0).public, 0, NO_PREV)
    assert (opened.time_ms, opened.refs) == (NOW_MS, (digest("ref"),))
    assert opened.body == job().model_dump()
    assert opened.raw == REAL.raw


def test_the_id_is_the_hash_of_domain_and_first_nine_fields() -> None:
    nine = encode(decode(REAL.raw)[:9])
    assert REAL.id == hashlib.sha256(b"heliotrope-ledger/entry/v1\0" + nine).digest()
    assert DOMAIN == b"heliotrope-ledger/entry/v1\0"


def test_the_id_does_not_depend_on_the_signature() -> None:
    other = parse(spelled(sig=bytes(64)))
    assert other.id == REAL.id
    assert not is_signed(other)


def test_every_single_flipped_bit_is_refused() -> None:
    for bit in range(8 * len(REAL.raw)):
        flipped = bytearray(REAL.raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Reject):
            open_entry(bytes(flipped), NETWORK)


def test_any_changed_field_gives_another_id_or_an_invalid_signature() -> None:
    replaced = {"kind": "bid", "author": keypair(1).public, "seq": 1, "prev": digest("x"), "time_ms": 1, "body": {}}
    replaced |= {"refs": (), "network": digest("other")}
    for name, value in replaced.items():
        changed = parse(spelled(**{name: value}))
        assert changed.id != REAL.id
        assert not is_signed(changed)


def test_an_entry_of_another_network_is_refused() -> None:
    with pytest.raises(Reject, match=r"^check 10: entry of network"):
        open_entry(entry(network=digest("other")).raw, NETWORK)


def test_a_signature_for_another_purpose_is_no_signature_of_an_entry() -> None:
    nine = encode(decode(REAL.raw)[:9])
    for message in (nine, b"heliotrope-advert/v1\0" + nine, DOMAIN[:-1] + nine):
        with pytest.raises(Reject, match=r"^check 11: invalid signature"):
            open_entry(spelled(sig=keypair(0).sign(message)), NETWORK)


CHECK_OF = {"version": 3, "network": 4, "author": 4, "prev": 4, "kind": 5, "seq": 6, "time_ms": 6, "refs": 7, "body": 8}
CHECK_OF |= {"sig": 9}
IMPOSSIBLE: dict[str, list[Any]] = {
    "version": [0, 2, True, "1", None, (), "9" * 4000],
    "network": [b"", bytes(31), bytes(33), "x" * 32, None],
    "kind": ["", "a" * 33, b"job", None, 1, "Job", "1job", "_job", "job\n", "job ", "\x1b[2J", "jöb", "a-b"],
    "author": [b"", bytes(31), bytes(33), "x" * 32, None],
    "seq": [-1, True, "0", None, b"\0"],
    "prev": [b"", bytes(31), bytes(33), None],
    "time_ms": [-1, False, "0", None],
    "refs": [None, digest("x"), (bytes(31),), (bytes(33),), ("x" * 32,), (None,), (digest("x"),) * (REFS_MAX + 1)],
    "body": [None, (), "", b"", 1],
    "sig": [None, b"", bytes(63), bytes(65), "x" * 64],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, all_values in IMPOSSIBLE.items() for value in all_values],
    ids=lambda part: part if part in FIELDS else repr(part)[:24],
)
def test_an_impossible_field_is_refused_by_check_and_name(name: str, value: Any) -> None:
    with pytest.raises(Reject, match=rf"^check {CHECK_OF[name]}: {name}") as refusal:
        parse(spelled(**{name: value}))
    assert len(str(refusal.value)) < 200, "a stranger's value is not repeated at length"


@pytest.mark.parametrize("value", [None, 1, (), {}, (1,) * 9, (1,) * 11], ids=repr)
def test_what_is_no_array_of_ten_is_refused(value: Any) -> None:
    with pytest.raises(Reject, match=r"^check 2: .*array of ten"):
        parse(encode(value))


def test_bytes_that_are_not_canonical_are_refused_by_check_and_offset() -> None:
    with pytest.raises(Reject, match=r"^check 1: .*offset 0: length of array 10 not in its shortest form"):
        parse(b"\xdc\x00\x0a" + REAL.raw[1:])
    with pytest.raises(Reject, match=r"^check 1: offset 16384: 16385 bytes exceed the bound"):
        parse(bytes(VALUE_MAX_BYTES + 1))


def test_limits_themselves_are_allowed() -> None:
    highest = entry(seq=INTEGER_MAX, time_ms=INTEGER_MAX, kind="a" * 32, refs=(digest("x"),) * REFS_MAX)
    assert open_entry(highest.raw, NETWORK).seq == INTEGER_MAX


def test_sealing_refuses_what_is_too_large_to_be_read() -> None:
    assert len(entry(body={"bytes": bytes(16_000)}).raw) <= VALUE_MAX_BYTES
    for changes in ({"body": {"bytes": bytes(VALUE_MAX_BYTES)}}, {"refs": (digest("x"),) * (REFS_MAX + 1)}):
        with pytest.raises(ValueError, match="cannot seal this note"):
            entry(**changes)


@pytest.mark.parametrize("body", [{"a": 1.5}, {1: 2}, {"a": 2**53}])
def test_sealing_refuses_what_has_no_canonical_form(body: dict[Any, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each says something else
        entry(body=body)


@given(raw=near(REAL.raw) | arrays_like(decode(REAL.raw)))
def test_a_strangers_bytes_raise_nothing_but_reject(raw: bytes) -> None:
    try:
        opened = open_entry(raw, NETWORK)
    except Reject:
        return
    assert opened.id == REAL.id


@given(
    body=st.dictionaries(st.text(max_size=8), st.binary(max_size=40), max_size=8),
    kind=st.from_regex(r"\A[a-z]{1,32}\Z"),
)
def test_unknown_kinds_travel_verbatim(body: dict[str, bytes], kind: str) -> None:
    sealed = entry(kind=kind, body=body)
    assert open_entry(sealed.raw, NETWORK).body == body
