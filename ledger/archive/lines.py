"""An archive as JSON lines: one part a line, decoded for people and their programs, with the raw bytes beside.

    {"part": "entry", "id": "…", "kind": "bid", "author": "…", "seq": 3, …, "body": {…}, "raw": "9a01…"}

Only `part` and `raw` are believed; the rest must be what follows from them, so a line has one spelling.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, BinaryIO

from ledger.archive import BY_LABEL, PART_MAX_BYTES, Kind, Part, failed
from ledger.archive.forks import open_pair
from ledger.archive.seal import FORM
from ledger.checkpoint import parse_note
from protocol.codec import decode
from protocol.envelope import Entry, parse
from protocol.errors import Reject
from protocol.identity import peer_id

OPENING = b'{"part": "'
LINE_MAX_BYTES = 2 * PART_MAX_BYTES + 1024  # hexadecimal; entries, which are written twice, are much smaller


def write(parts: Iterable[Part]) -> Iterator[bytes]:
    """The lines of an archive, one by one. Raises Reject for a part that cannot be read."""
    return map(_line, parts)


def read(file: BinaryIO) -> Iterator[Part]:
    """The parts of an archive up to its seal. Raises VerificationFailed, naming the byte at which a line begins."""
    offset = 0
    for number in count(1):
        line = file.readline(LINE_MAX_BYTES)
        if not line.endswith(b"\n"):
            if len(line) == LINE_MAX_BYTES:
                raise failed(offset, f"line {number} exceeds {LINE_MAX_BYTES} bytes")
            raise failed(offset, f"the file is cut off: line {number} or what follows is missing")
        try:
            part = _part(line, offset)
        except Reject as refusal:
            raise failed(offset, f"line {number}: {refusal}") from None
        yield part
        offset += len(line)
        if part.kind is Kind.SEAL:
            break
    if file.read(1):
        raise failed(offset, "bytes follow the seal")


def plain(value: Any) -> Any:
    """A decoded body as JSON has it: bytes as hexadecimal, arrays as lists."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def entry_fields(entry: Entry) -> dict[str, Any]:
    """What an entry says, for JSON."""
    return {
        "id": entry.id.hex(),
        "kind": entry.kind,
        "author": entry.author.hex(),
        "seq": entry.seq,
        "prev": entry.prev.hex(),
        "time_ms": entry.time_ms,
        "refs": [ref.hex() for ref in entry.refs],
        "body": plain(entry.body),
    }


def _line(part: Part) -> bytes:
    fields = {"part": part.kind.label, **_decoded(part), "raw": part.data.hex()}
    return json.dumps(fields).encode() + b"\n"


def _part(line: bytes, offset: int) -> Part:
    """Raises Reject."""
    try:
        fields = json.loads(line)
        kind, raw = BY_LABEL[fields["part"]], bytes.fromhex(fields["raw"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Reject("not an object with the name of a `part` and its `raw` bytes in hexadecimal") from None
    if len(raw) > kind.max_bytes:
        raise Reject(f"a part of kind {kind.label} has {len(raw)} bytes, the bound is {kind.max_bytes}")
    part = Part(kind, raw, offset)
    if _line(part) != line:
        raise Reject("what is written beside `raw` is not what `raw` says")
    return part


def _decoded(part: Part) -> dict[str, Any]:
    """What people want to see of a part. Raises Reject."""
    match part.kind:
        case Kind.GENESIS:
            return {"network": part.data[:32].hex(), "document": plain(decode(part.data[32:]))}
        case Kind.FORK:
            a, b = open_pair(part.data)
            return {"author": a.author.hex(), "peer_id": peer_id(a.author), "entries": [_place(a), _place(b)]}
        case Kind.ASIDE | Kind.ENTRY:
            return entry_fields(parse(part.data))
        case Kind.CHECKPOINT:
            checkpoint = parse_note(part.data).checkpoint
            return {"origin": checkpoint.origin, "size": checkpoint.size, "note": part.data.decode()}
        case Kind.MATCHING:
            return {}
        case Kind.SEAL:
            value = decode(part.data, Kind.SEAL.max_bytes)
            names = ("version", "network", "exporter", "time_ms", "counts", "heads", "content", "signature")
            if type(value) is not tuple or len(value) != len(FORM):
                raise Reject("not a seal")
            return dict(zip(names, map(plain, value), strict=True))


def _place(entry: Entry) -> dict[str, Any]:
    return {"seq": entry.seq, "id": entry.id.hex()}
