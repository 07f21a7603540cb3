"""Where most tests begin: an owner and a provider who have come so far with a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from protocol.envelope import Entry
from tests.builders import SLOT_MS, History, keypair, slot_energy

# Told of every verdict that a test asserts: the entry, and the check that it breaks, None where it counts. The vectors
# are made so.
OBSERVERS: list[Callable[[History, Entry, int | None], None]] = []

OWNER, PROVIDER, OTHER = (keypair(n) for n in range(3))


@dataclass(slots=True)
class Bidding:
    """The provider has bid for the job."""

    history: History
    offer: Entry
    job: Entry
    bid: Entry


@dataclass(slots=True)
class Awarded(Bidding):
    """Shard 0 is placed on the provider."""

    award: Entry


@dataclass(slots=True)
class Leased(Awarded):
    """The provider has countersigned, and a slot has gone by."""

    lease: Entry


@dataclass(slots=True)
class Attested(Leased):
    """The surplus of that slot is attested."""

    attestation: Entry


@dataclass(slots=True)
class Delivered(Leased):
    """The final receipt is there."""

    receipt: Entry


def bidding(*, offer: dict[str, Any] | None = None, **job: Any) -> Bidding:
    history = History()
    offered = history.offer(PROVIDER, **offer or {})
    asked = history.job(OWNER, **job)
    return Bidding(history, offered, asked, history.bid(PROVIDER, asked))


def awarded(**job: Any) -> Awarded:
    s = bidding(**job)
    return Awarded(s.history, s.offer, s.job, s.bid, s.history.award(s.job, s.history.placement(s.bid)))


def leased(**job: Any) -> Leased:
    s = awarded(**job)
    lease = s.history.lease(s.award)
    s.history.now_ms += SLOT_MS
    return Leased(s.history, s.offer, s.job, s.bid, s.award, lease)


def attested(**attestation: Any) -> Attested:
    s = leased()
    entry = s.history.attestation(PROVIDER, **attestation)
    return Attested(s.history, s.offer, s.job, s.bid, s.award, s.lease, entry)


def delivered() -> Delivered:
    s = leased()
    return Delivered(s.history, s.offer, s.job, s.bid, s.award, s.lease, s.history.receipt(s.lease))


@dataclass(slots=True)
class Issued(Attested):
    """Half of the attested surplus is certified, to the provider itself; its receipt claims the other half, and draws
    six kilojoules more from the grid."""

    receipt: Entry
    certificate: Entry


@dataclass(slots=True)
class Settled(Delivered):
    """The owner has accepted the receipt, and the provider lets it owe twice as much."""

    settlement: Entry
    limit: Entry


DUE_MICROCREDITS = 6667  # 200,000 per unit and hour, two units, one minute, rounded up


def issued() -> Issued:
    s = attested()
    rows = (slot_energy(surplus_j=6000, attestation=s.attestation.id), slot_energy())
    receipt = s.history.receipt(s.lease, *rows, final=False)
    certificate = s.history.certificate(s.attestation)
    return Issued(s.history, s.offer, s.job, s.bid, s.award, s.lease, s.attestation, receipt, certificate)


def settled() -> Settled:
    s = delivered()
    limit = s.history.credit_limit(PROVIDER, OWNER, 2 * DUE_MICROCREDITS)
    settlement = s.history.settlement(s.receipt)
    return Settled(s.history, s.offer, s.job, s.bid, s.award, s.lease, s.receipt, settlement, limit)


def assert_void(history: History, entry: Entry, check: int, complaint: str = "") -> None:
    """The entry counts for nothing, by this check, with these words; and nothing else was broken by it."""
    reason = history.void(entry)
    assert reason is not None, f"{entry} counts, check {check} let it through"
    assert reason.startswith(f"check {check}: "), reason
    assert complaint in reason
    assert history.broken == []
    for observe in OBSERVERS:
        observe(history, entry, check)


def assert_valid(history: History, entry: Entry) -> None:
    assert history.void(entry) is None
    assert history.broken == []
    for observe in OBSERVERS:
        observe(history, entry, None)
