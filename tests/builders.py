"""Bodies that are valid by default, one field changed per test, and `History`, which writes whole honest ledgers.

Time is network time in slots of a minute. Nothing is random here: the same calls make the same bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ledger.archive import Part, frames, write
from ledger.audit import violations
from ledger.energy import carbon_ug
from ledger.ledger import Ledger
from ledger.receipts import amount_due, least_moved_bytes, transfer_ug
from ledger.state import LeaseRecord, State
from protocol.bodies import BODIES
from protocol.envelope import NO_PREV, Entry, seal
from protocol.genesis import Clock, Genesis
from protocol.identity import KeyPair
from protocol.messages import (
    Attestation,
    Award,
    Bid,
    Blob,
    Body,
    Closure,
    Job,
    Lease,
    ModelSpec,
    Offer,
    Placement,
    Receipt,
    Revocation,
    Settlement,
    SlotEnergy,
    TrainingSpec,
)

from .claims import Claims
from .devices import PLACE, battery

SLOT_MS = 60_000
FIRST_SLOT = 100
NOW_MS = FIRST_SLOT * SLOT_MS
KINDS = {model: kind for kind, model in BODIES.items()}


def digest(text: str) -> bytes:
    """An id that nothing has."""
    return hashlib.sha256(text.encode()).digest()


def keypair(n: int) -> KeyPair:
    """The n-th key of the tests."""
    return KeyPair(digest(f"key {n}"))


def genesis(**changes: Any) -> Genesis:
    fields: dict[str, Any] = {
        "name": "test",
        "clock": Clock(unix_ms=0, network_ms=0, speed=1),
        "slot_ms": SLOT_MS,
        "surplus_assurance_min": 1,
    }
    return Genesis(**fields | changes)


def entry(author: KeyPair | None = None, **changes: Any) -> Entry:
    """A signed entry that stands alone: the first of its feed, of a kind that no program knows yet."""
    fields: dict[str, Any] = {
        "network": genesis().network_id(),
        "kind": "note",
        "seq": 0,
        "prev": NO_PREV,
        "time_ms": NOW_MS,
        "refs": (),
        "body": {},
    }
    return seal(author or keypair(0), **fields | changes)


def feed(author: KeyPair, length: int) -> list[Entry]:
    """So many notes, each following the one before."""
    entries: list[Entry] = []
    for seq in range(length):
        entries.append(entry(author, seq=seq, prev=entries[-1].id if entries else NO_PREV))
    return entries


def offer(**changes: Any) -> Offer:
    """Four units of 100 W behind half a kilowatt of solar panels, in the open pool."""
    fields: dict[str, Any] = {
        "device": "cpu",
        "units": 4,
        "memory_mb": 16_384,
        "rate_tps": 1000,
        "idle_w": 20,
        "peak_w": 100,
        "pue_permille": 1000,
        "embodied_ug_per_unit_hour": 600_000,
        "bandwidth_mbps": 100,
        "price_microcredits_per_unit_hour": 200_000,
        "tenant": "",
        "place": PLACE,
        "carrier": "solar",
        "capacity_w": 500,
        "own_g_per_kwh": 36,
    }
    return Offer(**fields | changes)


def attestation(**changes: Any) -> Attestation:
    """Twelve kilojoules of metered surplus in the slot before `NOW_MS`, by night: from water, not from the sun."""
    fields: dict[str, Any] = {
        "device_id": "inverter",
        "carrier": "hydro",
        "method": "metered",
        "start_ms": NOW_MS - SLOT_MS,
        "end_ms": NOW_MS,
        "energy_j": 12_000,
        "meter_start_j": 0,
        "meter_end_j": 12_000,
        "capacity_w": 500,
        "place": offer().place,
        "own_g_per_kwh": 36,
        "grid_g_per_kwh": 360,
        "intensity_kind": "avg_lifecycle",
        "intensity_source": "declared",
        "uncertainty_permille": 50,
    }
    return Attestation(**fields | changes)


def training(**changes: Any) -> TrainingSpec:
    fields: dict[str, Any] = {
        "model": ModelSpec(
            vocab_size=256,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=8,
        ),
        "data": (Blob(sha256=digest("text"), size_bytes=1000),),
        "seed": 1,
        "rounds": 4,
        "inner_steps": 5,
        "batch_size": 2,
        "inner_learning_rate_micro": 1000,
        "inner_warmup_steps": 0,
        "inner_weight_decay_micro": 0,
        "outer_learning_rate_permille": 700,
        "outer_momentum_permille": 900,
    }
    return TrainingSpec(**fields | changes)


def job(**changes: Any) -> Job:
    """Two shards for three of ten slots, on open peers."""
    fields: dict[str, Any] = {
        "name": "job",
        "mode": "open",
        "tenant": "",
        "shards": 2,
        "slots": 3,
        "first_slot": FIRST_SLOT,
        "deadline_slot": FIRST_SLOT + 10,
        "units_per_shard": 2,
        "memory_mb": 1024,
        "rate_tps": 0,
        "bandwidth_mbps": 1,
        "price_max_microcredits_per_unit_hour": 300_000,
        "carbon_max_g_per_kwh": 0,
        "bids_close_at_ms": NOW_MS + 10 * SLOT_MS,
        "training": training(),
    }
    return Job(**fields | changes)


def slot_energy(**changes: Any) -> SlotEnergy:
    """Six kilojoules from the grid; the carbon follows from the numbers unless a test says otherwise."""
    fields: dict[str, Any] = {
        "slot": FIRST_SLOT,
        "energy_j": 6000,
        "surplus_j": 0,
        "own_g_per_kwh": 36,
        "grid_g_per_kwh": 360,
        "embodied_ug": 20_000,
        "attestation": None,
    }
    fields |= changes
    numbers = (fields[name] for name in ("energy_j", "surplus_j", "own_g_per_kwh", "grid_g_per_kwh", "embodied_ug"))
    return SlotEnergy(**{"carbon_ug": carbon_ug(*numbers)} | fields)


class History(Claims):
    """One ledger and the keys of its authors. Every method signs one entry, whatever the rules think of it, and returns
    it; by default it is the honest one. `broken` is what the audit found, over all steps."""

    def __init__(self, **genesis_changes: Any) -> None:
        self.ledger = Ledger(genesis(**genesis_changes))
        self.now_ms = NOW_MS
        self.entries: list[Entry] = []
        self.broken: list[str] = []
        self.keys: dict[bytes, KeyPair] = {}

    @property
    def state(self) -> State:
        return self.ledger.state

    def void(self, entry: Entry) -> str | None:
        """Why an entry counts for nothing; None if it counts."""
        return self.state.voids.get(entry.id)

    def append(self, author: KeyPair, body: Body, *refs: bytes) -> Entry:
        self.keys[author.public] = author
        unique = tuple(dict.fromkeys(refs))
        entry, _ = self.ledger.append(author, KINDS[type(body)], body.model_dump(), unique, self.now_ms)
        self.entries.append(entry)
        self.broken += violations(self.state)
        return entry

    def offer(self, provider: KeyPair, **changes: Any) -> Entry:
        return self.append(provider, offer(**changes))

    def attestation(self, provider: KeyPair, **changes: Any) -> Entry:
        """By default of the slot that has just ended, metered where the device's last one ended."""
        newest = self.state.newest_of_device.get((provider.public, changes.get("device_id", "inverter")))
        start_j = newest.meter_end_j if newest else 0
        end_ms = self.now_ms // SLOT_MS * SLOT_MS
        fields: dict[str, Any] = {"start_ms": end_ms - SLOT_MS, "end_ms": end_ms, "meter_start_j": start_j} | changes
        energy_j = fields.setdefault("energy_j", attestation().energy_j)
        return self.append(provider, attestation(**{"meter_end_j": fields["meter_start_j"] + energy_j} | fields))

    def job(self, owner: KeyPair, **changes: Any) -> Entry:
        return self.append(owner, job(**{"bids_close_at_ms": self.now_ms + SLOT_MS} | changes))

    def bid(self, provider: KeyPair, job: Entry, *more_refs: bytes, **changes: Any) -> Entry:
        latest = self.state.offer_of.get(provider.public)
        fields: dict[str, Any] = {
            "job": job.id,
            "offer": latest.id if latest else digest("no offer"),
            "price_microcredits_per_unit_hour": 200_000,
            "first_slot": FIRST_SLOT,
            "free_units": (4,) * 10,
            "surplus_s50_j": (12_000,) * 10,
            "surplus_s20_j": (9000,) * 10,
            "grid_g_per_kwh": (360,) * 10,
            "attestations": (),
        }
        body = Bid(**fields | changes)
        return self.append(provider, body, body.job, body.offer, *more_refs)

    def placement(self, bid: Entry, **changes: Any) -> Placement:
        """Shard 0 where the bid says, for as long as the job asks and at the price that was bid."""
        known = self.state.bids.get(bid.id)
        fields: dict[str, Any] = {
            "shard": 0,
            "provider": bid.author,
            "bid": bid.id,
            "first_slot": FIRST_SLOT,
            "slots": 3,
            "price_microcredits_per_unit_hour": known.bid.price_microcredits_per_unit_hour if known else 200_000,
            "energy_j": 36_000,
            "carbon_ug": 3_660_000,
        }
        return Placement(**fields | changes)

    def award(self, job: Entry, *placements: Placement, author: KeyPair | None = None) -> Entry:
        body = Award(job=job.id, instance_sha256=digest("instance"), matcher="greedy 1", placements=placements)
        return self.append(author or self.keys[job.author], body, job.id, *(p.bid for p in placements))

    def lease(self, award: Entry, shard: int = 0, *, author: KeyPair | None = None, **changes: Any) -> Entry:
        placed = self.state.placements[award.id, shard]
        provider = author or self.keys[placed.placement.provider]
        fields: dict[str, Any] = {
            "award": award.id,
            "offer": self.state.offer_of[provider.public].id,
            "shard": shard,
            "first_slot": placed.placement.first_slot,
            "slots": placed.placement.slots,
            "units": placed.job.job.units_per_shard,
        }
        body = Lease(**fields | changes)
        return self.append(provider, body, body.award, body.offer)

    def revocation(self, award: Entry, shard: int = 0, *, author: KeyPair | None = None) -> Entry:
        body = Revocation(award=award.id, shard=shard, reason="unreachable", energy_j=500, carbon_ug=50_000)
        return self.append(author or self.keys[award.author], body, award.id)

    def receipt(self, lease: Entry, *rows: SlotEnergy, author: KeyPair | None = None, **changes: Any) -> Entry:
        """Two rounds, by default the last and all from the grid."""
        claimed = (row.attestation for row in rows if row.attestation is not None)
        fields: dict[str, Any] = {
            "lease": lease.id,
            "first_round": next_round(self.state.leases[lease.id]),
            "final": True,
            "inner_steps": 10,
            "tokens": 160,
            "busy_ms": SLOT_MS,
            "deltas": (digest("delta 0"), digest("delta 1")),
            "method": "modelled",
            "power_source": "declared",
            "uncertainty_permille": 250,
            "energy": rows or (slot_energy(),),
        } | changes
        record = self.state.leases[lease.id]
        fields.setdefault("moved_bytes", least_moved_bytes(record, len(fields["deltas"])))
        fields.setdefault("transfer_ug", transfer_ug(record, fields["moved_bytes"], fields["energy"]))
        return self.append(author or self.keys[lease.author], Receipt(**fields), lease.id, *claimed)

    def settlement(self, receipt: Entry, *, author: KeyPair | None = None, **changes: Any) -> Entry:
        record = self.state.receipts[receipt.id]
        accepted = changes.get("accepted", True)
        fields: dict[str, Any] = {
            "receipt": receipt.id,
            "accepted": accepted,
            "amount_microcredits": amount_due(record) if accepted else 0,
            "reason": "",
        }
        owner = author or self.keys[record.lease.placement.job.owner]
        return self.append(owner, Settlement(**fields | changes), receipt.id)

    def closure(self, job: Entry, *, author: KeyPair | None = None, **changes: Any) -> Entry:
        fields: dict[str, Any] = {
            "job": job.id,
            "outcome": "done",
            "reason": "",
            "rounds": 4,
            "checkpoint": Blob(sha256=digest("checkpoint"), size_bytes=5000),
            "loss_first_millinats": 5500,
            "loss_last_millinats": 2500,
        }
        return self.append(author or self.keys[job.author], Closure(**fields | changes), job.id)

    def archive(self, exporter: KeyPair | None = None, **more: Any) -> bytes:
        """`ledger.bin` of all of it; `more` as `ledger.archive.write.parts`."""
        return b"".join(frames.write(self.parts(exporter, **more)))

    def parts(self, exporter: KeyPair | None = None, **more: Any) -> list[Part]:
        raws = [entry.raw for entry in self.entries]
        return list(write.parts(self.ledger.genesis, raws, exporter or keypair(0), self.now_ms, **more))


