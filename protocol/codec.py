"""Canonical msgpack: one value, one encoding.

Ids and signatures are taken over bytes, so two spellings of one value would be two entries. Allowed: nil, booleans,
integers within ±(2^53−1), byte strings, UTF-8 strings, arrays, maps with unique string keys in the order of their
bytes; every header the shortest there is. Refused: floats, extensions, timestamps, trailing bytes, and anything beyond
the bounds below.

No msgpack library refuses all that by itself. Few bytes are read, written again and compared, and the value is looked
over for what msgpack allows and we do not. Many bytes are scanned before anything is built from them: a megabyte of
empty maps would be 70 in memory. Whatever is refused, the scan says where and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ormsgpack

from protocol.errors import Reject
from protocol.messages import ARRAY_MAX, INTEGER_MAX, STRING_MAX_BYTES
from protocol.scan import MAP_MAX, NESTING_MAX, scan

VALUE_MAX_BYTES = 16 * 1024  # an entry; larger containers name their own bound
# A message may hold one value (item, key, array or map) per so many bytes of its bound. The densest honest one, a bid
# for 256 slots, has half as many; in memory a value takes 72 bytes, so a message grows ninefold at worst.
BYTES_PER_VALUE = 8

# Everything but the plain types goes to `_plain`, so that no class of ours or a library's finds a form by accident.
CANONICAL = (
    ormsgpack.OPT_SORT_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_UUID
)


def encode(value: Any, array_max: int = ARRAY_MAX, max_bytes: int | None = None) -> bytes:
    """The canonical encoding, which `decode` reads under the same bounds; without `max_bytes` it may be of any size.

    Raises ValueError for a value that has none (a float, a key that is no string, …) or is out of bounds.
    """
    try:
        raw = ormsgpack.packb(value, _plain, CANONICAL)
        decode(raw, len(raw) * BYTES_PER_VALUE if max_bytes is None else max_bytes, array_max)
    except (TypeError, Reject) as error:
        raise ValueError(f"cannot be encoded: {error}") from None
    return raw


def decode(raw: bytes, max_bytes: int = VALUE_MAX_BYTES, array_max: int = ARRAY_MAX) -> Any:
    """The value of canonical bytes; arrays become tuples. Raises Reject, naming the offset of the first fault."""
    if len(raw) > max_bytes:
        raise Reject(f"offset {max_bytes}: {len(raw)} bytes exceed the bound of {max_bytes}")
    values_max = max_bytes // BYTES_PER_VALUE
    # So few bytes hold neither too many values nor a string beyond its bound: build first, then look.
    if len(raw) <= values_max and len(raw) <= STRING_MAX_BYTES:
        try:
            value = ormsgpack.unpackb(raw)
            if ormsgpack.packb(value, None, ormsgpack.OPT_SORT_KEYS) == raw:
                return _with_tuples([value], array_max, 0)[0]
        except (ValueError, TypeError):
            pass  # the scan knows where and why
    scan(raw, values_max, array_max)
    return _with_tuples([ormsgpack.unpackb(raw)], array_max, 0)[0]


def _with_tuples(container: Any, array_max: int, depth: int) -> Any:
    """The same array or map with arrays as tuples. Raises ValueError for what msgpack knows and we do not.

    The keys of a map need no look: ormsgpack takes none but strings.
    """
    is_array = type(container) is list
    if depth > NESTING_MAX or len(container) > (array_max if is_array else MAP_MAX):
        raise ValueError("nested too deep, or too long")
    for place, item in enumerate(container) if is_array else container.items():
        kind = type(item)
        if kind is int:
            if not -INTEGER_MAX <= item <= INTEGER_MAX:
                raise ValueError("an integer out of bounds")
        elif kind is list or kind is dict:
            container[place] = _with_tuples(item, array_max, depth + 1)
        elif kind is float:
            raise ValueError("a float")
    return tuple(container) if is_array else container


def _plain(value: Any) -> Any:
    """What ormsgpack asks for whatever is none of its plain types."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")
