"""Feeds with their trees, checkpoints of them, and witnesses: valid by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from ledger import witness
from ledger.checkpoint import Note, cosign, sign
from ledger.merkle import CompactRange, consistency_proof, root_of
from protocol.identity import KeyPair
from tests.builders import digest, genesis, keypair

AUTHOR = keypair(0)
WITNESSES = [keypair(n) for n in range(10, 14)]
WITNESSED = genesis(witnesses=tuple(w.public for w in WITNESSES))
NETWORK = WITNESSED.network_id()
TIME_S = 1_800_000_000
IDS = [digest(f"entry {n}") for n in range(20)]
OTHER_IDS = IDS[:4] + [digest(f"other {n}") for n in range(16)]  # a second history, from entry 4 on


def note(size: int = 7, ids: Sequence[bytes] = IDS, author: KeyPair = AUTHOR, network: bytes = NETWORK) -> Note:
    """A checkpoint that its author signed."""
    return sign(author, network, size, root_of(ids[:size]))


def cosigned(size: int = 7, by: Sequence[KeyPair] = WITNESSES, ids: Sequence[bytes] = IDS) -> Note:
    signed = note(size, ids)
    return signed.with_lines(*(cosign(w, NETWORK, signed.checkpoint, TIME_S) for w in by))


def request(old_size: int, size: int, ids: Sequence[bytes] = IDS, old_ids: Sequence[bytes] | None = None) -> bytes:
    """A request to cosign `size`, for a witness that has cosigned `old_size`, with an honest proof of `ids`."""
    old = CompactRange().extend((old_ids or ids)[:old_size])
    return witness.request_for(note(size, ids), old_size, consistency_proof(old, ids[old_size:size]))


@dataclass
class Memory:
    """Promises that last as long as a test."""

    kept: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    turn: Lock = field(default_factory=Lock)

    def cosigned(self, origin: str) -> tuple[int, bytes] | None:
        return self.kept.get(origin)

    def advance_cosigned(self, origin: str, old_size: int, size: int, root: bytes) -> bool:
        with self.turn:
            if self.kept.get(origin, (0, b""))[0] != old_size:
                return False
            self.kept[origin] = size, root
            return True
