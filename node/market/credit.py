"""What this node lets others owe it, and what it says it owes them: the settlement driver at work.

Every act asks the ledger whether it is still due: what an event has done, the reconcile pass finds done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.settlement import DRIVERS, Driver
from node.turn import Turn
from protocol.credit import UNIT, Discharge
from protocol.identity import short


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator decided: how to settle, and how much anybody, or somebody, may owe this node."""

    driver: Driver = DRIVERS["none"]
    limit_microcredits: int = 0
    limits_microcredits: Mapping[bytes, int] = field(default_factory=dict)  # of those who have one of their own

    def limit_of(self, debtor: bytes) -> int:
        return self.limits_microcredits.get(debtor, self.limit_microcredits)


@dataclass(frozen=True, slots=True)
class Credit:
    """Both sides of this node's accounts; the accounts themselves are in the ledger."""

    terms: Terms = Terms()

    # --- as a creditor ----------------------------------------------------------------------------------------------

    def lend(self, turn: Turn, debtor: bytes, amount: int) -> str:
        """Let somebody come to owe us so many microcredits more: "", or why not. Its limit is on record before."""
        self._grant(turn, debtor)
        me = turn.identity.key
        reason = self.terms.driver.reserve(turn.state, me, debtor, amount, turn.now_ms)
        return f"credit of {short(debtor)}: {reason}" if reason else ""

    def on_paid(self, turn: Turn, debtor: bytes, total: int) -> None:
        """Our operator says that a debtor has paid so much outside, over all time."""
        account = turn.state.accounts.get((debtor, turn.identity.key, UNIT))
        if account is not None and account.iou is not None:
            iou = account.iou.id
            turn.record(Discharge(debtor=debtor, unit=UNIT, total=total, iou=iou), (iou,), tell=(debtor,))

    def _grant(self, turn: Turn, debtor: bytes) -> None:
        me = turn.identity.key
        limit = self.terms.driver.grant(turn.state, me, debtor, self.terms.limit_of(debtor))
        if limit is not None:
            turn.record(limit, (), tell=(debtor,))

    # --- as a debtor ------------------------------------------------------------------------------------------------

    def acknowledge(self, turn: Turn, creditor: bytes) -> None:
        """Sign what we have settled, as far as the creditor lets us owe it."""
        while promise := self.terms.driver.settle(turn.state, turn.identity.key, creditor):
            entry = turn.record(promise.iou, promise.refs, tell=(creditor,))
            if entry is None or not turn.ledger.is_judged(entry.id):
                return  # it changed nothing, or not yet: the same promise would be found again, for ever

    def reconcile(self, turn: Turn) -> None:
        """Bring every limit in line with the configuration, and acknowledge what still waits for it."""
        me = turn.identity.key
        for debtor, creditor, _ in list(turn.state.accounts):
            if creditor == me:
                self._grant(turn, debtor)
            elif debtor == me:
                self.acknowledge(turn, creditor)
