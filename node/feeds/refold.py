"""Folding the ledger anew, where a fork voids what was judged before it was known.

The fold reads the store on a worker and takes its time. Meanwhile the node goes on with the stale ledger (its author is
frozen already, so nobody new is deceived), and what it accepts is added to the fresh one before that takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.ledger import Ledger, extend_stored
from node.actions import Refold, SetTimeout
from node.events import Refolded, Timer, TimerKind
from node.turn import Turn
from protocol.envelope import Entry

REFOLD_SOON_MS = 500  # forks come in swarms, and their proofs several times
ENTRIES_PER_PAUSE_MS = 4  # a fold takes about 50 us an entry: strangers who fork keep a core busy a fifth of the time


@dataclass(slots=True)
class Refolding:
    """At most one fold is ahead or under way."""

    is_due: bool = False
    begun_at: int | None = None  # entries in the ledger when the fold was asked for
    accepted: list[Entry] = field(default_factory=list)  # since then

    def watch(self, turn: Turn) -> None:
        """After every event: keep what was accepted, and ask for a fold where one is needed."""
        if self.begun_at is not None:
            self.accepted += turn.accepted
        if turn.ledger.stale and not self.is_due:
            self.is_due = True
            pause_ms = REFOLD_SOON_MS + turn.ledger.count // ENTRIES_PER_PAUSE_MS
            turn.do(SetTimeout(Timer(TimerKind.REFOLD), pause_ms))

    def on_timer(self, turn: Turn) -> None:
        self.begun_at, self.accepted = turn.ledger.count, []
        turn.do(Refold())

    def on_refolded(self, turn: Turn, event: Refolded) -> Ledger:
        """The ledger to go on with. It may be stale again: a fork may have come to be known meanwhile."""
        fresh, stale = event.ledger, turn.ledger
        if fresh is None:
            turn.notify("ledger not folded", reason=event.reason)
            fresh = stale
        else:
            extend_stored(fresh, self.accepted[fresh.count - (self.begun_at or 0) :])
            for proof in stale.forks.values():
                fresh.freeze(proof)
            for author, final in stale.finals.items():
                fresh.finalize(author, final.size, final.last)
            fresh.admitted.update(stale.admitted)
            fresh.release(stale.state.aside - fresh.state.aside)
        self.is_due, self.begun_at, self.accepted = False, None, []
        return fresh
