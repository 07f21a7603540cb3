"""The cold start of a node with a long history, and what appending costs at its end.

The history is built once, which takes minutes; then the daemon is started on it as a user would.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median

from ledger import snapshot
from ledger.ledger import Ledger
from ledger.store.sqlite import SqliteStore
from node.client import Client
from node.daemon import calm_collector
from node.home.home import Home
from protocol.envelope import Entry
from protocol.errors import Unreachable
from tests.bench import histories
from tests.bench.figures import Figure
from tests.bench.nodes import make_home

ENTRIES = 1_000_000
AUTHORS = 10_000
BATCH = 256
PROBE = 20_000  # entries whose appending is timed, at the beginning and at the end
READY_BOUND_S = 10
MEMORY_BOUND_MIB = 1024
GROWTH_BOUND = 1.25  # guess: what two timings of the same work differ by on a shared machine


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        home = make_home(Path(directory) / "node", histories.genesis())
        first_us, last_us = _build(home)
        ready_s, peak_mib = _start(home)
    against = f"bound for {ENTRIES} entries"
    yield Figure("start", "cold start until ready", ready_s, "s", against, READY_BOUND_S, 1.0, at_most=True)
    yield Figure("start", "peak memory", peak_mib, "MiB", against, MEMORY_BOUND_MIB, 1.0, at_most=True)
    yield Figure(
        *("start", f"appending the last {PROBE}", last_us, "us/entry", f"the first {PROBE}", first_us, GROWTH_BOUND),
        at_most=True,
    )


def _build(home: Home) -> tuple[float, float]:
    """Fill the home's ledger and keep a snapshot, as an orderly end does; microseconds of an append, first and last, in
    the median batch."""
    calm_collector()  # as the daemon does
    ledger = Ledger(histories.genesis())
    store = SqliteStore(home.ledger_path, ledger.network)
    spent_s: list[float] = []
    entries = histories.feeds(ENTRIES, AUTHORS, ledger.network)
    while batch := list(islice(entries, BATCH)):
        spent_s.append(_append(batch, ledger, store))
    snapshot.save(ledger, store)
    store.close()
    batches = PROBE // BATCH
    first, last = spent_s[:batches], spent_s[-batches - 1 : -1]
    return median(first) / BATCH * 1e6, median(last) / BATCH * 1e6


def _append(batch: list[Entry], ledger: Ledger, store: SqliteStore) -> float:
    began = time.process_time()
    for entry in batch:
        ledger.extend(entry, histories.NOW_MS)
    store.append(batch, durable=False)
    return time.process_time() - began


def _start(home: Home) -> tuple[float, float]:
    """Seconds until the daemon answers that it is up, and its peak memory in MiB."""
    began = time.perf_counter()
    daemon = subprocess.Popen([sys.executable, "-m", "node.daemon", str(home.path)])
    try:
        while not _answers(home):
            if daemon.poll() is not None:
                raise RuntimeError(f"the daemon ended with {daemon.returncode}")
            time.sleep(0.05)
        ready_s = time.perf_counter() - began
        status = Path(f"/proc/{daemon.pid}/status").read_text()
    finally:
        daemon.terminate()
        daemon.wait()
    peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return ready_s, peak_kib / 1024


def _answers(home: Home) -> bool:
    try:
        return bool(Client.of_home(home).node())
    except Unreachable:
        return False
