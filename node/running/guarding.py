"""Whom this node keeps out: what its operator says and what the link finds out, kept across restarts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from math import inf

from node.home.bans import KeptOut, PeerBan, keep_bans, load_bans
from node.home.home import Home
from node.link import Ban, Link, Verdict
from node.link.guard.gate import parse_network

log = logging.getLogger("heliotrope")


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """How the link stands now. Seconds are those left, `inf` for good; `results`: of the judge, by topic."""

    connections: int
    scores: Mapping[bytes, float]
    bans: Mapping[bytes, Ban]
    denied: Mapping[str, float]
    configured: Set[str]  # of `denied`, by the configuration
    losses: Mapping[str, int]
    results: Mapping[tuple[str, Verdict], int]


class Guarding:
    """On the loop. `always`: networks that the configuration denies."""

    def __init__(self, link: Link, home: Home, always: tuple[str, ...] = ()) -> None:
        self._link, self._home = link, home
        self._always = {str(parse_network(network)): inf for network in always}
        self._turn = asyncio.Lock()

    async def restore(self) -> None:
        """What the last run knew. Raises LocalError for a file that cannot be read."""
        kept, now_unix_ms = load_bans(self._home), _now_unix_ms()
        for key, ban in kept.peers.items():
            if (left_s := ban.left_s(now_unix_ms)) > 0:
                await self._link.ban(bytes.fromhex(key), Ban(left_s, ban.reason, ban.by_operator, ban.bans))
        left = {n: inf if until is None else (until - now_unix_ms) / 1000 for n, until in kept.networks.items()}
        await self._link.deny({network: left_s for network, left_s in left.items() if left_s > 0})

    async def ban(self, peer: bytes, seconds: int | None, reason: str) -> None:
        """By the operator's word. `seconds` None: until it is lifted."""
        await self._link.ban(peer, Ban(inf if seconds is None else seconds, reason, by_operator=True))
        await self.keep()

    async def unban(self, peer: bytes) -> None:
        self._link.unban(peer)
        await self.keep()

    async def deny(self, networks: Mapping[str, int | None]) -> None:
        """These for so many seconds, None for good, and no others but the configuration's. Raises LocalError."""
        await self._link.deny({network: inf if s is None else s for network, s in networks.items()})
        await self.keep()

    async def keep(self) -> None:
        """Write down what stands, for the next start."""
        async with self._turn:
            now_unix_ms = _now_unix_ms()

            def until(left_s: float) -> int | None:
                return None if left_s == inf else now_unix_ms + round(left_s * 1000)

            bans = self._link.bans().items()
            kept = KeptOut(
                peers={
                    peer.hex(): PeerBan(
                        until_unix_ms=until(ban.left_s), reason=ban.reason, by_operator=ban.by_operator, bans=ban.bans
                    )
                    for peer, ban in bans
                },
                networks={network: until(left_s) for network, left_s in self._link.denied().items()},
            )
            try:
                await asyncio.to_thread(keep_bans, self._home, kept)
            except OSError as error:
                log.warning("bans were not kept, the next start goes on from the last ones: %s", error)

    def facts(self) -> LinkFacts:
        link = self._link
        return LinkFacts(
            connections=link.connections(),
            scores=link.scores(),
            bans=link.bans(),
            denied=link.denied() | self._always,
            configured=self._always.keys(),
            losses=dict(link.losses),
            results=dict(link.results),
        )


def _now_unix_ms() -> int:
    return time.time_ns() // 10**6
