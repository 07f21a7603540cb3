"""A job whose awards come from real matchings, with the records of these: what an audit repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from node.market.question import answer, candidate_of_bid, demand_of_job
from node.matching.bids.record import MATCHER
from protocol.envelope import Entry
from protocol.identity import KeyPair
from protocol.messages import Award, Placement
from tests.builders import SLOT_MS, History, digest, keypair, slot_energy

OWNER = keypair(0)
PROVIDERS = [keypair(n) for n in (1, 2, 3)]


@dataclass
class Matched:
    """`records`: of the matchings, by hash."""

    history: History
    job: Entry
    records: dict[bytes, bytes] = field(default_factory=dict)

    def match(self, *shards: int, **asked: Any) -> tuple[bytes, tuple[Placement, ...]]:
        """Ask the matching about the bids that are there; the hash of its record, and what it chose."""
        state, job = self.history.state, self.history.state.jobs[self.job.id]
        candidates = [candidate_of_bid(bid, state, "a peer") for bid in job.bids.values()]
        fields: dict[str, Any] = {"shards": shards, "slots": job.job.slots, "first_slot": job.job.first_slot} | asked
        demand = demand_of_job(job.job, job.id, SLOT_MS, **fields)
        plan, record, _ = answer(candidates, demand)
        self.records[sha256(record).digest()] = record
        return sha256(record).digest(), tuple(placed.placement() for placed in plan.placements)

    def award(self, instance: bytes, placements: tuple[Placement, ...], **changes: Any) -> Entry:
        body = Award(job=self.job.id, instance_sha256=instance, matcher=MATCHER, placements=placements)
        return self.history.append(
            OWNER, body.model_copy(update=changes), self.job.id, *(placement.bid for placement in placements)
        )

    def deliver(self, lease: Entry) -> None:
        """Attest, receipt in two parts, settle each."""
        history = self.history
        attested = history.attestation(history.keys[lease.author])
        history.settlement(history.receipt(lease, final=False))
        row = slot_energy(surplus_j=6000, attestation=attested.id)
        history.settlement(history.receipt(lease, row, deltas=(digest("delta 2"),)))


def bidding(providers: Sequence[KeyPair] = PROVIDERS, shards: int = 2, **genesis: Any) -> Matched:
    """Three providers have bid for a job of two shards."""
    history = History(**genesis)
    for provider in providers:
        history.offer(provider)
    job = history.job(OWNER, shards=shards)
    for provider in providers:
        history.bid(provider, job)
    return Matched(history, job)


def matched(**genesis: Any) -> Matched:
    """The same, to the end: two are awarded, one of them is replaced by the third, both deliver."""
    scene = bidding(**genesis)
    history = scene.history
    instance, placements = scene.match(0, 1)
    first = scene.award(instance, placements)
    leases = [history.lease(first, shard) for shard in (0, 1)]
    history.revocation(first, 1)
    stays, lost = (placement.provider for placement in placements)
    again = scene.award(*scene.match(1, occupied=(stays,), excluded=((lost, "unreachable"),)))
    leases[1] = history.lease(again, 1)
    history.now_ms += SLOT_MS
    for lease in leases:
        scene.deliver(lease)
    history.closure(scene.job)
    return scene
