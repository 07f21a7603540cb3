"""Ingest of peers' entries against the rate at which the same library verifies their signatures and does nothing else.

Ingest is what the product does: decode, canonical check, validation, strict verification, chain, Merkle tree, fold and
store, in batches. Both are measured in turn on the same entries, slice by slice, and the median slice is told: what
else the machine does then hits both.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.signing import VerifyKey

from ledger.ledger import Ledger
from ledger.store.sqlite import SqliteStore
from node.daemon import calm_collector
from protocol import identity
from protocol.envelope import Entry, open_entry, parse, signed_bytes
from tests.bench import histories
from tests.bench.figures import Figure

ENTRIES = 100_000
AUTHORS = 1_000
BATCH = 256
SLICE = 20 * BATCH
TARGET_ONE_CORE = 0.85
TARGET_TWO_CORES = 1.5
WORKERS = 3  # one more than cores: a thread that has its signature checked waits for the interpreter

Verify = Callable[[bytes, bytes, bytes], None]  # public key, message, signature; raises for an invalid one
Open = Callable[[Sequence[bytes]], Iterable[Entry]]


def figures() -> Iterator[Figure]:
    network = histories.genesis().network_id()
    raws = [entry.raw for entry in histories.feeds(ENTRIES, AUTHORS, network)]
    calm_collector()  # as the daemon does
    every = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, every[:1])
        one_core = list(_rows(raws, network))
        os.sched_setaffinity(0, every[:2])
        verify = verify_with(Ed25519PublicKey.from_public_bytes)
        value, _ = _median(raws, network, verify, durable=False, workers=WORKERS)
    finally:
        os.sched_setaffinity(0, every)
    yield from one_core
    figure = f"ingest on {len(every[:2])} cores, NORMAL"
    yield Figure("ledger", figure, value, "entries/s", "ingest on one core", one_core[0].value, TARGET_TWO_CORES)


def _rows(raws: Sequence[bytes], network: bytes) -> Iterator[Figure]:
    """Those of one core."""
    verify = verify_with(Ed25519PublicKey.from_public_bytes)
    one_core, reference = _median(raws, network, verify, durable=False)
    against = "signatures alone, cryptography"
    yield Figure("ledger", "ingest on one core, NORMAL", one_core, "entries/s", against, reference, TARGET_ONE_CORE)
    value, reference = _median(raws, network, verify, durable=True)
    yield Figure("ledger", "ingest on one core, FULL", value, "entries/s", against, reference)
    with patch.object(identity, "_public_key", cache(NaClKey)):
        value, reference = _median(raws, network, verify_with(NaClKey), durable=False)
    against = "signatures alone, PyNaCl"
    yield Figure("ledger", "ingest on one core, NORMAL, PyNaCl", value, "entries/s", against, reference)


def _median(
    raws: Sequence[bytes], network: bytes, verify: Verify, *, durable: bool, workers: int = 0
) -> tuple[float, float]:
    """Entries per second of ingest and of signatures alone, in the slice whose ratio is the median."""
    pairs = []
    with tempfile.TemporaryDirectory() as directory:
        ledger = Ledger(histories.genesis())
        store = SqliteStore(Path(directory) / "ledger.db", network)
        for start in range(0, len(raws), SLICE):
            some = raws[start : start + SLICE]
            signed = [(entry.author, signed_bytes(raw), raw[-64:]) for raw in some for entry in (parse(raw),)]
            began = time.perf_counter()
            for public, message, signature in signed:
                verify(public, message, signature)
            verified = time.perf_counter()
            ingest(some, ledger, store, durable=durable, workers=workers)
            pairs.append((len(some) / (time.perf_counter() - verified), len(some) / (verified - began)))
        store.close()
    return sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]


def ingest(raws: Sequence[bytes], ledger: Ledger, store: SqliteStore, *, durable: bool, workers: int) -> None:
    """Take peers' entries into the ledger; with `workers`, the next batch is verified while this one is folded."""

    def take(entries: list[Entry]) -> None:
        for entry in entries:
            ledger.extend(entry, histories.NOW_MS)
        store.append(entries, durable)

    def opened(some: Sequence[bytes]) -> list[Entry]:
        return [open_entry(raw, ledger.network) for raw in some]

    batches = (raws[start : start + BATCH] for start in range(0, len(raws), BATCH))
    if not workers:
        for batch in batches:
            take(opened(batch))
        return
    with ThreadPoolExecutor(workers) as pool:
        part = BATCH // workers
        begun = ([pool.submit(opened, b[i : i + part]) for i in range(0, len(b), part)] for b in batches)
        ahead = list(islice(begun, 2))
        while ahead:
            take([entry for future in ahead.pop(0) for entry in future.result()])
            ahead += islice(begun, 1)


class NaClKey:
    """PyNaCl's key with the arguments of `cryptography`'s."""

    def __init__(self, public: bytes) -> None:
        self._key = VerifyKey(public)

    def verify(self, signature: bytes, message: bytes) -> None:
        self._key.verify(message, signature)


def verify_with(load: Callable[[bytes], Ed25519PublicKey | NaClKey]) -> Verify:
    """What a library's verification costs alone, its keys at hand."""
    key_of = cache(load)
    return lambda public, message, signature: key_of(public).verify(signature, message)
