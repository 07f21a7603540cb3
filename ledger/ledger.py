"""The ledger in memory: heads of all feeds, and the state that follows.

Nothing here touches a disk. Whoever extends the ledger stores what was accepted *before* anything is said about it,
and rebuilds the ledger from the store if storing failed (`replay`).

Entries are stored as soon as they continue their feed, and judged once everything they refer to has been judged: an
entry that refers to something not yet known waits, and its successors with it.

What an author signed from the seq of its fork on counts for nothing, at every peer alike, whichever of its histories
the peer saw first. So a late proof changes what follows from entries that were judged long ago: the ledger is then
`stale` until it has been folded anew (`replay`). Entries of the branch that a peer did not see, and to which honest
entries refer, are kept aside: judged, and void, so that no honest feed waits for ever because a stranger lied. Entries
that a quorum of witnesses has cosigned stand whatever their author signs later: old deals cannot be undone by a lie.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ledger import transitions
from ledger.feed import Fork, ForkProof, check_follows
from ledger.merkle import CompactRange
from ledger.state import State
from protocol.envelope import NO_PREV, Entry, Head, parse, seal
from protocol.errors import Ignore, LocalError, Reject
from protocol.genesis import Genesis
from protocol.identity import KeyPair

FAR_FUTURE_MS = 2**53 - 1  # a replay judges no clock: the entries were accepted once


@dataclass(frozen=True, slots=True)
class Final:
    """The first `size` entries of a feed are final, up to the one of this id."""

    size: int
    last: bytes


class Ledger:
    """All feeds of one network as one node knows them."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.network = genesis.network_id()
        self.state = State(genesis.slot_ms, genesis.surplus_assurance_min, genesis.auditors)
        self.heads: dict[bytes, Entry] = {}
        self.trees: dict[bytes, CompactRange] = {}  # over the ids of each feed
        self.positions: dict[bytes, int] = {}  # id → its number in the order of acceptance, from 1: as in the store
        self.forks: dict[bytes, ForkProof] = {}
        self.finals: dict[bytes, Final] = {}  # how much of each feed a quorum of witnesses has cosigned
        self.admitted: dict[bytes, int] = {}  # frozen author → entries that a quorum cosigned, here or not yet
        self.stale = False  # a fork voids what was judged before it was known
        self._waiting: dict[bytes, deque[Entry]] = {}  # accepted, not yet judged, in feed order
        self._pending: set[bytes] = set()  # their ids
        self._blocked_on: dict[bytes, set[bytes]] = {}  # id not yet judged → authors whose next entry refers to it

    @property
    def count(self) -> int:
        """Entries accepted, kept aside ones not among them."""
        return len(self.positions)

    def size(self, author: bytes) -> int:
        """Entries in this author's feed."""
        head = self.heads.get(author)
        return 0 if head is None else head.seq + 1

    def extend(self, entry: Entry, now_ms: int) -> list[Entry]:
        """Accept the next entry of a feed; the caller has verified its signature. Returns the entries that could now
        be judged, void ones too: this one, unless it waits, and those that waited for it.

        Raises Ignore (known, early, or a `Gap` to be filled), Reject, or `Fork` where it proves more than was known:
        then the author is frozen and the proof is in `forks`.
        """
        proof = self.forks.get(entry.author) if self.forks else None
        if proof is not None and self._is_frozen(entry) and entry.seq >= self.admitted.get(entry.author, 0):
            raise Ignore(f"feed check a: {entry.author.hex()[:8]} is frozen since its fork at {proof.seq}")
        try:
            check_follows(self.heads.get(entry.author), entry, now_ms)
        except Fork as fork:
            if self.freeze(fork.proof):
                raise
            # Told as news, peers to whom this branch's end is final would tell it each other for ever.
            raise Ignore(f"{fork}: it is known, from an entry as early") from None
        return self._accept(entry)

    def restore(self, entry: Entry) -> list[Entry]:
        """Accept an entry that another run of the ledger accepted, one of a frozen author too: it came before its fork
        was known. Raises Ignore or Reject for what cannot have been accepted."""
        check_follows(self.heads.get(entry.author), entry, FAR_FUTURE_MS)
        return self._accept(entry)

    def freeze(self, proof: ForkProof) -> bool:
        """From the fork on the author's entries are void. Of several proofs the one that goes furthest back counts.
        Returns whether that is now this one."""
        if self._is_proven(proof.author, proof.seq):
            return False
        self.forks[proof.author] = proof
        self._freeze_from(proof.author)
        return True

    def admit(self, author: bytes, size: int) -> None:
        """A quorum has cosigned so many entries of a frozen author: they are taken as they come, so that they can be
        held against what was cosigned (`finalize`)."""
        self.admitted[author] = max(size, self.admitted.get(author, 0))

    def put_aside(self, entry: Entry) -> list[Entry]:
        """Keep an entry of a frozen author's other branch, for those whose entries refer to it. The caller has
        verified its signature. Returns what could now be judged.

        Raises Ignore unless somebody waits for it and its author has forked there or below: strangers must not fill the
        disk. Where the other branch is final, this one is void all the same.
        """
        if not self.is_missing(entry.id) or not self._is_proven(entry.author, entry.seq):
            raise Ignore(f"nothing that is known waits for {entry.id.hex()[:8]} of a frozen branch")
        return self.release({entry.id})

    def release(self, aside: Set[bytes]) -> list[Entry]:
        """Count these entries as kept aside. Returns what could now be judged."""
        self.state.aside |= aside
        return self._judge_ready([author for each in aside for author in self._blocked_on.pop(each, ())])

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
        return entry, self.extend(entry, entry.time_ms)  # a clock that was set back must not stop us at our own head

    def is_judged(self, entry_id: bytes) -> bool:
        """Whether an entry was judged, void ones included."""
        return (entry_id in self.positions and entry_id not in self._pending) or entry_id in self.state.aside

    def finalize(self, author: bytes, size: int, last: bytes) -> bool:
        """A quorum has cosigned the feed's first `size` entries, of which `last` is the newest and known here. Returns
        whether that is more than before."""
        known = self.finals.get(author)
        if last not in self.positions or (known is not None and (known.size, known.last) >= (size, last)):
            return False
        self.finals[author] = Final(size, last)
        if author in self.forks:
            self._freeze_from(author)
        return True

    def presume_final(self, author: bytes, size: int) -> None:
        """Judge what follows as if the author's first `size` entries were final: somebody shows a cosigned root, and
        holds the feed against it once it is here. Nothing may be left to be judged of them yet."""
        known = self.finals.get(author)
        if known is None or known.size < size:
            self.finals[author] = Final(size, NO_PREV)
            if author in self.forks:
                self._freeze_from(author)

    def is_final(self, author: bytes, entry_id: bytes) -> bool:
        """Whether an entry of this author can never be taken back. Without witnesses nothing is final."""
        position, final = self.positions.get(entry_id), self.finals.get(author)
        return position is not None and final is not None and position <= self.positions.get(final.last, 0)

    def is_waiting(self, author: bytes) -> bool:
        """Whether entries of this author are not judged yet, so that the state does not know all it did."""
        return author in self._waiting

    def waiting(self) -> list[Entry]:
        """Accepted entries that are not judged yet, those of one author in feed order."""
        return [entry for queue in self._waiting.values() for entry in queue]

    def resume(
        self, heads: Iterable[tuple[Entry, CompactRange]], ids: Iterable[bytes], waiting: Iterable[Entry]
    ) -> None:
        """Go on from where another run of this ledger stood, into which `state` was filled: the head of each feed with
        its tree, all ids in the order of acceptance, and what waited."""
        for head, tree in heads:
            self.heads[head.author], self.trees[head.author] = head, tree
        self.positions = {entry_id: position for position, entry_id in enumerate(ids, start=1)}
        for entry in waiting:
            self._wait(entry)
        for author in list(self._waiting):
            self._judge_ready([author])

    def is_missing(self, entry_id: bytes) -> bool:
        """Whether it is one of `missing_refs`."""
        return entry_id in self._blocked_on and entry_id not in self._pending

    def missing_refs(self) -> set[bytes]:
        """Ids that waiting entries refer to and nobody has delivered yet."""
        return self._blocked_on.keys() - self._pending

    def head_list(self) -> list[Head]:
        """All heads, ordered by author, so that equal ledgers give equal lists."""
        return [Head(a, e.seq, e.id) for a, e in sorted(self.heads.items())]

    def _freeze_from(self, author: bytes) -> None:
        final, before = self.finals.get(author), self.state.frozen_from.get(author)
        frozen_from = max(self.forks[author].seq, 0 if final is None else final.size)
        self.state.frozen_from[author] = frozen_from
        changed_from = frozen_from if before is None else min(frozen_from, before)
        head = self.heads.get(author)
        self.stale |= frozen_from != before and head is not None and head.seq >= changed_from

    def _is_proven(self, author: bytes, seq: int) -> bool:
        """Whether a fork of this author is known, there or below."""
        proof = self.forks.get(author)
        return proof is not None and proof.seq <= seq

    def _is_frozen(self, entry: Entry) -> bool:
        frozen_from = self.state.frozen_from.get(entry.author)
        return frozen_from is not None and entry.seq >= frozen_from

    def _accept(self, entry: Entry) -> list[Entry]:
        author = entry.author
        if author not in self.heads:
            self.trees[author] = CompactRange()
        self.heads[author] = entry
        self.trees[author].append(entry.id)
        self.positions[entry.id] = len(self.positions) + 1
        self.state.aside.discard(entry.id)
        if author in self._waiting or (entry.refs and not all(map(self.is_judged, entry.refs))):
            self._wait(entry)
            return self._judge_ready([author])
        transitions.apply(self.state, entry)
        released = self._blocked_on.pop(entry.id, None)
        return [entry] if released is None else [entry, *self._judge_ready(list(released))]

    def _wait(self, entry: Entry) -> None:
        self._pending.add(entry.id)
        self._waiting.setdefault(entry.author, deque()).append(entry)

    def _judge_ready(self, authors: list[bytes]) -> list[Entry]:
        judged = []
        ready = authors
        while ready:
            author = ready.pop()
            queue = self._waiting.get(author)
            while queue:
                missing = next((r for r in queue[0].refs if not self.is_judged(r)), None)
                if missing is not None and not self._is_frozen(queue[0]):  # void anyway, whatever it refers to
                    self._blocked_on.setdefault(missing, set()).add(author)
                    break
                entry = queue.popleft()
                self._pending.discard(entry.id)
                transitions.apply(self.state, entry)
                judged.append(entry)
                ready.extend(self._blocked_on.pop(entry.id, ()))
            if not queue:
                self._waiting.pop(author, None)
        return judged


