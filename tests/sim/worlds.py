"""Worlds and jobs for the simulated tests: valid by default, one thing changed per test."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ledger.archive import fingerprint
from ledger.state import JobRecord, PlacementRecord
from node.devnet.sites import DEMO_SITES, NETWORK_TIME_MS
from node.market.run import Run
from node.sim.world import World, keypair_of
from protocol.genesis import Clock, Genesis
from protocol.messages import Blob, Job, ModelSpec, TrainingSpec

SLOT_MS = 10_000
LEAD = "singapore-gas"
SOLAR, WIND, HYDRO, NIGHT = "valencia-solar", "esbjerg-wind", "bergen-hydro", "sydney-solar"
WITNESS_SITES = [replace(DEMO_SITES[-1], name=f"witness-{n}") for n in range(4)]
WITNESSES = [site.name for site in WITNESS_SITES]
TEXT = Blob(sha256=hashlib.sha256(b"a public-domain text").digest(), size_bytes=20)
SETTLED_MS = 15_000  # ample for the last entries to reach everybody in a network without faults


def genesis(**changes: Any) -> Genesis:
    fields: dict[str, Any] = {
        "name": "simulated",
        "clock": Clock(unix_ms=1_800_000_000_000, network_ms=NETWORK_TIME_MS, speed=1),
        "slot_ms": SLOT_MS,
        "surplus_assurance_min": 0,
    }
    return Genesis(**fields | changes)


def world(seed: int = 1, **changes: Any) -> World:
    """The demo's five sites, up for a while and all acquainted. `genesis`: changes to it."""
    document = genesis(**changes.pop("genesis", {}))
    made = World(changes.pop("sites", DEMO_SITES), document, random.Random(seed), **changes)
    made.run(8_000)
    return made


def witnessed(**changes: Any) -> World:
    """The same, with four witnesses that neither sell nor buy."""
    keys = tuple(keypair_of(site).public for site in WITNESS_SITES)
    fields = {"sites": (*DEMO_SITES, *WITNESS_SITES), "buyers": WITNESSES, "genesis": {"witnesses": keys}}
    return world(**fields | changes)


def training(**changes: Any) -> TrainingSpec:
    fields: dict[str, Any] = {
        "model": ModelSpec(
            vocab_size=256,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
        ),
        "data": (TEXT,),
        "seed": 7,
        "rounds": 10,
        "inner_steps": 50,
        "batch_size": 16,
        "inner_learning_rate_micro": 5000,
        "inner_warmup_steps": 10,
        "inner_weight_decay_micro": 100_000,
        "outer_learning_rate_permille": 700,
        "outer_momentum_permille": 600,
    }
    return TrainingSpec(**fields | changes)


def job(in_world: World, **changes: Any) -> Job:
    """Three shards for six slots, within twelve that begin with the next. `training`: changes to it."""
    slot = in_world.slot + 1
    fields: dict[str, Any] = {
        "name": "shakespeare",
        "mode": "open",
        "tenant": "",
        "shards": 3,
        "slots": 6,
        "first_slot": slot,
        "deadline_slot": slot + 12,
        "units_per_shard": 1,
        "memory_mb": 1024,
        "rate_tps": 0,
        "bandwidth_mbps": 10,
        "price_max_microcredits_per_unit_hour": 1_000_000,
        "carbon_max_g_per_kwh": 0,
        "bids_close_at_ms": in_world.now_ms + 2_000,
        "training": training(**changes.pop("training", {})),
    }
    return Job(**fields | changes)


def record_of(in_world: World, name: str, job_id: bytes) -> JobRecord:
    """The job as a node's ledger has it."""
    return in_world.node(name).ledger.state.jobs[job_id]


def run_of(in_world: World, job_id: bytes, name: str = LEAD) -> Run:
    """The job as its lead has it."""
    return in_world.node(name).requester.runs[job_id]


def is_closed(in_world: World, job_id: bytes, name: str = LEAD) -> Callable[[], bool]:
    return lambda: record_of(in_world, name, job_id).closure is not None


def reaches_round(in_world: World, job_id: bytes, number: int, name: str = LEAD) -> Callable[[], bool]:
    return lambda: run_of(in_world, job_id, name).round >= number


def placements(in_world: World, job_id: bytes, name: str = LEAD) -> dict[str, PlacementRecord]:
    """The placements that count, by site."""
    names = {host.key: host.name for host in in_world.hosts.values()}
    live = record_of(in_world, name, job_id).live().values()
    return {names[record.placement.provider]: record for record in live}


def settle(in_world: World) -> None:
    """Let the last entries reach everybody; stop in the middle of a slot, when nobody has just read its meter."""
    in_world.run(SETTLED_MS)
    slot_ms = in_world.genesis.slot_ms
    in_world.run((slot_ms // 2 - in_world.now_ms) % slot_ms)


def assert_all_is_well(in_world: World) -> None:
    """What a world comes to rest with: equal ledgers, no shard in anybody's hands, no void entry, no fork."""
    settle(in_world)
    nodes = [in_world.node(host.name) for host in in_world.alive()]
    assert len({fingerprint(node.ledger.head_list()) for node in nodes}) == 1, "heads differ"
    for node in nodes:
        assert node.provider.works == {}
        assert node.ledger.state.voids == {}
        assert node.ledger.forks == {}


def assert_settled(in_world: World, job_id: bytes, name: str = LEAD, *, may_lose_deltas: bool = False) -> None:
    """Every lease under a running provider has its final receipt, and every receipt is settled and accepted."""
    running = {host.key for host in in_world.alive()}
    for placement in record_of(in_world, name, job_id).placements:
        receipts = placement.lease.receipts if placement.lease is not None else []
        if placement.lease is not None and placement.placement.provider in running:
            assert receipts
            assert receipts[-1].receipt.final
        for receipt in receipts:
            assert receipt.settlement is not None
            was_lost = may_lose_deltas and receipt.settlement.reason.endswith("deltas never arrived")
            assert receipt.settlement.accepted or was_lost, receipt.settlement.reason
