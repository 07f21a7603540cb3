"""Facts about canonical msgpack: one value, one encoding; whatever a stranger sends costs no more than a refusal."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, product
from types import MappingProxyType
from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import BYTES_PER_VALUE, VALUE_MAX_BYTES, decode, encode
from protocol.errors import Reject
from protocol.messages import ARRAY_MAX, INTEGER_MAX
from protocol.scan import MAP_MAX, scan
from tests.vectors.encodings import ACCEPTED, LONG_STRING, REFUSED

from .values import near, values

SPELLED = [encode(value) for value in ACCEPTED.values()] + [bytes.fromhex(raw) for raw, _, _ in REFUSED.values()]


@given(value=values)
def test_a_value_comes_back_from_its_encoding(value: Any) -> None:
    assert decode(encode(value)) == value


@given(keys=st.lists(st.text(max_size=5), unique=True, max_size=10), chance=st.randoms(use_true_random=False))
def test_the_order_in_which_a_map_was_made_does_not_show(keys: list[str], chance: Any) -> None:
    shuffled = chance.sample(keys, len(keys))
    assert encode(dict.fromkeys(shuffled)) == encode(dict.fromkeys(keys))


def test_map_keys_stand_in_the_order_of_their_bytes() -> None:
    assert encode({"b": 1, "": 2, "é": 3, "ab": 4}) == bytes.fromhex("84 a0 02 a2 6162 04 a1 62 01 a2 c3a9 03")


def test_lists_tuples_and_any_mapping_are_spelled_alike() -> None:
    assert encode([MappingProxyType({"a": [1]})]) == encode(({"a": (1,)},))


def is_read(raw: bytes) -> bool:
    """Whether `decode` takes these bytes; then the value has no other encoding."""
    try:
        value = decode(raw)
    except Reject:
        return False
    assert encode(value) == raw
    return True


def passes_scan(raw: bytes) -> bool:
    try:
        scan(raw, VALUE_MAX_BYTES // BYTES_PER_VALUE, ARRAY_MAX)
    except Reject:
        return False
    return len(raw) <= VALUE_MAX_BYTES


@pytest.mark.parametrize("name", ACCEPTED)
def test_accept(name: str) -> None:
    assert decode(encode(ACCEPTED[name])) == ACCEPTED[name]


@pytest.mark.parametrize("name", REFUSED)
def test_reject_naming_the_offset_and_the_fault(name: str) -> None:
    raw, offset, fault = REFUSED[name]
    with pytest.raises(Reject, match=rf"\boffset {offset}: .*{re.escape(fault)}"):
        decode(bytes.fromhex(raw))


@given(raw=near(*SPELLED))
def test_the_reader_and_the_scan_accept_the_same_bytes(raw: bytes) -> None:
    assert is_read(raw) == passes_scan(raw)


# A byte of every kind of header, of both ends of every range, and of a valid and an invalid start of UTF-8.
TELLING = bytes.fromhex(
    "00 01 7f 80 81 82 90 91 a0 a1 a2 bf c0 c1 c2 c4 c5 c6 c7 ca cb cc cd ce cf d0 d1 d3 d4 d9 da db dc dd de df e0 ff"
)


def test_the_reader_and_the_scan_accept_the_same_of_all_short_messages() -> None:
    everything = (bytes(b) for length in range(3) for b in product(range(256), repeat=length))
    telling = (bytes(b) for length in (3,) for b in product(TELLING, repeat=length))
    assert [raw.hex() for raw in chain(everything, telling) if is_read(raw) != passes_scan(raw)] == []


@pytest.mark.parametrize("value", [1.0, float("nan"), 2**53, -(2**53), {1: 2}, {b"a": 1}, {1, 2}, object(), "\ud800"])
def test_refuse_to_encode_what_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each says something else
        encode(value)


LIMITS = {
    "string": (LONG_STRING, LONG_STRING + "a"),
    "map_key": ({LONG_STRING: 1}, {LONG_STRING + "a": 1}),
    "array": ((None,) * ARRAY_MAX, (None,) * (ARRAY_MAX + 1)),
    "map": ({f"{i:02}": i for i in range(MAP_MAX)}, {f"{i:02}": i for i in range(MAP_MAX + 1)}),
    "nesting": (ACCEPTED["array nested to the limit"], (ACCEPTED["array nested to the limit"],)),
    "integer": (INTEGER_MAX, INTEGER_MAX + 1),
    "negative_integer": (-INTEGER_MAX, -INTEGER_MAX - 1),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_value_at_the_limit_is_read_and_one_beyond_it_neither_made_nor_read(name: str) -> None:
    within, beyond = LIMITS[name]
    assert decode(encode(within)) == within
    with pytest.raises(ValueError, match=r"cannot be encoded: .*(at most|beyond|deeper)"):
        encode(beyond)
    with pytest.raises(Reject, match=r"at most|beyond|deeper"):
        decode(ormsgpack.packb(beyond))


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa0", b"\xdc\x00\x01", b"\xdf\x00\x00\x00\x01\xa1a"])
def test_reject_nesting_without_end(opening: bytes) -> None:
    with pytest.raises(Reject):
        decode(opening * (VALUE_MAX_BYTES // len(opening)))


def test_reject_more_bytes_than_the_bound_before_reading_any() -> None:
    assert decode(encode(bytes(VALUE_MAX_BYTES - 3))) == bytes(VALUE_MAX_BYTES - 3)
    with pytest.raises(Reject, match="16385 bytes exceed the bound of 16384"):
        decode(b"\xc1" * (VALUE_MAX_BYTES + 1))


@pytest.mark.parametrize("header", ["c6", "db", "dd", "df", "c9"])
def test_reject_a_header_that_announces_four_gigabytes(header: str) -> None:
    with growth_below(100_000), pytest.raises(Reject):
        decode(bytes.fromhex(header + "ffffffff") + b"\x00" * 100)


BOUNDS = {"max_bytes": 512 * 1024, "array_max": 1024}  # an eighth of what a stranger may send; all is in proportion


@pytest.mark.parametrize("item", [b"\x80", b"\x90", b"\x81\xa0\xc0", b"\x91\xc0", b"\xa2ab", b"\xcd\xff\xff"])
def test_reject_a_message_that_would_fill_memory_with_small_values(item: bytes) -> None:
    """Without a bound, a megabyte of empty maps would be 70 in memory."""
    raw = rows(item, 64)
    with pytest.raises(Reject, match="more than 65536 values"), growth_below(1_000_000):
        decode(raw, **BOUNDS)


def test_the_message_that_takes_longest_holds_the_reader_for_a_moment() -> None:
    raw = rows(b"\xa2ab", 511)
    started = time.process_time()
    decode(raw, 4 * 1024 * 1024, 1024)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("item", [b"\x80", b"\x90", b"\xa2ab", b"\xcd\xff\xff"])
def test_the_densest_message_takes_ten_times_its_bound_at_most(item: bytes) -> None:
    raw = rows(item, 63)
    with growth_below(10 * BOUNDS["max_bytes"]):
        assert len(decode(raw, **BOUNDS)) == 63


def rows(item: bytes, number: int) -> bytes:
    """An array of so many arrays of 1024 items."""
    return b"\xdc" + number.to_bytes(2, "big") + (b"\xdc\x04\x00" + item * 1024) * number


@contextmanager
def growth_below(bound: int) -> Iterator[None]:
    """Fails if more than so many bytes were ever allocated at once meanwhile."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < bound
    finally:
        tracemalloc.stop()


def test_true_and_one_are_two_values() -> None:
    assert encode(True) != encode(1)
    assert decode(encode(True)) is True
