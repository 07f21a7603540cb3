"""Two indexes of heads that talk to each other until nothing is left to say, every message encoded and decoded."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger.heads import HeadIndex, HeadLike
from ledger.sync import Difference, answer_compare, answer_summary, difference, summary
from protocol.direct import Compare, Heads, Summary, decode_direct, encode_direct
from protocol.envelope import Head
from protocol.messages import Body

EPOCH = bytes(16)


def index_of(heads: Iterable[HeadLike]) -> HeadIndex:
    index = HeadIndex()
    index.update({head.author: head for head in heads})
    return index


def many_heads(chance: random.Random, authors: int, seq_mean: int = 100) -> dict[bytes, Head]:
    """Heads of feeds that nobody wrote."""
    keys = [chance.randbytes(32) for _ in range(authors)]
    return {key: Head(key, chance.randrange(1, 2 * seq_mean), chance.randbytes(32)) for key in keys}


def behind(chance: random.Random, heads: dict[bytes, Head], missing: int) -> dict[bytes, Head]:
    """The same, but for an entry that is missing in each of so many feeds: the case that costs most."""
    late = {key: Head(key, heads[key].seq - 1, chance.randbytes(32)) for key in chance.sample(sorted(heads), missing)}
    return heads | late


@dataclass(slots=True)
class Dialogue:
    """`found`: what each side learnt, the one that began first. A round trip is two messages of the longest chain."""

    sides: tuple[HeadIndex, HeadIndex]
    chance: random.Random
    sent_bytes: int = 0
    depth: int = 0
    found: tuple[list[Difference], list[Difference]] = field(default_factory=lambda: ([], []))

    def run(self) -> Dialogue:
        first = summary(self.sides[0], self.chance.randbytes(32), EPOCH, 1)
        under_way: deque[tuple[int, int, bytes]] = deque([(1, 1, encode_direct(first))])
        while under_way:
            side, depth, data = under_way.popleft()
            self.sent_bytes += len(data)
            self.depth = max(self.depth, depth)
            for answer in self._answer(side, decode_direct(data)):
                under_way.append((1 - side, depth + 1, encode_direct(answer)))
        return self

    @property
    def round_trips(self) -> float:
        """What is missing can be asked for, or sent, with the message after the last."""
        return (self.depth + 1) / 2

    def wanted(self, side: int) -> set[bytes]:
        """Authors of whom this side lacks something, as it found out or the other did."""
        asked = {head.author for each in self.found[side] for head in each.want}
        return asked | {author for each in self.found[1 - side] for author, _ in each.have}

    def _answer(self, side: int, message: Body) -> list[Body]:
        index = self.sides[side]
        match message:
            case Summary():
                answers: list[Body | None] = [answer_summary(index, message)]
            case Compare():
                answers = list(answer_compare(index, message))
            case Heads():
                self.found[side].append(difference(index, message))
                answers = [self.found[side][-1].show]
            case _:
                raise AssertionError(message)
        return [answer for answer in answers if answer is not None]
