"""Entries with their ids and fields, and bytes that are none, with the check that refuses them."""

from __future__ import annotations

from typing import Any

from protocol.codec import VALUE_MAX_BYTES, decode, encode
from protocol.envelope import REFS_MAX, Entry
from protocol.identity import peer_id
from protocol.messages import INTEGER_MAX
from tests.builders import digest, entry, genesis, job, keypair, whole_history

NETWORK = genesis().network_id()
REAL = entry(kind="job", refs=(digest("ref"),), body=job().model_dump())
FIELDS = ("version", "network", "kind", "author", "seq", "prev", "time_ms", "refs", "body", "sig")

CHECK_OF = {"version": 3, "network": 4, "author": 4, "prev": 4, "kind": 5, "seq": 6, "time_ms": 6, "refs": 7}
CHECK_OF |= {"body": 8, "sig": 9}
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


def spelled(**changes: Any) -> bytes:
    """The bytes of an entry with some of its ten fields replaced after signing."""
    fields = dict(zip(FIELDS, decode(REAL.raw), strict=True)) | changes
    return encode(tuple(fields.values()))


def _accepted() -> dict[str, Entry]:
    """One of every kind, and the limits."""
    return {each.kind: each for each in whole_history().entries} | {
        "unknown kind": entry(body={"deep": ({"er": None},)}),
        "the highest numbers": entry(seq=INTEGER_MAX, time_ms=INTEGER_MAX, kind="a" * 32),
        "the most refs": entry(refs=tuple(digest(f"ref {n}") for n in range(REFS_MAX))),
        "the most bytes": entry(body={"bytes": bytes(VALUE_MAX_BYTES - len(entry(body={"bytes": b""}).raw) - 1)}),
    }


def _refused() -> dict[str, tuple[bytes, int]]:
    """Bytes and the number of the check; 1 to 9 are of `parse`, 10 and 11 of `open_parsed`."""
    ten = decode(REAL.raw)
    cases = {
        "array header too long": (b"\xdc\x00\x0a" + REAL.raw[1:], 1),
        "a byte too many": (REAL.raw + b"\0", 1),
        "cut off": (REAL.raw[:-1], 1),
        "more than 16 KiB": (bytes(VALUE_MAX_BYTES + 1), 1),
        "nine items": (encode(ten[:9]), 2),
        "eleven items": (encode((*ten, None)), 2),
        "a map": (encode({}), 2),
    }
    for name, values in IMPOSSIBLE.items():
        for value in values:
            shown = repr(value) if len(repr(value)) < 24 else f"{repr(value)[:20]}..., {len(value)} long"
            cases[f"{name} {shown}"] = spelled(**{name: value}), CHECK_OF[name]
    return cases | {
        "another network": (entry(network=digest("other")).raw, 10),
        "signature of zeros": (spelled(sig=bytes(64)), 11),
        "signature of another author": (spelled(author=keypair(1).public), 11),
        "signature without the domain": (spelled(sig=keypair(0).sign(encode(ten[:9]))), 11),
        "signature of another seq": (spelled(seq=1), 11),
    }


def make() -> dict[str, Any]:
    return {
        "networks": [{"name": "test", "genesis": genesis().encoded().hex(), "id": NETWORK.hex()}],
        "accepted": [{"name": name} | _written(each) for name, each in _accepted().items()],
        "refused": [{"name": name, "raw": raw.hex(), "check": check} for name, (raw, check) in _refused().items()],
    }


def _written(e: Entry) -> dict[str, Any]:
    identity = {"id": e.id.hex(), "author": e.author.hex(), "peer_id": peer_id(e.author)}
    place = {"kind": e.kind, "seq": e.seq, "prev": e.prev.hex(), "time_ms": e.time_ms}
    return {"raw": e.raw.hex()} | identity | place | {"refs": [ref.hex() for ref in e.refs]}
