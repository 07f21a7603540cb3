"""One turn of the core: an event's moment in time, and the actions that come of it.

A turn keeps the order that safety asks for: what is signed is made durable (`Persist`) before anything is said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ledger.ledger import Ledger
from ledger.state import State
from node.actions import (
    Action,
    Notify,
    Persist,
    PersistAside,
    Publish,
    Send,
)
from protocol.bodies import BODIES
from protocol.direct import Entries
from protocol.envelope import Entry, Head
from protocol.genesis import Genesis
from protocol.gossip import Topics, encode_announcement
from protocol.identity import KeyPair
from protocol.messages import Body

KINDS = {model: kind for kind, model in BODIES.items()}


Item = TypeVar("Item")


class Chance(Protocol):
    """Where chance comes from: a `random.Random`, seeded by the system in a real node and by a number in a test."""

    def randrange(self, stop: int, /) -> int: ...

    def choice(self, items: Sequence[Item], /) -> Item: ...

    def sample(self, items: Sequence[Item], /, k: int) -> list[Item]: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is and where, for as long as it runs. All chance comes from `chance`. `invitation`: what lets it
    into a closed network; else empty."""

    keypair: KeyPair
    label: str
    genesis: Genesis
    network: bytes
    topics: Topics
    chance: Chance
    invitation: bytes = b""

    @property
    def key(self) -> bytes:
        return self.keypair.public


class Turn:
    """Collects what one event asks for. `judged` holds entries whose consequences are still to be drawn."""

    def __init__(self, identity: Identity, ledger: Ledger, now_ms: int) -> None:
        self.identity = identity
        self.ledger = ledger
        self.now_ms = now_ms
        self.judged: deque[Entry] = deque()
        self._persist: list[Entry] = []
        self._aside: list[Entry] = []
        self._announce: Head | None = None
        self._actions: list[Action] = []

    @property
    def state(self) -> State:
        return self.ledger.state

    @property
    def accepted(self) -> Sequence[Entry]:
        """Entries that this turn has added to the ledger, our own too."""
        return self._persist

    @property
    def slot(self) -> int:
        """The slot that is now."""
        return self.now_ms // self.identity.genesis.slot_ms

    def do(self, action: Action) -> None:
        """Ask for an action, after all Persist of this turn."""
        self._actions.append(action)

    def notify(self, kind: str, **data: Any) -> None:
        """Tell people."""
        self.do(Notify(kind, data))

    def record(self, body: Body, refs: Sequence[bytes], tell: Iterable[bytes] = ()) -> Entry | None:
        """Sign a body into our own feed, and hand it at once to those who wait for it.

        None, and a notice, if our own rules make it void: that is a fault of this program, and the entry, though it
        counts for nothing, keeps its place in the feed.
        """
        entry, judged = self.ledger.append(
            self.identity.keypair, KINDS[type(body)], body.model_dump(), tuple(dict.fromkeys(refs)), self.now_ms
        )
        self._persist.append(entry)
        self._announce = Head(entry.author, entry.seq, entry.id)
        self.judged.extend(judged)
        for peer in dict.fromkeys(tell):
            if peer != self.identity.key:
                self.do(Send(peer, Entries(entries=(entry.raw,), more=False)))
        if entry.id in self.state.voids:
            self.notify("own entry void", entry_kind=entry.kind, reason=self.state.voids[entry.id])
            return None
        return entry

    def accept(self, entry: Entry) -> None:
        """Take a stranger's verified entry. Raises Ignore, Gap, Reject or Fork as `Ledger.extend`."""
        self.judged.extend(self.ledger.extend(entry, self.now_ms))
        self._persist.append(entry)

    def put_aside(self, entry: Entry) -> None:
        """Keep a verified entry of a fork's other branch. Raises Ignore as `Ledger.put_aside`."""
        self.judged.extend(self.ledger.put_aside(entry))
        self._aside.append(entry)

    def actions(self) -> list[Action]:
        """Everything asked for, durable things first."""
        actions: list[Action] = [Persist(tuple(self._persist))] if self._persist else []
        if self._aside:
            actions.append(PersistAside(tuple(self._aside)))
        if self._announce is not None:
            actions.append(Publish(self.identity.topics.entries, encode_announcement((self._announce,))))
        return actions + self._actions
