"""Facts about canonical msgpack: one value, one encoding; whatever a stranger sends costs no more than a refusal."""

from __future__ import annotations

import time
import tracemalloc
from types import MappingProxyType
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import MAP_MAX, NESTING_MAX, VALUE_MAX_BYTES, decode, encode
from protocol.errors import Reject
from protocol.messages import ARRAY_MAX, INTEGER_MAX, STRING_MAX_BYTES

from .values import EDGES, near, values


@given(value=values)
def test_a_value_comes_back_from_its_encoding(value: Any) -> None:
    assert decode(encode(value)) == value


@given(value=values)
def test_any_msgpack_reader_reads_the_encoding(value: Any) -> None:
    assert msgpack.unpackb(encode(value), use_list=False) == value


@given(raw=near(encode(({"b": (1, -1, 2**40), "a": b"bytes"}, "text", None))))
def test_whatever_is_read_is_spelled_in_the_one_way_and_all_else_is_rejected(raw: bytes) -> None:
    try:
        value = decode(raw)
    except Reject:
        return
    assert encode(value) == raw


@given(keys=st.lists(st.text(max_size=5), unique=True, max_size=10), chance=st.randoms(use_true_random=False))
def test_the_order_in_which_a_map_was_made_does_not_show(keys: list[str], chance: Any) -> None:
    shuffled = chance.sample(keys, len(keys))
    assert encode(dict.fromkeys(shuffled)) == encode(dict.fromkeys(keys))


def test_map_keys_stand_in_the_order_of_their_bytes() -> None:
    assert encode({"b": 1, "": 2, "é": 3, "ab": 4}) == bytes.fromhex("84 a0 02 a2 6162 04 a1 62 01 a2 c3a9 03")


def test_lists_tuples_and_any_mapping_are_spelled_alike() -> None:
    assert encode([MappingProxyType({"a": [1]})]) == encode(({"a": (1,)},))


def wider(number: int) -> list[bytes]:
    """Every spelling of an integer that is longer than need be."""
    formats = [(1, 0xCC, False), (2, 0xCD, False), (4, 0xCE, False), (8, 0xCF, False)]
    formats += [(1, 0xD0, True), (2, 0xD1, True), (4, 0xD2, True), (8, 0xD3, True)]
    spelled = []
    for size, header, signed in formats:
        low, high = (-(2 ** (8 * size - 1)), 2 ** (8 * size - 1)) if signed else (0, 2 ** (8 * size))
        if low <= number < high:
            spelled.append(bytes([header]) + number.to_bytes(size, "big", signed=signed))
    return [raw for raw in spelled if raw != encode(number)]


@pytest.mark.parametrize("number", EDGES)
def test_reject_an_integer_in_any_but_its_shortest_spelling(number: int) -> None:
    for raw in wider(number):
        assert msgpack.unpackb(raw) == number
        with pytest.raises(Reject, match="offset 0"):
            decode(raw)


# Bytes that hold a value which has a canonical spelling, only not this one; and where it first differs.
OTHERWISE_SPELLED = {
    "integer_in_one_byte_too_many": ("93 01 cc02 03", 2),
    "string_of_1_byte_with_8_bit_length": ("d9 01 61", 0),
    "string_of_32_bytes_with_16_bit_length": ("da 0020" + "61" * 32, 0),
    "string_of_1_byte_with_32_bit_length": ("db 00000001 61", 0),
    "bytes_with_16_bit_length": ("c5 0001 00", 0),
    "bytes_with_32_bit_length": ("c6 00000001 00", 0),
    "array_of_1_with_16_bit_length": ("dc 0001 c0", 0),
    "array_of_1_with_32_bit_length": ("dd 00000001 c0", 0),
    "map_of_1_with_16_bit_length": ("de 0001 a161 c0", 0),
    "map_of_1_with_32_bit_length": ("df 00000001 a161 c0", 0),
    "map_keys_out_of_order": ("82 a162 01 a161 02", 2),
    "map_key_twice": ("82 a161 01 a161 02", 0),
    "map_key_twice_with_one_value": ("82 a161 01 a161 01", 0),
    "map_key_twice_deep_inside": ("91 91 82 a161 01 a161 01", 2),
}


@pytest.mark.parametrize("name", OTHERWISE_SPELLED)
def test_reject_another_spelling_naming_the_offset(name: str) -> None:
    spelled, offset = OTHERWISE_SPELLED[name]
    with pytest.raises(Reject, match=f"offset {offset}$"):
        decode(bytes.fromhex(spelled))


