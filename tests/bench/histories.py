"""Honest feeds of any length for the benches: what providers sign most, one attestation a slot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from protocol.envelope import NO_PREV, Entry, seal
from protocol.genesis import Clock, Genesis
from protocol.identity import KeyPair

SLOT_MS = 10_000
NOW_MS = 10**12


def genesis() -> Genesis:
    return Genesis(name="bench", clock=Clock(unix_ms=0, network_ms=0, speed=1), slot_ms=SLOT_MS)


def feeds(entries: int, authors: int, network: bytes) -> Iterator[Entry]:
    """So many attestations, the authors in turn; the same ones every time."""
    keypairs = [KeyPair(hashlib.sha256(number.to_bytes(8, "big")).digest()) for number in range(authors)]
    heads = [NO_PREV] * authors
    for number in range(entries):
        seq, author = divmod(number, authors)
        entry = seal(
            keypairs[author],
            network=network,
            kind="attestation",
            seq=seq,
            prev=heads[author],
            time_ms=SLOT_MS * (seq + 1),
            refs=(),
            body=_attestation(seq, 100 + number % 97),
        )
        heads[author] = entry.id
        yield entry


def _attestation(seq: int, energy_j: int) -> dict[str, object]:
    return {
        "device_id": "meter",
        "carrier": "wind",
        "method": "metered",
        "start_ms": SLOT_MS * seq,
        "end_ms": SLOT_MS * (seq + 1),
        "energy_j": energy_j,
        "meter_start_j": 1_000 * seq,
        "meter_end_j": 1_000 * seq + energy_j,
        "capacity_w": 1000,
        "place": {"zone": "DE", "latitude_decidegrees": 520, "longitude_decidegrees": 130},
        "own_g_per_kwh": 11,
        "grid_g_per_kwh": 380,
        "intensity_kind": "avg_lifecycle",
        "intensity_source": "bench",
        "uncertainty_permille": 20,
    }
