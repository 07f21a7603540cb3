"""What connected peers do, as the libp2p thread sees it: each act goes through here to be counted, paced or blamed.

    gossip      over a rate per author and topic, dropped and counted; far over the last, blamed
                per peer, or for all peers
    messages    over a rate per peer              their reader waits: backpressure, no loss
    streams     over a rate per peer              reset and counted, and blamed
    pings       over a rate per peer              their reader waits

What an honest peer may pass on from others is no fault of its own, or many who keep just below every limit could have
it banned. So a node takes `TAKEN_PER_S` from all peers together and publishes `thread.PUBLISH_RATE_PER_S`; only whoever
sends more than both is blamed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import trio

from node.link.events import Verdict
from node.link.guard.rates import Buckets
from node.link.guard.standing import Act, Ban, Standings

AUTHOR_PER_S, AUTHOR_BURST = 50.0, 300.0  # by one author in one topic: what a node may publish (`thread`)
PEER_PER_S, PEER_BURST = 120.0, 500.0  # of one peer, whoever the author: it forwards a flood and what matters alike
TAKEN_PER_S, TAKEN_BURST = 150.0, 600.0  # of all peers and topics, new and to be verified: what a core bears
FLOOD_PER_S, FLOOD_BURST = 200.0, 1000.0  # of one peer, known messages too: more than an honest one takes and publishes
RPC_BYTES_PER_S, RPC_BYTES_BURST = 8 * 2**20, 32 * 2**20  # of one peer; guess, not measured
MESSAGES_PER_S, MESSAGES_BURST = 500.0, 2000.0  # of one peer; guess, not measured
MESSAGE_BYTES_PER_S, MESSAGE_BYTES_BURST = 32 * 2**20, 64 * 2**20  # five times what noise and yamux move (NETWORK.md)
STREAMS_PER_S, STREAMS_BURST = 20.0, 200.0  # of one peer; guess, not measured
PINGS_PER_S, PINGS_BURST = 2.0, 20.0  # of one peer; guess, not measured

_ACT_OF = {
    Verdict.ACCEPT: Act.NEW_GOSSIP,
    Verdict.IGNORE: Act.IGNORED_GOSSIP,
    Verdict.REJECT: Act.REJECTED_GOSSIP,
}


class Conduct:
    """`banned(peer, ban)` is called once for each ban that acts bring about. `results`: of the judge, by topic."""

    def __init__(
        self,
        standings: Standings,
        losses: Counter[str],
        results: Counter[tuple[str, Verdict]],
        banned: Callable[[bytes, Ban], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.standings, self.losses, self.results = standings, losses, results
        self._banned, self._clock = banned, clock
        self._authors = Buckets(AUTHOR_PER_S, AUTHOR_BURST)
        self._peers = Buckets(PEER_PER_S, PEER_BURST)
        self._taken = Buckets(TAKEN_PER_S, TAKEN_BURST)
        self._flood = Buckets(FLOOD_PER_S, FLOOD_BURST)
        self._rpc_bytes = Buckets(RPC_BYTES_PER_S, RPC_BYTES_BURST)
        self._messages = Buckets(MESSAGES_PER_S, MESSAGES_BURST)
        self._message_bytes = Buckets(MESSAGE_BYTES_PER_S, MESSAGE_BYTES_BURST)
        self._streams = Buckets(STREAMS_PER_S, STREAMS_BURST)
        self._pings = Buckets(PINGS_PER_S, PINGS_BURST)

    def blame(self, peer: bytes, act: Act) -> None:
        """Count an act, good ones too."""
        if (ban := self.standings.record(peer, act, self._clock())) is not None:
            self.losses["bans"] += 1
            self._banned(peer, ban)

    def refusal(self, peer: bytes) -> str:
        """Why this peer is not heard now, or ""."""
        return self.standings.refusal(peer, self._clock())

    def may_verify(self, peer: bytes) -> bool:
        """Whether a new message is within the rate of whoever handed it to us: each costs a signature."""
        return self._within(self._peers.take(peer, self._clock()), "gossip_over_rate")

    def takes_gossip(self, author: bytes, topic: str) -> bool:
        """Whether a message that its author has signed is within that author's rate, and that of all.

        By author, at every node alike: by the peer alone, a flood would crowd out what the same peer forwards from
        others.
        """
        now = self._clock()
        return self._within(self._authors.take((author, topic), now), "gossip_over_rate") and self._within(
            self._taken.take(None, now), "gossip_over_all"
        )

    def _within(self, is_within: bool, loss: str) -> bool:
        if not is_within:
            self.losses[loss] += 1
        return is_within

    def counts_gossip(self, peer: bytes, messages: int) -> None:
        """All of an RPC, copies of what is known already among them."""
        now = self._clock()
        for _ in range(messages):
            if not self._flood.take(peer, now):
                self.blame(peer, Act.OVER_RATE)

    def judged(self, peer: bytes, topic: str, verdict: Verdict) -> None:
        self.results[topic, verdict] += 1
        self.blame(peer, _ACT_OF[verdict])

    def takes_stream(self, peer: bytes) -> bool:
        """Whether a new stream is within the rate."""
        if self._streams.take(peer, self._clock()):
            return True
        self.losses["streams_over_rate"] += 1
        self.blame(peer, Act.OVER_RATE)
        return False

    def rpc_pause_s(self, peer: bytes, size_bytes: int) -> float:
        """How long the peer is to be held back after so much."""
        return self._rpc_bytes.reserve(peer, self._clock(), size_bytes)

    async def pace_message(self, peer: bytes, size_bytes: int) -> None:
        """Wait until the next may be read."""
        now = self._clock()
        await trio.sleep(max(self._messages.reserve(peer, now), self._message_bytes.reserve(peer, now, size_bytes)))

    async def pace_ping(self, peer: bytes) -> None:
        """Wait until the next may be answered."""
        await trio.sleep(self._pings.reserve(peer, self._clock()))
