"""Which entries two peers owe each other, found from their heads alone.

    Summary ──→ Compare ──→ Compare ──→ Heads ──→ Want, and what the other lacks
    all heads   16 parts    16 parts    those that differ; from lists of marks, where a part is small
                of each     of each

Range-based set reconciliation (Meyer, arXiv:2212.13567) over the authors. Whoever answers keeps nothing: each answer
follows from the message and the own heads, is bounded, and is about parts of what was asked, so that an exchange ends
after as many steps as it takes to divide the authors by sixteen. A liar gets one bounded answer for each message.

Equal seq with different ids is a fork, not a gap. Of an author whose fork is known, peers compare that they know it:
its branches never agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.feed import ForkProof
from ledger.heads import ALL, HeadIndex, HeadLike, mark_of
from protocol.direct import HEADS_MAX, LISTED_MAX, MARK_BYTES, SPANS_MAX, SPLIT, Compare, Heads, Summary
from protocol.envelope import Entry, Head

FROZEN = bytes(32)  # the id in the head of an author whose fork is known; its seq is that of the fork
Range = tuple[bytes, bytes]


def standings(heads: Mapping[bytes, Entry], forks: Mapping[bytes, ForkProof]) -> dict[bytes, HeadLike]:
    """What there is to compare: the newest entry of each feed; of a frozen author the fork, once all entries before it
    are there."""
    standing: dict[bytes, HeadLike] = dict(heads)
    for author, proof in forks.items():
        head = heads.get(author)
        if proof.seq == 0 or (head is not None and head.seq >= proof.seq - 1):
            standing[author] = Head(author, proof.seq, FROZEN)
    return standing


@dataclass(frozen=True, slots=True)
class Difference:
    """`want`: heads that the other has and we have not reached. `have`: feeds that the other lacks, each from a seq on.
    `prove`: authors whose fork the other does not know, or only a later one. `show`: what to tell the other, since it
    has more to give us than it could know; None for nothing."""

    want: tuple[Head, ...] = ()
    have: tuple[tuple[bytes, int], ...] = ()
    prove: tuple[bytes, ...] = ()
    show: Heads | None = None


def summary(index: HeadIndex, cut: bytes, epoch: bytes, position: int) -> Summary:
    """Our heads, to begin with. `cut`: 32 bytes, drawn by chance."""
    below, above = index.fingerprint(ALL, cut), index.fingerprint(cut, ALL)
    return Summary(epoch=epoch, position=position, cut=cut, below=below, above=above)


def answer_summary(index: HeadIndex, message: Summary) -> Compare | None:
    """Where we differ; None if our heads are the sender's. The part behind the cut comes first: what does not fit into
    this exchange is another part each time."""
    answer = _Answer(index)
    answer.compare(message.cut, ALL, message.above)
    answer.compare(ALL, message.cut, message.below)
    return answer.comparison()


def answer_compare(index: HeadIndex, message: Compare) -> tuple[Compare | None, Heads | None]:
    """Where we differ more closely, and our heads where the sender has listed its own."""
    answer = _Answer(index)
    for first, ends in message.spans:
        start = first
        for end, fingerprint in ends:
            answer.compare(start, end, fingerprint)
            start = end
    for start, end, marks in message.lists:
        answer.list_against(start, end, marks)
    return answer.comparison(), answer.heads()


@dataclass(slots=True)
class _Answer:
    """One answer while it is made. What does not fit is left out; the next exchange begins elsewhere."""

    index: HeadIndex
    _spans: list[tuple[bytes, tuple[Range, ...]]] = field(default_factory=list)
    _lists: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    _heads: list[HeadLike] = field(default_factory=list)
    _unknown: list[bytes] = field(default_factory=list)

    def compare(self, start: bytes, end: bytes, fingerprint: bytes) -> None:
        """Nothing where the range agrees; else its parts, or a list of its heads."""
        index = self.index
        if index.fingerprint(start, end) == fingerprint:
            return
        if index.count(start, end) <= LISTED_MAX:
            if len(self._lists) < SPANS_MAX:
                self._lists.append((start, end, b"".join(map(mark_of, index.heads(start, end)))))
        elif len(self._spans) < SPANS_MAX:
            ends = index.split(start, end, SPLIT)
            starts = (start, *ends)
            self._spans.append(
                (start, tuple((end, index.fingerprint(start, end)) for start, end in zip(starts, ends, strict=False)))
            )

    def list_against(self, start: bytes, end: bytes, marks: bytes) -> None:
        """What the sender did not list, and what we cannot place. A range was listed because it differs: if no mark
        does, two heads share one, by chance or by design, and all are told."""
        listed = {marks[at : at + MARK_BYTES] for at in range(0, len(marks), MARK_BYTES)}
        own = {mark_of(head): head for head in self.index.heads(start, end)[:HEADS_MAX]}
        differing = [head for mark, head in own.items() if mark not in listed]
        unknown = listed - own.keys()
        if not differing and not unknown:
            differing = list(own.values())
        if max(len(self._heads) + len(differing), len(self._unknown) + len(unknown)) <= HEADS_MAX:
            self._heads += differing
            self._unknown += sorted(unknown)

    def comparison(self) -> Compare | None:
        if not self._spans and not self._lists:
            return None
        return Compare(spans=tuple(self._spans), lists=tuple(self._lists))

    def heads(self) -> Heads | None:
        return _heads(self._heads, self._unknown)


def difference(index: HeadIndex, message: Heads) -> Difference:
    """What follows from heads that differ. Of several heads for one author the last counts: naming it often does not
    make us send it often."""
    theirs = {author: Head(author, seq, entry_id) for author, seq, entry_id in message.heads}
    found = _Found()
    for author, head in theirs.items():
        found.compare(index.get(author), head)
    for at in range(0, len(message.unknown), MARK_BYTES):
        mine = index.marked(message.unknown[at : at + MARK_BYTES])
        if mine is not None and mine.author not in theirs:
            found.lacks_all(mine)
    return found.difference()


@dataclass(slots=True)
class _Found:
    """A difference while it is made."""

    want: list[Head] = field(default_factory=list)
    have: list[tuple[bytes, int]] = field(default_factory=list)
    prove: list[bytes] = field(default_factory=list)
    show: list[HeadLike] = field(default_factory=list)
    lack: list[bytes] = field(default_factory=list)  # marks

    def compare(self, mine: HeadLike | None, theirs: Head) -> None:
        if theirs.id == FROZEN:
            self._compare_with_frozen(mine, theirs)
        elif mine is not None and mine.id == FROZEN:
            self.prove.append(mine.author)
            if theirs.seq + 1 < mine.seq:
                self.have.append((mine.author, theirs.seq + 1))
        elif mine is None or mine.seq < theirs.seq or (mine.seq == theirs.seq and mine.id != theirs.id):
            self.want.append(theirs)
        elif mine.seq > theirs.seq:
            self.have.append((mine.author, theirs.seq + 1))

    def _compare_with_frozen(self, mine: HeadLike | None, theirs: Head) -> None:
        """The lowest fork that anybody knows is the one that counts."""
        if mine is None:
            self.lack.append(mark_of(theirs))
        elif mine.id == FROZEN and mine.seq < theirs.seq:
            self.prove.append(mine.author)
        elif mine.id != FROZEN or mine.seq > theirs.seq:
            self.show.append(mine)

    def lacks_all(self, mine: HeadLike) -> None:
        """The other has nothing of a feed."""
        if mine.id == FROZEN:
            self.prove.append(mine.author)
        if mine.id != FROZEN or mine.seq > 0:
            self.have.append((mine.author, 0))

    def difference(self) -> Difference:
        return Difference(tuple(self.want), tuple(self.have), tuple(self.prove), _heads(self.show, self.lack))


def _heads(heads: Sequence[HeadLike], unknown: Iterable[bytes]) -> Heads | None:
    joined = b"".join(unknown)
    if not heads and not joined:
        return None
    return Heads(heads=tuple((head.author, head.seq, head.id) for head in heads), unknown=joined)
