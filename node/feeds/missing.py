"""Entries that are asked for by id: those that others refer to and nobody has delivered, and those that lie between a
fork's proof and the place where the two histories part.

Each is asked of the peer that told us of it, then of the others, one peer a tick. Who refers to entries that do not
exist keeps only his own entries waiting; of many a random part is asked for, so that they hide no other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from node.turn import Chance
from protocol.messages import ARRAY_MAX

TOLD_MAX = 4096  # ids whose teller is remembered; beyond it anybody is asked first
SOUGHT_MAX = 1024  # ids sought below forks; beyond it a fork's proof stays as it came


@dataclass(slots=True)
class Missing:
    """The book of missing ids."""

    sought: dict[bytes, bytes] = field(default_factory=dict)  # id below a fork → who told us of the fork
    _told: dict[bytes, bytes] = field(default_factory=dict)  # id → the peer whose entry refers to it
    _asked: dict[bytes, set[bytes]] = field(default_factory=dict)  # id → peers asked in this round

    def tell(self, peer: bytes, ids: Collection[bytes]) -> None:
        """A peer's entry refers to these, which have not been judged yet."""
        if len(self._told) + len(ids) > TOLD_MAX:
            self._told.clear()
        self._told.update(dict.fromkeys(ids, peer))

    def seek(self, peer: bytes, entry_id: bytes) -> None:
        """Find an entry below a fork, once: if no connected peer has it, nobody's verdict depends on it."""
        if len(self.sought) < SOUGHT_MAX:
            self.sought[entry_id] = peer

    def on_tick(
        self, refs: Collection[bytes], connected: Collection[bytes], chance: Chance
    ) -> dict[bytes, list[bytes]]:
        """What to ask for now: peer → ids. `refs` are those that waiting entries refer to; an id that is new has a tick
        to come by itself."""
        ids = sorted({*refs, *self.sought})
        fresh = {entry_id for entry_id in ids if entry_id not in self._asked}
        self._asked = {entry_id: self._asked.get(entry_id, set()) for entry_id in ids}
        self._told = {entry_id: peer for entry_id, peer in self._told.items() if entry_id in self._asked}
        due = [entry_id for entry_id in ids if entry_id in self.sought or entry_id not in fresh]
        asks: dict[bytes, list[bytes]] = {}
        for entry_id in chance.sample(due, min(ARRAY_MAX, len(due))):
            asked = self._asked[entry_id]
            left = sorted(set(connected) - asked)
            if not left:
                asked.clear()
                self.sought.pop(entry_id, None)
                continue
            teller = self.sought.get(entry_id) or self._told.get(entry_id)
            peer = teller if teller is not None and teller in left else chance.choice(left)
            asked.add(peer)
            asks.setdefault(peer, []).append(entry_id)
        return asks