def replay(
    genesis: Genesis,
    raws: Iterable[bytes],
    forks: Iterable[ForkProof] = (),
    aside: Iterable[bytes] = (),
    finals: Mapping[bytes, Final] = MappingProxyType({}),
) -> Ledger:
    """The ledger that these stored entries make, in the order in which they were accepted; `aside` are those kept of
    other branches, `finals` what is final of the feeds of forked authors.

    Signatures were verified on arrival and are not verified again. Raises LocalError where the store holds what no
    ledger can have accepted: it was damaged, or changed by hand.
    """
    ledger = Ledger(genesis)
    ledger.finals.update(finals)
    for proof in forks:
        ledger.freeze(proof)
    try:
        ledger.state.aside.update(parse(raw).id for raw in aside)
        extend_stored(ledger, map(parse, raws))
    except (Reject, Ignore) as refusal:
        raise LocalError(
            "HEL-LEDGER-008",
            f"the stored ledger is damaged: its entry number {ledger.count + 1} does not fit: {refusal}",
            "Move the ledger away and start again with the same key: peers hold your entries, and the node signs"
            " nothing until they have shown them.",
        ) from None
    return ledger


def extend_stored(ledger: Ledger, entries: Iterable[Entry]) -> None:
    """`Ledger.restore` all of them."""
    for entry in entries:
        ledger.restore(entry)
