"""`ledger.bin`: a ledger as one file that a stranger can check.

    magic, then frames of a four-byte big-endian length and that many bytes:
    genesis document (canonical) · every entry, in order of acceptance · an empty frame · the seal

The seal is `[v, network, exporter, time_ms, count, heads, sig]`: the exporter's signature under all heads, so that a
cut-off tail is noticed too. Nothing follows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pydantic import ValidationError

from ledger.audit import violations
from ledger.ledger import FAR_FUTURE_MS, Ledger
from protocol.adverts import first_fault
from protocol.codec import VALUE_MAX_BYTES, decode, encode
from protocol.envelope import Head, open_parsed, parse
from protocol.errors import Ignore, Reject, VerificationFailed
from protocol.genesis import Genesis
from protocol.gossip import read_head
from protocol.identity import KeyPair, peer_id, verify
from protocol.signed import sign_array, signed_part

MAGIC = b"HELIOTROPE LEDGER 1\n"
DOMAIN = b"heliotrope-archive/v1\0"
HEADS_MAX = 100_000
SEAL_MAX_BYTES = 16 * 1024 * 1024
EXPORT_AGAIN = "Do not rely on this file. Ask its source, or another peer, for a fresh export."


@dataclass(frozen=True, slots=True)
class Verified:
    """What a checked archive holds."""

    ledger: Ledger
    raws: list[bytes]
    exporter: bytes
    time_ms: int


def frames(
    genesis: Genesis, raws: Iterable[bytes], heads: list[Head], keypair: KeyPair, now_ms: int
) -> Iterator[bytes]:
    """The bytes of an archive, piece by piece. Raises ValueError beyond HEADS_MAX heads."""
    yield MAGIC
    yield _frame(genesis.encoded())
    count = 0
    for raw in raws:
        count += 1
        yield _frame(raw)
    yield _frame(b"")
    listed = tuple((h.author, h.seq, h.id) for h in heads)
    six = (1, genesis.network_id(), keypair.public, now_ms, count, listed)
    yield _frame(sign_array(keypair, DOMAIN, six, HEADS_MAX))


def read(file: BinaryIO) -> Verified:
    """Check everything: encoding, signatures, chains, rules, invariants, completeness.

    Raises VerificationFailed, naming what is wrong, in which part, and at which byte that part begins.
    """
    reader = _Reader(file)
    if file.read(len(MAGIC)) != MAGIC:
        raise _failed(
            0, "this is no Heliotrope ledger: the first bytes differ", "Export one with: heliotrope ledger export"
        )
    reader.offset = len(MAGIC)
    try:
        genesis = _open_genesis(reader.frame("the genesis document", VALUE_MAX_BYTES))
        ledger = Ledger(genesis)
        raws = []
        while raw := reader.frame(f"entry number {ledger.count + 1}", VALUE_MAX_BYTES):
            entry = parse(raw)
            reader.part += f" (seq {entry.seq} of {peer_id(entry.author)})"
            ledger.extend(open_parsed(entry, ledger.network), FAR_FUTURE_MS)
            raws.append(raw)
        exporter, time_ms = _open_seal(reader.frame("the seal", SEAL_MAX_BYTES), ledger)
    except (Reject, Ignore) as refusal:
        raise _failed(reader.at, f"{reader.part}: {refusal}") from None
    if file.read(1):
        raise _failed(reader.offset, "bytes follow the seal")
    broken = violations(ledger.state)
    if broken:
        raise _failed(reader.at, f"{len(broken)} promises are broken, first: {broken[0]}")
    return Verified(ledger, raws, exporter, time_ms)


def _open_genesis(raw: bytes) -> Genesis:
    try:
        genesis = Genesis.model_validate(decode(raw))
    except ValidationError as error:
        raise Reject(first_fault(error)) from None
    if genesis.encoded() != raw:
        raise Reject("a field is left to its default: the network's id would not be the hash of this document")
    return genesis


def _open_seal(raw: bytes, ledger: Ledger) -> tuple[bytes, int]:
    """The exporter's key and its time. Raises Reject unless the seal is genuine and speaks of this ledger."""
    value = decode(raw, SEAL_MAX_BYTES, HEADS_MAX)
    if type(value) is not tuple or [type(item) for item in value] != [int, bytes, bytes, int, int, tuple, bytes]:
        raise Reject("not an array of version, network, exporter, time, count, heads and signature")
    version, network, exporter, time_ms, count, heads, signature = value
    if version != 1:
        raise Reject(f"version {version}, this program reads 1")
    if not verify(exporter, signed_part(DOMAIN, raw), signature):
        raise Reject("the exporter's signature under the heads is not valid")
    if network != ledger.network:
        raise Reject("the seal is of another network than the genesis document")
    if count != ledger.count:
        raise Reject(f"it speaks of {count} entries, the file holds {ledger.count}")
    if [read_head(head) for head in heads] != ledger.head_list():
        raise Reject("its heads are not those of the entries in the file")
    return exporter, time_ms


class _Reader:
    """Frames, with the name and the offset of the one being read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.offset = 0
        self.at = 0
        self.part = ""

    def frame(self, part: str, max_bytes: int) -> bytes:
        self.at, self.part = self.offset, part
        header = self.file.read(4)
        if len(header) < 4:
            raise _failed(self.at, f"the file is cut off: {part} or what follows is missing")
        length = int.from_bytes(header, "big")
        if length > max_bytes:
            raise _failed(self.at, f"{part} claims {length} bytes, the bound is {max_bytes}")
        data = self.file.read(length)
        if len(data) < length:
            raise _failed(self.at, f"the file is cut off: {len(data)} of {length} bytes of {part} are there")
        self.offset += 4 + length
        return data


def _frame(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _failed(offset: int, cause: str, remedy: str = EXPORT_AGAIN) -> VerificationFailed:
    return VerificationFailed("HEL-LEDGER-006", f"ledger verify: FAILED at byte {offset}: {cause}", remedy)


def fingerprint(heads: list[Head]) -> str:
    """One short name for a set of heads: equal ledgers, equal names."""
    return hashlib.sha256(encode(tuple((h.author, h.seq, h.id) for h in heads), HEADS_MAX)).hexdigest()[:16]
