"""Ingest of peers' entries against the pure rate of signature verification."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from ledger.ledger import Ledger
from ledger.store.sqlite import SqliteStore
from protocol.envelope import NO_PREV, Entry, open_entry, parse, seal, signed_bytes
from protocol.genesis import Clock, Genesis
from protocol.identity import KeyPair, verify
from tests.bench.figures import Figure, rate

ENTRIES = 2_000
AUTHORS = 20
BATCH = 256


def figures() -> Iterator[Figure]:
    genesis = Genesis(name="bench", clock=Clock(unix_ms=0, network_ms=0, speed=1), slot_ms=10_000)
    raws = [entry.raw for entry in feeds(genesis)]
    parsed = [parse(raw) for raw in raws]

    def pure() -> None:
        for entry in parsed:
            verify(entry.author, signed_bytes(entry.raw), entry.raw[-64:])

    def ingest() -> None:
        with tempfile.TemporaryDirectory() as directory:
            ledger = Ledger(genesis)
            store = SqliteStore(Path(directory) / "ledger.db", ledger.network)
            for start in range(0, len(raws), BATCH):
                entries = [open_entry(raw, ledger.network) for raw in raws[start : start + BATCH]]
                for entry in entries:
                    ledger.extend(entry, now_ms=10**12)
                store.append(entries, durable=False)
            store.close()

    reference = rate(pure, ENTRIES)
    yield Figure(
        "ledger",
        f"ingest to disk, synchronous=FULL, batch {BATCH}",
        rate(ingest, ENTRIES),
        "entries/s",
        "pure signature verification",
        reference,
        target=0.85,
    )


def feeds(genesis: Genesis) -> Iterator[Entry]:
    """Honest feeds of small entries, authors in turn."""
    network = genesis.network_id()
    keypairs = [KeyPair(number.to_bytes(32, "big")) for number in range(AUTHORS)]
    heads = dict.fromkeys(range(AUTHORS), NO_PREV)
    for number in range(ENTRIES):
        author, seq = number % AUTHORS, number // AUTHORS
        time_ms = 10_000 * (seq + 1)
        body = {
            "device_id": "meter",
            "carrier": "wind",
            "method": "metered",
            "start_ms": time_ms - 10_000,
            "end_ms": time_ms,
            "energy_j": 100,
            "meter_start_j": 100 * seq,
            "meter_end_j": 100 * seq + 100,
            "capacity_w": 1000,
            "place": {"zone": "DE", "latitude_decidegrees": 520, "longitude_decidegrees": 130},
            "own_g_per_kwh": 11,
            "grid_g_per_kwh": 380,
            "intensity_kind": "avg_lifecycle",
            "intensity_source": "bench",
            "uncertainty_permille": 20,
        }
        entry = seal(
            keypairs[author],
            network=network,
            kind="attestation",
            seq=seq,
            prev=heads[author],
            time_ms=time_ms,
            refs=(),
            body=body,
        )
        heads[author] = entry.id
        yield entry
