"""Canonical msgpack: one value, one encoding.

Ids and signatures are taken over bytes, so two spellings of one value would be two entries. Allowed: nil, booleans,
integers within ±(2^53−1), byte strings, UTF-8 strings, arrays, maps with sorted unique string keys; every header the
shortest there is. Refused: floats, extensions, timestamps, trailing bytes, anything beyond the bounds below, and more
than one array or map per sixteen bytes of the bound: an empty map takes one byte here and 64 in memory.

No msgpack library refuses non-minimal integers and duplicate keys by itself, so `decode` encodes again and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from protocol.errors import Reject
from protocol.messages import ARRAY_MAX, INTEGER_MAX, STRING_MAX_BYTES

MAP_MAX = 64
NESTING_MAX = 8
VALUE_MAX_BYTES = 16 * 1024  # an entry; larger containers name their own bound
BYTES_PER_CONTAINER = 16  # guess, not measured: half of what the densest honest message, `want`, spends on one


def encode(value: Any, array_max: int = ARRAY_MAX) -> bytes:
    """The canonical encoding. Raises ValueError for a value that has none (a float, a key that is no string, …)."""
    return bytes(msgpack.packb(_ordered(value, 0, array_max), use_bin_type=True))


def decode(raw: bytes, max_bytes: int = VALUE_MAX_BYTES, array_max: int = ARRAY_MAX) -> Any:
    """The value of canonical bytes; arrays become tuples.

    Raises Reject. Where the bytes can be read and only their spelling is wrong, it names the offset of the first byte
    that the canonical encoding would not have.
    """
    if len(raw) > max_bytes:
        raise Reject(f"{len(raw)} bytes exceed the bound of {max_bytes}")
    containers = 0

    def count(container: Any) -> Any:
        nonlocal containers
        containers += 1
        if containers * BYTES_PER_CONTAINER > max_bytes:
            raise ValueError(f"more than {max_bytes // BYTES_PER_CONTAINER} arrays and maps")
        return container

    try:
        value = msgpack.unpackb(
            raw,
            use_list=False,
            raw=False,
            strict_map_key=True,
            max_array_len=array_max,
            max_map_len=MAP_MAX,
            max_str_len=STRING_MAX_BYTES,
            max_bin_len=max_bytes,
            max_ext_len=0,
            list_hook=count,
            object_hook=count,
        )
        again = encode(value, array_max)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise Reject(f"not canonical msgpack: {str(error) or type(error).__name__}") from None
    if again != raw:
        raise Reject(f"not canonical msgpack: offset {_first_difference(raw, again)}")
    return value


def _ordered(value: Any, depth: int, array_max: int) -> Any:
    """The same value with map keys in order; refuses what has no canonical form."""
    kind = type(value)
    if kind is int:
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise ValueError(f"integer {value} is beyond ±(2^53-1)")
        return value
    if kind is bytes or kind is bool or value is None:
        return value
    if kind is str:
        if len(value.encode()) > STRING_MAX_BYTES:
            raise ValueError(f"string of {len(value)} characters exceeds {STRING_MAX_BYTES} bytes")
        return value
    if depth >= NESTING_MAX:
        raise ValueError(f"nested deeper than {NESTING_MAX}")
    if kind is tuple or kind is list:
        if len(value) > array_max:
            raise ValueError(f"array of {len(value)} items exceeds {array_max}")
        return [_ordered(item, depth + 1, array_max) for item in value]
    if isinstance(value, Mapping):
        if len(value) > MAP_MAX:
            raise ValueError(f"map of {len(value)} keys exceeds {MAP_MAX}")
        if not all(type(key) is str for key in value):
            raise ValueError("map keys must be strings")
        ordered = sorted(value, key=str.encode)
        return {_ordered(key, depth + 1, array_max): _ordered(value[key], depth + 1, array_max) for key in ordered}
    raise ValueError(f"{kind.__name__} has no canonical form")


def _first_difference(a: bytes, b: bytes) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
