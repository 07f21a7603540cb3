"""An archive as bytes (`ledger.bin`): a line that says so, then every part as its letter, its length in four bytes, big
end first, and its content. Nothing follows the seal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import BinaryIO

from ledger.archive import BY_LETTER, Kind, Part, failed

MAGIC = b"HELIOTROPE LEDGER 2\n"
FORMER = b"HELIOTROPE LEDGER 1\n"
HEADER_BYTES = 5


def header(part: Part) -> bytes:
    return part.kind.letter.encode() + len(part.data).to_bytes(4, "big")


def write(parts: Iterable[Part]) -> Iterator[bytes]:
    """The bytes of an archive, piece by piece."""
    yield MAGIC
    for part in parts:
        yield header(part) + part.data


def read(file: BinaryIO) -> Iterator[Part]:
    """The parts of an archive up to its seal; nothing is read that its header does not allow.

    Raises VerificationFailed, naming the byte.
    """
    magic = file.read(len(MAGIC))
    if magic == FORMER:
        raise failed(0, "an archive of version 1; this program reads 2", "Export it anew from a node that holds it.")
    if magic != MAGIC:
        raise failed(
            0, "this is no Heliotrope ledger: the first bytes differ", "Export one with: heliotrope ledger export"
        )
    offset = len(MAGIC)
    for number in count(1):
        head = file.read(HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            raise failed(offset, f"the file is cut off: part {number} or what follows is missing")
        kind, length = BY_LETTER.get(head[:1]), int.from_bytes(head[1:], "big")
        if kind is None:
            raise failed(offset, f"part {number} is of no known kind: {head[:1]!r}")
        if length > kind.max_bytes:
            raise failed(
                offset, f"part {number}, of kind {kind.label}, claims {length} bytes, the bound is {kind.max_bytes}"
            )
        data = file.read(length)
        if len(data) < length:
            raise failed(
                offset,
                f"the file is cut off: {len(data)} of {length} bytes of part {number} ({kind.label}) are there",
            )
        yield Part(kind, data, offset)
        offset += HEADER_BYTES + length
        if kind is Kind.SEAL:
            break
    if file.read(1):
        raise failed(offset, "bytes follow the seal")
