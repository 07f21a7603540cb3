"""A job whose owner, provider and neighbour have come so far that receipts can be written: where accounts begin."""

from __future__ import annotations

from typing import Any

from ledger.state import JobRecord
from node.accounts.carbon import Account, job_account
from node.accounts.figures import Report, report
from protocol.envelope import Entry
from protocol.messages import Revocation, SlotEnergy
from tests.builders import SLOT_MS, History, keypair, slot_energy

OWNER, PROVIDER, NEIGHBOUR = (keypair(n) for n in range(3))


class Accounted:
    """Shard 0 is leased by the provider, shard 1 by the neighbour, and a slot has gone by."""

    def __init__(self, **offer: Any) -> None:
        self.history = History()
        self.history.offer(PROVIDER, **offer)
        self.history.offer(NEIGHBOUR)
        self._job = self.history.job(OWNER)
        bids = [self.history.bid(who, self._job) for who in (PROVIDER, NEIGHBOUR)]
        awards = [self.history.award(self._job, self.history.placement(bid, shard=n)) for n, bid in enumerate(bids)]
        self._award = awards[1]
        self._lease, self._lease_of_neighbour = (self.history.lease(award, n) for n, award in enumerate(awards))
        self.history.now_ms += SLOT_MS

    @property
    def job(self) -> JobRecord:
        return self.history.state.jobs[self._job.id]

    @property
    def account(self) -> Account:
        self._assert_honest()
        return job_account(self.job)

    @property
    def report(self) -> Report:
        self._assert_honest()
        return report(self.history.state, self.job)

    def attest(self, **changes: Any) -> Entry:
        return self.history.attestation(PROVIDER, **changes)

    def receipt(self, *rows: SlotEnergy, **changes: Any) -> Entry:
        return self.history.receipt(self._lease, *rows, **{"final": False, "busy_ms": 0} | changes)

    def certify(self, receipt: Entry, energy_j: int, **made: Any) -> None:
        """The neighbour's energy of the same hour and zone, bought and used up for the receipt's first row."""
        lot = self.history.certificate(self.history.attestation(NEIGHBOUR, **made), energy_j=energy_j)
        self.history.allocation(self.history.cancellation(lot, PROVIDER), receipt, energy_j=energy_j)

    def receipt_of_neighbour(self, *rows: SlotEnergy) -> None:
        """It moves nothing."""
        self.history.receipt(self._lease_of_neighbour, *rows, final=False, busy_ms=0, deltas=(), moved_bytes=0)

    def lose(self, *, energy_j: int, carbon_ug: int) -> None:
        """The neighbour is gone, and had reported this much."""
        body = Revocation(award=self._award.id, shard=1, reason="gone", energy_j=energy_j, carbon_ug=carbon_ug)
        self.history.append(OWNER, body, self._award.id)

    def _assert_honest(self) -> None:
        assert self.history.state.voids == {}
        assert self.history.broken == []


def own_row(attestation: Entry, **changes: Any) -> SlotEnergy:
    """Six kilojoules, all of them the provider's own."""
    return slot_energy(**{"energy_j": 6000, "surplus_j": 6000, "attestation": attestation.id} | changes)
