"""The ledger in memory: heads of all feeds, and the state that follows.

Nothing here touches a disk. Whoever extends the ledger stores what was accepted *before* anything is said about it,
and rebuilds the ledger from the store if storing failed (`replay`).

Entries are stored as soon as they continue their feed, and judged once everything they refer to has been judged: an
entry that refers to something not yet known waits, and its successors with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ledger import transitions
from ledger.feed import Fork, ForkProof, check_follows
from ledger.state import State
from protocol.envelope import NO_PREV, Entry, Head, parse, seal
from protocol.errors import Ignore, LocalError, Reject
from protocol.genesis import Genesis
from protocol.identity import KeyPair

FAR_FUTURE_MS = 2**53 - 1  # a replay judges no clock: the entries were accepted once


class Ledger:
    """All feeds of one network as one node knows them."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.network = genesis.network_id()
        self.state = State(genesis.slot_ms, genesis.surplus_assurance_min)
        self.heads: dict[bytes, Entry] = {}
        self.forks: dict[bytes, ForkProof] = {}
        self.count = 0
        self._waiting: dict[bytes, deque[Entry]] = {}  # accepted, not yet judged, in feed order
        self._blocked_on: dict[bytes, set[bytes]] = {}  # id not yet judged → authors whose next entry refers to it

    def extend(self, entry: Entry, now_ms: int) -> list[Entry]:
        """Accept the next entry of a feed; the caller has verified its signature. Returns the entries that could now
        be judged, void ones too: this one, unless it waits, and those that waited for it.

        Raises Ignore (known, early, or a `Gap` to be filled), Reject, or `Fork`: then the author is frozen and the
        proof is in `forks`.
        """
        if entry.author in self.forks:
            raise Ignore(f"{entry.author.hex()[:8]} is frozen since its fork at {self.forks[entry.author].b.seq}")
        try:
            check_follows(self.heads.get(entry.author), entry, now_ms)
        except Fork as fork:
            self.freeze(fork.proof)
            raise
        self.heads[entry.author] = entry
        self.count += 1
        self._waiting.setdefault(entry.author, deque()).append(entry)
        return self._judge_ready(entry.author)

    def freeze(self, proof: ForkProof) -> None:
        """Accept no more entries of this author; what was accepted before stands."""
        self.forks[proof.b.author] = proof

    def append(
        self, keypair: KeyPair, kind: str, body: Mapping[str, Any], refs: Sequence[bytes], now_ms: int
    ) -> tuple[Entry, list[Entry]]:
        """Sign the next entry of our own feed and accept it. Returns it, and what could now be judged, as `extend`."""
        head = self.heads.get(keypair.public)
        entry = seal(
            keypair,
            network=self.network,
            kind=kind,
            seq=0 if head is None else head.seq + 1,
            prev=NO_PREV if head is None else head.id,
            time_ms=now_ms if head is None else max(now_ms, head.time_ms),
            refs=refs,
            body=body,
        )
        return entry, self.extend(entry, now_ms)

    def missing_refs(self) -> set[bytes]:
        """Ids that waiting entries refer to and nobody has delivered yet."""
        return self._blocked_on.keys() - {entry.id for queue in self._waiting.values() for entry in queue}

    def head_list(self) -> list[Head]:
        """All heads, ordered by author, so that equal ledgers give equal lists."""
        return [Head(a, e.seq, e.id) for a, e in sorted(self.heads.items())]

    def _judge_ready(self, author: bytes) -> list[Entry]:
        judged = []
        ready = [author]
        while ready:
            author = ready.pop()
            queue = self._waiting.get(author)
            while queue:
                missing = next((r for r in queue[0].refs if r not in self.state.seen), None)
                if missing is not None:
                    self._blocked_on.setdefault(missing, set()).add(author)
                    break
                entry = queue.popleft()
                transitions.apply(self.state, entry)
                judged.append(entry)
                ready.extend(self._blocked_on.pop(entry.id, ()))
            if not queue:
                self._waiting.pop(author, None)
        return judged


def replay(genesis: Genesis, raws: Iterable[bytes], forks: Iterable[ForkProof] = ()) -> Ledger:
    """The ledger that these stored entries make, in the order in which they were accepted.

    Signatures were verified on arrival and are not verified again. Raises LocalError where the store holds what no
    ledger can have accepted: it was damaged, or changed by hand.
    """
    ledger = Ledger(genesis)
    try:
        for raw in raws:
            ledger.extend(parse(raw), FAR_FUTURE_MS)
    except (Reject, Ignore) as refusal:
        raise LocalError(
            "HEL-LEDGER-008",
            f"the stored ledger is damaged: its entry number {ledger.count + 1} does not fit: {refusal}",
            "Move the ledger away and start again with the same key: peers hold your entries. Sign nothing until they"
            " have been fetched, or your feed forks.",
        ) from None
    for proof in forks:
        ledger.freeze(proof)
    return ledger
