"""The smallest change of what was asked that turns a no into a yes: a search over axes, whoever asks.

Changes of unlike things are compared by how much of the old value they change: memory halved is 500 permille, a price
cap doubled is 1000; what is given up whole (attested, one zone) counts as 1000 too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing asked for less strictly: the fields that change with their new values, the first of them `field`; how
    much of the old value changes; and the words for it."""

    field: str
    fields: Fields
    permille: int
    text: str

    @property
    def value(self) -> Any:
        """The new value of `field`."""
        return self.fields[self.field]


@dataclass(frozen=True, slots=True)
class Relaxation:
    """`changes` together place the job, none of them alone. `instead`: other single changes that would do as well.

    Without changes, `text` says why no one or two of them would help. `trials`: how often a changed job was tried.
    """

    changes: tuple[Change, ...]
    instead: tuple[Change, ...]
    text: str
    trials: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """One demand that can give way, as a number: `values` from the smallest change of `old` to the largest, what each
    makes of the fields of the job, and the words for it."""

    field: str
    old: int
    values: Sequence[int]
    say: Callable[[int], str]
    fields_of: Callable[[int], Fields]

    def change(self, number: int) -> Change:
        """This axis at one of its values."""
        permille = abs(number - self.old) * 1000 // max(1, self.old)
        return Change(self.field, self.fields_of(number), permille, self.say(number))

    @property
    def most(self) -> Fields:
        """The fields with all given that this axis can give."""
        return self.fields_of(self.values[-1])


class Trials:
    """Asks `fits` at most `most` times; after that everything is a no, and `exhausted`."""

    def __init__(self, fits: Callable[[Fields], bool], most: int) -> None:
        self._fits = fits
        self.most = most
        self.made = 0
        self.exhausted = False

    def __call__(self, *fields: Fields) -> bool:
        """Whether the job fits with all of these fields; where two name one, the later counts."""
        if self.made == self.most:
            self.exhausted = True
            return False
        self.made += 1
        return self._fits({name: value for each in fields for name, value in each.items()})


def relax(axes: Sequence[Axis], fits: Trials, hopeless: Callable[[], str]) -> Relaxation:
    """The smallest single change that does, else the smallest pair; of equal ones the earlier axis is preferred. Where
    there is none, `hopeless` says more about it.

    A pair is found by giving all on both axes and then taking back on each in turn, so neither can be smaller while the
    other stays. It relies on what fits to keep fitting when more is given; where that fails, an answer may be larger
    than need be, or missed, but never wrong: each was tried.
    """
    ways = [changes for axis in axes if (changes := _tighten((axis,), fits))]
    ways = ways or [changes for pair in _pairs(axes, fits) if (changes := _tighten(pair, fits))]
    if not ways:
        none = f"nothing was found in {fits.most} trials" if fits.exhausted else "no one or two changes place it"
        return Relaxation((), (), f"{none}; {hopeless()}", fits.made)
    smallest, *others = sorted(ways, key=lambda changes: sum(change.permille for change in changes))
    instead = tuple(changes[0] for changes in others) if len(smallest) == 1 else ()
    text = "; or ".join([" and ".join(change.text for change in smallest), *(change.text for change in instead)])
    return Relaxation(smallest, instead, text, fits.made)


def _pairs(axes: Sequence[Axis], fits: Trials) -> list[tuple[Axis, ...]]:
    """The pairs that can help: an axis without which all others together do not is in each of them."""
    if not fits(*(axis.most for axis in axes)):
        return []
    needed = [axis for axis in axes if not fits(*(other.most for other in axes if other is not axis))]
    return [pair for pair in combinations(axes, 2) if all(axis in pair for axis in needed)]


def _tighten(axes: Sequence[Axis], fits: Trials) -> tuple[Change, ...]:
    """The least change on each of these axes that together do; empty when even the largest do not."""
    fields = [axis.most for axis in axes]
    if not fits(*fields):
        return ()
    changes = []
    for place, axis in enumerate(axes):

        def enough(number: int, place: int = place, axis: Axis = axis) -> bool:
            return fits(*fields[:place], axis.fields_of(number), *fields[place + 1 :])

        # The last value is known to do and is not tried again.
        at = bisect_left(axis.values, True, hi=len(axis.values) - 1, key=enough)
        changes.append(axis.change(axis.values[at]))
        fields[place] = changes[-1].fields
    return tuple(changes)