def next_round(lease: LeaseRecord) -> int:
    """The round after those that have been receipted."""
    if not lease.receipts:
        return 0
    last = lease.receipts[-1].receipt
    return last.first_round + len(last.deltas)


def whole_history() -> History:
    """A job from the offers to its closure: an owner, two providers, one of them replaced by a third. Then the surplus
    that it left over is sold, used up and matched or stored, and the debts are acknowledged and paid."""
    history = History()
    owner, *providers = (keypair(n) for n in range(4))
    for provider in providers:
        history.offer(provider)
    job = history.job(owner)
    bids = [history.bid(provider, job) for provider in providers]
    first = history.award(job, history.placement(bids[0]), history.placement(bids[1], shard=1))
    leases = [history.lease(first, shard) for shard in (0, 1)]
    history.revocation(first, 1)
    again = history.award(job, history.placement(bids[2], shard=1))
    leases[1] = history.lease(again, 1)
    history.now_ms += SLOT_MS
    attestations = [history.attestation(history.keys[lease.author]) for lease in leases]
    parts = []
    for lease, attested in zip(leases, attestations, strict=True):
        parts.append(history.receipt(lease, final=False))
        row = slot_energy(surplus_j=6000, attestation=attested.id)
        last = history.receipt(lease, row, deltas=(digest("delta 2"),))
        settled = [history.settlement(receipt) for receipt in (parts[-1], last)]
        limit = history.credit_limit(history.keys[lease.author], owner)
        iou = history.iou(limit, *settled)
        history.discharge(iou, iou.body["total"])
    history.closure(job)
    issued = history.certificate(attestations[1])
    halves = history.split(issued, 2000, 4000)
    sold = history.transfer(halves, history.keys[leases[0].author])
    history.allocation(history.cancellation(sold, history.keys[leases[0].author]), parts[0])
    history.append(history.keys[leases[0].author], battery())
    history.charge(attestations[0])
    return history
