"""What a peer's own acts have earned it: a score that decays, and below a threshold a ban. Pure: time is passed in.

A peer is blamed for what no honest peer does, and for nothing else: an honest peer forwards late and unwanted gossip,
but none that the judge rejects. Keys are free, so a ban by key stops a faulty or careless peer; whoever makes new keys
is bounded by address (`gate.py`) and at every rate (`conduct.py`).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf

from node.link.events import BANNED

BANNED_BELOW = -95.0  # ten rejected gossip messages within a minute, twenty within five; guess, not measured
CREDIT_MAX = 10.0  # points that good gossip earns at most: one slip more, not a licence
SCORE_HALF_LIFE_S = 600.0  # an honest peer with a fault a minute stays above the threshold; guess, not measured
BAN_FIRST_S, BAN_LONGEST_S = 600.0, 86_400.0  # doubled each time
BANS_HALF_LIFE_S = 86_400.0  # how soon a former ban no longer lengthens the next; guess, not measured
PEERS_MAX = 4096  # remembered, beside those connected
EVICTED_AT_ONCE = 256
REASON_MAX_CHARACTERS = 200


class Act(Enum):
    """What a peer did: points, and its name in the plural."""

    NEW_GOSSIP = (0.01, "new gossip messages")
    IGNORED_GOSSIP = (-0.01, "ignored gossip messages")
    REJECTED_GOSSIP = (-10.0, "rejected gossip messages")
    BAD_SIGNATURE = (-10.0, "gossip messages with a false signature")
    MALFORMED = (-20.0, "malformed frames")
    OVER_RATE = (-0.2, "gossip messages or streams over the rate")
    REFUSED_HELLO = (-4.0, "refused hellos")
    REJECTED_MESSAGE = (-5.0, "rejected messages")

    @property
    def points(self) -> float:
        return self.value[0]


@dataclass(slots=True)
class Standing:
    """Of one peer. `score` and `bans` as of `at_s`; `until_s`: of the ban, 0 if there is none, `inf` if for good."""

    at_s: float
    score: float = 0.0
    bans: float = 0.0
    until_s: float = 0.0
    reason: str = ""
    by_operator: bool = False
    faults: Counter[Act] = field(default_factory=Counter)

    def decay(self, now_s: float) -> None:
        passed_s = max(0.0, now_s - self.at_s)
        self.score *= 0.5 ** (passed_s / SCORE_HALF_LIFE_S)
        self.bans *= 0.5 ** (passed_s / BANS_HALF_LIFE_S)
        self.at_s = max(self.at_s, now_s)
        if self.score > -0.1:
            self.faults.clear()


@dataclass(frozen=True, slots=True)
class Ban:
    """One that stands: for so many seconds more, `inf` for good. `bans`: how often before, decayed."""

    left_s: float
    reason: str
    by_operator: bool
    bans: float = 0.0

    def __str__(self) -> str:
        how_long = "until it is lifted" if self.left_s == inf else f"for {self.left_s:.0f} s"
        return f"{BANNED}{how_long}: {self.reason}"


class Standings:
    """Of all peers. `is_connected`: those are never forgotten, and there are few of them."""

    def __init__(self, is_connected: Callable[[bytes], bool] = lambda peer: False) -> None:
        self.is_connected = is_connected
        self._of: dict[bytes, Standing] = {}

    def record(self, peer: bytes, act: Act, now_s: float) -> Ban | None:
        """Count an act; the ban that it brings about, if it does. While a ban stands nothing is counted: who is not
        heard can neither earn nor lose."""
        standing = self._standing(peer, now_s)
        if now_s < standing.until_s:
            return None
        standing.decay(now_s)
        standing.score = min(standing.score + act.points, max(CREDIT_MAX, standing.score))
        if act.points < 0:
            standing.faults[act] += 1
        if standing.score > BANNED_BELOW:
            return None
        left_s = min(BAN_FIRST_S * 2**standing.bans, BAN_LONGEST_S)
        standing.reason = _worst(standing.faults)
        standing.until_s, standing.by_operator = now_s + left_s, False
        standing.bans += 1
        standing.score = 0.0
        standing.faults.clear()
        return self.ban_of(peer, now_s)

    def ban(self, peer: bytes, now_s: float, ban: Ban) -> None:
        """Put a ban down: the operator's, or one of an earlier run."""
        standing = self._standing(peer, now_s)
        standing.until_s, standing.by_operator = now_s + ban.left_s, ban.by_operator
        standing.reason, standing.bans = ban.reason[:REASON_MAX_CHARACTERS], max(standing.bans, ban.bans)

    def unban(self, peer: bytes) -> None:
        """Forget whatever this peer did."""
        self._of.pop(peer, None)

    def ban_of(self, peer: bytes, now_s: float) -> Ban | None:
        """The ban that stands, if one does."""
        standing = self._of.get(peer)
        if standing is None or now_s >= standing.until_s:
            return None
        return Ban(standing.until_s - now_s, standing.reason, standing.by_operator, standing.bans)

    def refusal(self, peer: bytes, now_s: float) -> str:
        """Why this peer is not heard now, or ""."""
        ban = self.ban_of(peer, now_s)
        return "" if ban is None else str(ban)

    def bans(self, now_s: float) -> dict[bytes, Ban]:
        """All that stand."""
        return {peer: ban for peer in self._of.copy() if (ban := self.ban_of(peer, now_s)) is not None}

    def scores(self, now_s: float) -> Mapping[bytes, float]:
        """Of all that are remembered, as they have decayed."""
        standings = self._of.copy().items()  # one step: another thread may ask
        return {peer: s.score * 0.5 ** (max(0.0, now_s - s.at_s) / SCORE_HALF_LIFE_S) for peer, s in standings}

    def _standing(self, peer: bytes, now_s: float) -> Standing:
        standing = self._of.get(peer)
        if standing is None:
            standing = self._of[peer] = Standing(now_s)
            if len(self._of) > PEERS_MAX + EVICTED_AT_ONCE:
                self._evict(peer, now_s)
        return standing

    def _evict(self, newest: bytes, now_s: float) -> None:
        """Forget the best: whoever makes keys to fill the table cannot have its bans forgotten. The operator's stay."""
        gone = (peer for peer in list(self._of) if peer != newest and not self.is_connected(peer))

        def worst_last(peer: bytes) -> tuple[bool, float, float]:
            standing = self._of[peer]
            standing.decay(now_s)
            banned = now_s < standing.until_s
            return (banned and standing.by_operator, standing.until_s if banned else 0.0, -standing.score)

        for peer in heapq.nsmallest(EVICTED_AT_ONCE, gone, key=worst_last):
            self._of.pop(peer, None)


def _worst(faults: Counter[Act]) -> str:
    """The act that cost most, and how often it was."""
    act = min(faults, key=lambda act: act.points * faults[act])
    return f"{faults[act]} {act.value[1]}"
