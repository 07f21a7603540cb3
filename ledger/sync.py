"""Which entries two peers owe each other, from their heads alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from protocol.envelope import Entry, Head


@dataclass(frozen=True, slots=True)
class Difference:
    """`want`: feeds to ask for, each from a seq on. `have`: feeds that the other lacks, from a seq on."""

    want: tuple[tuple[bytes, int], ...]
    have: tuple[tuple[bytes, int], ...]


def compare(own: Mapping[bytes, Entry], theirs: Iterable[Head], *, complete: bool) -> Difference:
    """What to ask for and what to send; feeds that `theirs` does not name are sent only if it is complete. A feed with
    equal seq and different ids is asked for from that seq on, so that the conflicting entry arrives and proves the
    fork."""
    known: dict[bytes, int] = {}
    want: list[tuple[bytes, int]] = []
    have: list[tuple[bytes, int]] = []
    for head in theirs:
        known[head.author] = head.seq
        mine = own.get(head.author)
        if mine is None:
            want.append((head.author, 0))
        elif mine.seq < head.seq:
            want.append((head.author, mine.seq + 1))
        elif mine.seq == head.seq and mine.id != head.id:
            want.append((head.author, head.seq))
        elif mine.seq > head.seq:
            have.append((head.author, head.seq + 1))
    if complete:
        have.extend((author, 0) for author in own if author not in known)
    return Difference(tuple(sorted(want)), tuple(sorted(have)))
