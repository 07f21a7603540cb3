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
    fork. Of several heads for one author the last counts: naming it often does not make us send it often."""
    known = {head.author: head for head in theirs}
    want: list[tuple[bytes, int]] = []
    have: list[tuple[bytes, int]] = []
    for author, head in known.items():
        mine = own.get(author)
        if mine is None:
            want.append((author, 0))
        elif mine.seq < head.seq:
            want.append((author, mine.seq + 1))
        elif mine.seq > head.seq:
            have.append((author, head.seq + 1))
        elif mine.id != head.id:
            want.append((author, head.seq))
    if complete:
        have.extend((author, 0) for author in own.keys() - known.keys())
    return Difference(tuple(sorted(want)), tuple(sorted(have)))
