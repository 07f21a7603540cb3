"""Values with their one encoding, and bytes that are none, with the offset of the first fault.

A value is written in JSON as itself, but byte strings as {"bytes": hex} and maps as {"map": [[key, value], ...]}.
"""

from __future__ import annotations

from typing import Any

from protocol.codec import encode
from protocol.messages import ARRAY_MAX, INTEGER_MAX, STRING_MAX_BYTES
from protocol.scan import MAP_MAX, NESTING_MAX

WIDTHS = (0, 1, 31, 32, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, INTEGER_MAX)  # where headers change
EDGES = sorted({number for width in WIDTHS for number in (width, -width, -width - 1) if abs(number) <= INTEGER_MAX})
LONG_STRING = "é" * (STRING_MAX_BYTES // 2)

ACCEPTED: dict[str, Any] = {
    "nil": None,
    "false": False,
    "true": True,
    **{f"integer {number}": number for number in EDGES},
    "empty string": "",
    "string of 31 bytes": "a" * 31,
    "string of 32 bytes": "a" * 32,
    "string of 255 bytes": "a" * 255,
    "string of 256 bytes": "a" * 256,
    "string of the most bytes": LONG_STRING,
    "string beyond the first plane": "🌻",
    "string with nul and newline": "\0\n",
    "empty bytes": b"",
    "bytes 255": bytes(255),
    "bytes 256": bytes(256),
    "empty array": (),
    "array of 15": (None,) * 15,
    "array of 16": (None,) * 16,
    "array of the most items": (0,) * ARRAY_MAX,
    "empty map": {},
    "map of 15": {f"{i:02}": i for i in range(15)},
    "map of 16": {f"{i:02}": i for i in range(16)},
    "map of the most keys": {f"{i:02}": i for i in range(MAP_MAX)},
    "keys in the order of their bytes": {"b": 1, "": 2, "é": 3, "ab": 4, "a": 5, "B": 6},
    "keys whose order in UTF-16 differs": {"\U0001f600": 1, "\uffff": 2},
    "array nested to the limit": ((((((((),),),),),),),),
    "all of it": ({"b": (1, -1, 2**40), "a": b"bytes", "c": {"d": None}}, "text", True),
}


def _row(items: int) -> str:
    return "dc" + items.to_bytes(2, "big").hex()


# Bytes, the offset of the first that is wrong, and what is wrong there.
REFUSED: dict[str, tuple[str, int, str]] = {
    # another spelling of what has a canonical one
    "integer in one byte too many": ("93 01 cc02 03", 2, "integer 2 not in its shortest form"),
    "integer 127 in two bytes": ("cc 7f", 0, "integer 127 not in its shortest form"),
    "positive integer in a signed form": ("d1 00ff", 0, "integer 255 not in its shortest form"),
    "negative integer in one byte too many": ("d0 e0", 0, "integer -32 not in its shortest form"),
    "integer 0 in nine bytes": ("d3 0000000000000000", 0, "integer 0 not in its shortest form"),
    "string of 1 byte with 8 bit length": ("d9 01 61", 0, "length of string 1 not in its shortest form"),
    "string of 32 bytes with 16 bit length": ("da 0020" + "61" * 32, 0, "length of string 32 not in its shortest"),
    "string of 1 byte with 32 bit length": ("db 00000001 61", 0, "length of string 1 not in its shortest form"),
    "bytes with 16 bit length": ("c5 0001 00", 0, "length of bytes 1 not in its shortest form"),
    "bytes with 32 bit length": ("c6 00000001 00", 0, "length of bytes 1 not in its shortest form"),
    "array of 1 with 16 bit length": ("dc 0001 c0", 0, "length of array 1 not in its shortest form"),
    "array of 1 with 32 bit length": ("dd 00000001 c0", 0, "length of array 1 not in its shortest form"),
    "map of 1 with 16 bit length": ("de 0001 a161 c0", 0, "length of map 1 not in its shortest form"),
    "map of 1 with 32 bit length": ("df 00000001 a161 c0", 0, "length of map 1 not in its shortest form"),
    "map keys out of order": ("82 a162 01 a161 02", 4, "map key 'a' after 'b'"),
    "map keys in the order of UTF-16": ("82 a4f09f9880 01 a3efbfbf 02", 7, r"map key '\uffff' after '\U0001f600'"),
    "map key twice": ("82 a161 01 a161 02", 4, "map key 'a' twice"),
    "map key twice with one value": ("82 a161 01 a161 01", 4, "map key 'a' twice"),
    "map key twice deep inside": ("91 91 82 a161 01 a161 01", 6, "map key 'a' twice"),
    # what has no canonical spelling
    "nothing": ("", 0, "cut off"),
    "two values": ("c0 c0 c0", 1, "2 bytes follow the value"),
    "never used byte": ("91 c1", 1, "c1 begins nothing"),
    "float 32": ("91 ca 3f800000", 1, "a float"),
    "float 64": ("82 a161 cb 3ff0000000000000 a161 00", 3, "a float"),
    "not a number": ("cb 7ff8000000000000", 0, "a float"),
    "infinity": ("cb 7ff0000000000000", 0, "a float"),
    "minus zero": ("cb 8000000000000000", 0, "a float"),
    "extension of 0 bytes": ("c7 00 05", 0, "an extension"),
    "extension of 1 byte": ("d4 05 00", 0, "an extension"),
    "extension of 8 bit length": ("c7 03 05 000000", 0, "an extension"),
    "extension of 32 bit length": ("c9 ffffffff 05 00", 0, "an extension"),
    "timestamp 32": ("d6 ff 00000000", 0, "an extension"),
    "timestamp 64": ("d7 ff 0000000000000000", 0, "an extension"),
    "integer of 2 to 53": ("cf 0020000000000000", 0, "integer 9007199254740992 beyond ±(2^53-1)"),
    "integer of minus 2 to 53": ("d3 ffe0000000000000", 0, "integer -9007199254740992 beyond ±(2^53-1)"),
    "integer of 2 to 64 minus 1": ("92 00 cf ffffffffffffffff", 2, "beyond ±(2^53-1)"),
    "string that is no UTF-8": ("a3 6162ff", 3, "not UTF-8"),
    "string with an encoded surrogate": ("a3 eda080", 1, "not UTF-8"),
    "string with an overlong slash": ("a2 c0af", 1, "not UTF-8"),
    "string beyond Unicode": ("a4 f4908080", 1, "not UTF-8"),
    "map key that is no UTF-8": ("81 a1ff c0", 2, "not UTF-8"),
    "map key bytes": ("81 c4 01 61 c0", 1, "a map key that is no string"),
    "map key integer": ("81 01 c0", 1, "a map key that is no string"),
    "map key nil": ("81 c0 c0", 1, "a map key that is no string"),
    "map key array": ("81 90 c0", 1, "a map key that is no string"),
    # cut off
    "array cut off": ("92 c0", 2, "cut off"),
    "map cut off before its key": ("81", 1, "cut off"),
    "map cut off before its value": ("81 a161", 3, "cut off"),
    "string cut off": ("a2 61", 0, "string cut off: 1 of 2 bytes are there"),
    "bytes cut off": ("91 c4 05 0000", 1, "bytes cut off: 2 of 5 bytes are there"),
    "integer cut off": ("92 00 cd 01", 2, "integer cut off in its header"),
    "length cut off": ("dc 01", 0, "array cut off in its header"),
    # out of bounds
    "string too long": ("da 1001" + "61" * 4097, 0, "string of 4097 bytes, at most 4096"),
    "map key too long": ("81 da 1001" + "61" * 4097 + "c0", 1, "string of 4097 bytes, at most 4096"),
    "string announced too long": ("da 1001", 0, "string of 4097 bytes, at most 4096"),
    "array too long": (_row(257) + "c0" * 257, 0, "array of 257 items, at most 256"),
    "array announced too long": ("dd ffffffff 00", 0, "array of 4294967295 items, at most 256"),
    "map too long": ("de 0041", 0, "map of 65 keys, at most 64"),
    "nested too deep": ("91" * NESTING_MAX + "80", NESTING_MAX, "nested deeper than 8"),
    "nested without end": ("91" * 100, NESTING_MAX, "nested deeper than 8"),
    "too many values": ("98" + (_row(256) + "c0" * 256) * 8, 1814, "more than 2048 values"),
    "too many empty maps": ("98" + (_row(256) + "80" * 256) * 8, 1814, "more than 2048 values"),
    "too many bytes": ("c5 3ffe" + "00" * 16_382, 16_384, "16385 bytes exceed the bound of 16384"),
}


def make() -> dict[str, Any]:
    return {
        "accepted": [
            {"name": name, "value": _written(value), "raw": encode(value).hex()} for name, value in ACCEPTED.items()
        ],
        "refused": [
            {"name": name, "raw": raw.replace(" ", ""), "offset": offset, "fault": fault}
            for name, (raw, offset, fault) in REFUSED.items()
        ],
    }


def _written(value: Any) -> Any:
    if type(value) is bytes:
        return {"bytes": value.hex()}
    if type(value) is dict:
        return {"map": [[key, _written(value[key])] for key in sorted(value, key=str.encode)]}
    if type(value) is tuple:
        return [_written(item) for item in value]
    return value