# Bytes that hold what has no canonical spelling at all.
UNSPEAKABLE = {
    "nothing": ("", "incomplete"),
    "two_values": ("c0 c0", "extra data"),
    "never_used_byte": ("c1", "FormatError"),
    "float_32": ("ca 3f800000", "float"),
    "float_64": ("cb 3ff0000000000000", "float"),
    "nan": ("cb 7ff8000000000000", "float"),
    "infinity": ("cb 7ff0000000000000", "float"),
    "minus_zero": ("cb 8000000000000000", "float"),
    "extension_of_0_bytes": ("c7 00 05", "ExtType"),
    "extension_of_1_byte": ("d4 05 00", "max_ext_len"),
    "extension_of_8_bit_length": ("c7 03 05 000000", "max_ext_len"),
    "timestamp_32": ("d6 ff 00000000", "max_ext_len"),
    "timestamp_64": ("d7 ff 0000000000000000", "max_ext_len"),
    "integer_of_2_to_53": ("cf 0020000000000000", "beyond"),
    "integer_of_minus_2_to_53": ("d3 ffe0000000000000", "beyond"),
    "integer_of_2_to_64_minus_1": ("cf ffffffffffffffff", "beyond"),
    "string_that_is_no_utf_8": ("a1 ff", "utf-8"),
    "string_with_an_encoded_surrogate": ("a3 eda080", "utf-8"),
    "string_with_an_overlong_slash": ("a2 c0af", "utf-8"),
    "map_key_bytes": ("81 c4 01 61 c0", "strings"),
    "map_key_integer": ("81 01 c0", "not allowed for map key"),
    "map_key_nil": ("81 c0 c0", "not allowed for map key"),
    "map_key_array": ("81 90 c0", "not allowed for map key"),
    "array_cut_off": ("92 c0", "incomplete"),
    "string_cut_off": ("a2 61", "incomplete"),
    "integer_cut_off": ("cd 01", "incomplete"),
}


@pytest.mark.parametrize("name", UNSPEAKABLE)
def test_reject(name: str) -> None:
    spelled, complaint = UNSPEAKABLE[name]
    with pytest.raises(Reject, match=complaint):
        decode(bytes.fromhex(spelled))


@pytest.mark.parametrize("value", [1.0, float("nan"), 2**53, -(2**53), {1: 2}, {b"a": 1}, {1, 2}, object(), "\ud800"])
def test_refuse_to_encode_what_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each says something else
        encode(value)


LONG_STRING = "é" * (STRING_MAX_BYTES // 2)
LIMITS = {
    "string": (LONG_STRING, LONG_STRING + "a"),
    "map_key": ({LONG_STRING: 1}, {LONG_STRING + "a": 1}),
    "array": ((None,) * ARRAY_MAX, (None,) * (ARRAY_MAX + 1)),
    "map": ({f"{i:02}": i for i in range(MAP_MAX)}, {f"{i:02}": i for i in range(MAP_MAX + 1)}),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_value_at_the_limit_is_read_and_one_beyond_it_neither_made_nor_read(name: str) -> None:
    within, beyond = LIMITS[name]
    assert decode(encode(within)) == within
    with pytest.raises(ValueError, match="exceeds"):
        encode(beyond)
    with pytest.raises(Reject, match="exceeds"):
        decode(msgpack.packb(beyond))


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


def test_nesting_to_the_limit_is_read_and_one_deeper_rejected() -> None:
    assert encode(decode(nested(NESTING_MAX))) == nested(NESTING_MAX)
    with pytest.raises(Reject, match="deeper than 8"):
        decode(nested(NESTING_MAX + 1))


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
    tracemalloc.start()
    try:
        with pytest.raises(Reject):
            decode(bytes.fromhex(header + "ffffffff") + b"\x00" * 100)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("item", [b"\x80", b"\x90", b"\x81\xa0\xc0", b"\x91\xc0"])
def test_reject_a_message_that_would_fill_memory_with_small_containers(item: bytes) -> None:
    """Three megabytes of empty maps would be 200 in memory, and hold the reader for seconds."""
    row = b"\xdc\x04\x00" + item * 1024
    raw = b"\xdc\x02\x00" + row * 512
    started = time.process_time()
    with pytest.raises(Reject, match="arrays and maps"):
        decode(raw, 4 * 1024 * 1024, 1024)
    assert time.process_time() - started < 1


def test_integers_within_53_bits_keep_their_value() -> None:
    assert decode(encode((INTEGER_MAX, -INTEGER_MAX))) == (INTEGER_MAX, -INTEGER_MAX)


def test_true_and_one_are_two_values() -> None:
    assert encode(True) != encode(1)
    assert decode(encode(True)) is True
