"""Homes of nodes that are stopped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ledger.feed import ForkProof
from ledger.store import open_store
from node.energy.supply import EnergyConfig
from node.home.config import Config, render
from node.home.home import Home
from node.training.blobs import BlobStore
from protocol.envelope import Entry
from protocol.genesis import Genesis
from tests.builders import digest

SITE = EnergyConfig(
    device_id="meter", zone="NO-NO5", latitude=60.4, longitude=5.3, carrier="hydro", capacity_w=400, own_g_per_kwh=24
)


def stopped_home(
    path: Path,
    genesis: Genesis,
    entries: Iterable[Entry] = (),
    *,
    key: int = 0,
    records: Iterable[bytes] = (),
    forks: Iterable[ForkProof] = (),
) -> Home:
    """What the node of the tests' n-th key leaves behind."""
    home = Home(path)
    path.mkdir(mode=0o700)
    home.genesis_path.write_text(genesis.model_dump_json())
    home.config_path.write_text(render(Config(label="stopped", energy=SITE)))
    home.key_path.touch(mode=0o600)
    home.key_path.write_text(digest(f"key {key}").hex() + "\n")
    store = open_store(home.ledger_path, genesis.network_id())
    store.append(list(entries), durable=True)
    for proof in forks:
        store.add_fork(proof)
    store.close()
    blobs = BlobStore(home.blobs_path, 2**30)
    for record in records:
        blobs.put(record)
    return home


def stored(home: Home, genesis: Genesis) -> list[bytes]:
    """The raw entries that a home holds."""
    store = open_store(home.ledger_path, genesis.network_id())
    try:
        return [raw for _, raw in store.replay()]
    finally:
        store.close()
