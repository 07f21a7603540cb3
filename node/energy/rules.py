"""An operator's rules: when the node works for others, and when it does not. Pure.

    carbon > 300 => pause
    surplus_w > 400 => resume
    grid > 250 and carbon_free < 60 => pause

A rule compares figures of the newest reading, or of a forecast slot, with numbers; one whose figure nobody knows does
not hold. The node works until a pause rule holds. It works again when no pause rule holds any more and a resume rule
does; without resume rules, when every pause rule is off its threshold by a tenth, so that a figure that trembles about
a threshold does not stop and start a training again and again.
"""

from __future__ import annotations

import difflib
import enum
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final

from ledger.energy import carbon_ug, intensity_g_per_kwh
from protocol.errors import LocalError
from protocol.units import ceil_div

RULES_MAX = 32
CONDITIONS_MAX = 8
TEXT_MAX = 256
DEAD_BAND = Decimal("0.1")  # of the threshold; guess, not measured
PAUSED_READINGS_MIN = 2  # readings before work begins again; guess, not measured


@dataclass(frozen=True, slots=True)
class Figures:
    """What rules may ask about; None is not known.

    `carbon`: g/kWh of the power that this node's machines would draw at their peak, own surplus first. `grid`,
    `marginal`: g/kWh of the zone. `carbon_free`: percent of the zone's supply. `surplus_w`: beyond the site's own use.
    """

    carbon: int | None = None
    grid: int | None = None
    marginal: int | None = None
    carbon_free: int | None = None
    surplus_w: int | None = None


NAMES: Final = tuple(field.name for field in fields(Figures))


def figures(
    *,
    surplus_w: int,
    grid_g_per_kwh: int,
    own_g_per_kwh: int,
    peak_w: int,
    marginal_g_per_kwh: int | None = None,
    carbon_free_permille: int | None = None,
) -> Figures:
    """The figures of one moment; `peak_w` of all units on offer, overhead included."""
    drawn_j = max(1, peak_w) * 3600
    carbon = intensity_g_per_kwh(carbon_ug(drawn_j, surplus_w * 3600, own_g_per_kwh, grid_g_per_kwh, 0), drawn_j)
    return Figures(
        carbon=carbon,
        grid=grid_g_per_kwh,
        marginal=marginal_g_per_kwh,
        carbon_free=None if carbon_free_permille is None else ceil_div(carbon_free_permille, 10),
        surplus_w=surplus_w,
    )


class Act(enum.StrEnum):
    PAUSE = "pause"
    RESUME = "resume"


_COMPARE: Final[dict[str, Callable[[Decimal, Decimal], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"\s*([a-z_]+)\s*(>=|<=|>|<)\s*(\d{1,9}(?:\.\d{1,3})?)\s*")
_RULE = re.compile(r"(?P<conditions>.+?)=>\s*(?P<act>[a-z]+)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    name: str
    comparison: str
    threshold: Decimal

    def holds(self, now: Figures, margin: Decimal = Decimal(0)) -> bool:
        """`margin`: a share of the threshold by which the condition counts as held already."""
        value = getattr(now, self.name)
        if value is None:
            return False
        easier = self.threshold * margin * (-1 if self.comparison.startswith(">") else 1)
        return _COMPARE[self.comparison](Decimal(value), self.threshold + easier)

    def __str__(self) -> str:
        return f"{self.name} {self.comparison} {self.threshold}"


@dataclass(frozen=True, slots=True)
class Rule:
    """All conditions, then the act."""

    conditions: tuple[Condition, ...]
    act: Act

    def holds(self, now: Figures, margin: Decimal = Decimal(0)) -> bool:
        return all(condition.holds(now, margin) for condition in self.conditions)

    def __str__(self) -> str:
        return f"{' and '.join(map(str, self.conditions))} => {self.act.value}"


def parse_rule(text: str) -> Rule:
    """Read a rule as people write it. Raises LocalError with what was expected."""
    found = _RULE.fullmatch(text) if len(text) <= TEXT_MAX else None
    if found is None:
        raise _refused(text, "it is not of the form: CONDITION [and CONDITION ...] => pause|resume")
    if found["act"] not in {act.value for act in Act}:
        raise _refused(text, f"{found['act']!r} is no act: pause or resume")
    parts = re.split(r"\band\b", found["conditions"])
    if len(parts) > CONDITIONS_MAX:
        raise _refused(text, f"it has {len(parts)} conditions, {CONDITIONS_MAX} are allowed")
    return Rule(tuple(_parse_condition(text, part) for part in parts), Act(found["act"]))


def parse_rules(texts: Sequence[str]) -> tuple[Rule, ...]:
    """All of a node's rules. Raises LocalError."""
    if len(texts) > RULES_MAX:
        raise LocalError("HEL-RULE-002", f"{len(texts)} rules, {RULES_MAX} are allowed", "Join or remove some.")
    return tuple(map(parse_rule, texts))


def _parse_condition(rule: str, text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise _refused(rule, f"{text.strip()!r} is not of the form: NAME > NUMBER (or <, >=, <=)")
    name, comparison, threshold = found.groups()
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        raise _refused(rule, f"{name!r} is none of {', '.join(NAMES)}" + (f"; {near[0]}?" if near else ""))
    return Condition(name, comparison, Decimal(threshold))


def _refused(text: str, why: str) -> LocalError:
    return LocalError("HEL-RULE-001", f"rule {text[:TEXT_MAX]!r} cannot be read: {why}", "As in: carbon > 300 => pause")


@dataclass(frozen=True, slots=True)
class Standing:
    """By which rule the node does not work, "" while it does; and for how many readings it has been so."""

    paused_by: str = ""
    readings: int = 0

    @property
    def works(self) -> bool:
        return not self.paused_by


def next_standing(rules: Sequence[Rule], before: Standing, now: Figures) -> Standing:
    """What one more reading makes of it. See the module."""
    pausing = [rule for rule in rules if rule.act is Act.PAUSE]
    held = next((rule for rule in pausing if rule.holds(now)), None)
    if before.works:
        return Standing("", before.readings + 1) if held is None else Standing(str(held), 1)
    stays = Standing(before.paused_by, before.readings + 1)
    if not pausing:
        return Standing("", 1)
    if held is not None or before.readings < PAUSED_READINGS_MIN:
        return stays
    resuming = [rule for rule in rules if rule.act is Act.RESUME]
    if resuming:
        may_resume = any(rule.holds(now) for rule in resuming)
    else:
        may_resume = not any(rule.holds(now, DEAD_BAND) for rule in pausing)
    return Standing("", 1) if may_resume else stays


def works_ahead(rules: Sequence[Rule], standing: Standing, ahead: Sequence[Figures]) -> tuple[bool, ...]:
    """Whether the node is expected to work in each of the coming slots, if they come as foretold."""
    expected = []
    for figure in ahead:
        standing = next_standing(rules, standing, figure)
        expected.append(standing.works)
    return tuple(expected)
