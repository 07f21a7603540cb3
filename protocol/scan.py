"""The canonical form byte by byte: where a message leaves it first, and how.

`protocol.codec` reads faster and asks here where it refuses, so that the sender's programmer can find the fault; and
before it builds anything from many bytes, since a scan takes no memory. Both accept the same messages; tests hold them
against each other.
"""

from __future__ import annotations

from typing import NoReturn

from protocol.errors import Reject
from protocol.messages import INTEGER_MAX, STRING_MAX_BYTES

MAP_MAX = 64
NESTING_MAX = 8  # arrays and maps within each other, the outermost included

# Where a number follows the first byte: what it counts or is, its width in bytes, and the numbers that need so many.
NUMBERED: dict[int, tuple[str, int, range]] = {
    0xC4: ("bytes", 1, range(2**8)),
    0xC5: ("bytes", 2, range(2**8, 2**16)),
    0xC6: ("bytes", 4, range(2**16, 2**32)),
    0xCC: ("integer", 1, range(2**7, 2**8)),
    0xCD: ("integer", 2, range(2**8, 2**16)),
    0xCE: ("integer", 4, range(2**16, 2**32)),
    0xCF: ("integer", 8, range(2**32, 2**64)),
    0xD0: ("integer", 1, range(-(2**7), -(2**5))),
    0xD1: ("integer", 2, range(-(2**15), -(2**7))),
    0xD2: ("integer", 4, range(-(2**31), -(2**15))),
    0xD3: ("integer", 8, range(-(2**63), -(2**31))),
    0xD9: ("string", 1, range(2**5, 2**8)),
    0xDA: ("string", 2, range(2**8, 2**16)),
    0xDB: ("string", 4, range(2**16, 2**32)),
    0xDC: ("array", 2, range(2**4, 2**16)),
    0xDD: ("array", 4, range(2**16, 2**32)),
    0xDE: ("map", 2, range(2**4, 2**16)),
    0xDF: ("map", 4, range(2**16, 2**32)),
}
SIGNED = range(0xD0, 0xD4)
# What every other first byte begins, and how much of it. `whole`: nothing follows; integers, nil, false and true.
FIRST: dict[int, tuple[str, int]] = {
    **dict.fromkeys((*range(0x80), 0xC0, 0xC2, 0xC3, *range(0xE0, 0x100)), ("whole", 0)),
    **{0x80 + number: ("map", number) for number in range(0x10)},
    **{0x90 + number: ("array", number) for number in range(0x10)},
    **{0xA0 + number: ("string", number) for number in range(0x20)},
}


def scan(raw: bytes, values_max: int, array_max: int) -> None:
    """Return if these bytes are one canonical value. Raises Reject with the offset of the first fault."""
    end = _Scan(raw, values_max, array_max).value(0, 1)
    if end < len(raw):
        _refuse(end, f"{len(raw) - end} bytes follow the value")


class _Scan:
    """One pass. Every method takes the offset where something begins and returns the offset behind it."""

    def __init__(self, raw: bytes, values_max: int, array_max: int) -> None:
        self.raw = raw
        self.values_max = values_max
        self.values = 1  # items and keys announced so far, and the outermost value
        self.array_max = array_max

    def value(self, at: int, depth: int) -> int:
        """Skip a value; `depth` is the nesting that it would have as an array or map."""
        kind, number, start = self.header(at)
        if kind == "whole":
            return start
        if kind == "bytes":
            return self.end(at, kind, number, start)
        if kind == "string":
            return self.string(at, number, start)
        if depth > NESTING_MAX:
            _refuse(at, f"nested deeper than {NESTING_MAX}")
        return self.array(at, number, start, depth) if kind == "array" else self.map(at, number, start, depth)

    def header(self, at: int) -> tuple[str, int, int]:
        """What begins here, how much of it, and the offset behind its header."""
        if at >= len(self.raw):
            _refuse(at, "cut off")
        first = self.raw[at]
        if first in FIRST:
            return *FIRST[first], at + 1
        if first not in NUMBERED:
            _refuse(at, {0xC1: "c1 begins nothing", 0xCA: "a float", 0xCB: "a float"}.get(first, "an extension"))
        kind, width, needing = NUMBERED[first]
        start = at + 1 + width
        if start > len(self.raw):
            _refuse(at, f"{kind} cut off in its header")
        number = int.from_bytes(self.raw[at + 1 : start], "big", signed=first in SIGNED)
        if number not in needing:
            _refuse(at, f"{'' if kind == 'integer' else 'length of '}{kind} {number} not in its shortest form")
        if kind != "integer":
            return kind, number, start
        if not -INTEGER_MAX <= number <= INTEGER_MAX:
            _refuse(at, f"integer {number} beyond ±(2^53-1)")
        return "whole", 0, start

    def array(self, at: int, number: int, start: int, depth: int) -> int:
        if number > self.array_max:
            _refuse(at, f"array of {number} items, at most {self.array_max}")
        self.count(at, number)
        for _ in range(number):
            start = self.value(start, depth + 1)
        return start

    def map(self, at: int, number: int, start: int, depth: int) -> int:
        if number > MAP_MAX:
            _refuse(at, f"map of {number} keys, at most {MAP_MAX}")
        self.count(at, 2 * number)
        previous = None
        for _ in range(number):
            kind, size, key_start = self.header(start)
            if kind != "string":
                _refuse(start, "a map key that is no string")
            end = self.string(start, size, key_start)
            key = self.raw[key_start:end]
            if previous is not None and key <= previous:
                order = "twice" if key == previous else f"after {_quoted(previous)}"
                _refuse(start, f"map key {_quoted(key)} {order}: keys stand once, in the order of their bytes")
            previous = key
            start = self.value(end, depth + 1)
        return start

    def string(self, at: int, size: int, start: int) -> int:
        if size > STRING_MAX_BYTES:
            _refuse(at, f"string of {size} bytes, at most {STRING_MAX_BYTES}")
        end = self.end(at, "string", size, start)
        try:
            self.raw[start:end].decode()
        except UnicodeDecodeError as error:
            _refuse(start + error.start, "not UTF-8")
        return end

    def end(self, at: int, kind: str, size: int, start: int) -> int:
        if start + size > len(self.raw):
            _refuse(at, f"{kind} cut off: {len(self.raw) - start} of {size} bytes are there")
        return start + size

    def count(self, at: int, number: int) -> None:
        self.values += number
        if self.values > self.values_max:
            _refuse(at, f"more than {self.values_max} values")


def _refuse(at: int, fault: str) -> NoReturn:
    raise Reject(f"not canonical msgpack: offset {at}: {fault}")


def _quoted(key: bytes) -> str:
    """A stranger's choice, fit to be printed."""
    return ascii(key.decode()[:32])
