"""Whom to look for beyond gossip: this node announces what it offers, and looks for others where it knows too few.

Gossip tells of those whom the mesh brings near; at ten thousand nodes that is a part. So a node that joins and stays
alone looks for neighbours of its own kind, and a job's owner looks for offers before the bids close. Once a job's owner
knows enough, nothing is looked up: an idle node announces itself once an hour, and that is all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.actions import Look, Provide, SetTimeout
from node.events import PeersFound, Timer, TimerKind
from node.peers import Peers
from node.turn import Turn
from protocol.discovery import PROVIDE_EVERY_S
from protocol.messages import Job
from protocol.regions import REGIONS

FIRST_AFTER_MS = 5_000  # once somebody is connected: the tables have met by then; guess, not measured
NEIGHBOURS_MIN = 6  # as many as a gossip mesh wants; fewer look for more
OFFERS_PER_SHARD = 4  # known before a job's owner looks no further: a choice of greener ones; guess, not measured
SOON = 1  # number of the timer that fires once
LOOKS_PER_JOB_MAX = 4  # each asks up to 24 peers; guess, not measured


@dataclass(slots=True)
class Discovery:
    """`region` is where this node stands, `device` what it has; `provides`: whether it offers that to others.
    `regions`: whose offers it wants to know."""

    peers: Peers
    region: str
    device: str
    provides: bool
    regions: tuple[str, ...] = REGIONS
    is_begun: bool = False
    is_soon: bool = False
    found: dict[str, int] = field(default_factory=dict)  # how many addresses each way of finding has brought

    def on_connected(self, turn: Turn) -> None:
        if not self.is_begun:
            self.is_begun = True
            turn.do(SetTimeout(Timer(TimerKind.PROVIDE), FIRST_AFTER_MS))

    def soon(self, turn: Turn) -> None:
        """What others keep of us is void: we are reached elsewhere now, or have forgotten them. Do not wait for the
        period."""
        if self.is_begun and not self.is_soon:
            self.is_soon = True
            turn.do(SetTimeout(Timer(TimerKind.PROVIDE, number=SOON), FIRST_AFTER_MS))

    def on_timer(self, turn: Turn, timer: Timer, addresses: tuple[str, ...]) -> None:
        """Announce what we offer, at these addresses, and look for neighbours while there are few."""
        if self.provides:
            turn.do(Provide(self.region, self.device, addresses))
        if len(self.peers.connected) < NEIGHBOURS_MIN:
            turn.do(Look(self.region, self.device))
        if timer.number == SOON:
            self.is_soon = False
            return
        every_ms = PROVIDE_EVERY_S * 1000
        turn.do(SetTimeout(Timer(TimerKind.PROVIDE), every_ms - turn.identity.chance.randrange(every_ms // 5)))

    def on_job(self, turn: Turn, job: Job) -> None:
        """Look for offers of a job of ours, nearby first and then anywhere, unless enough are known."""
        known = self.peers.book.fresh(turn.now_ms)
        if len(known) >= OFFERS_PER_SHARD * job.shards:
            return
        devices = sorted({self.device, *(signed.advert.offer.device for signed in known)})
        wanted = [(self.region, device) for device in devices]
        elsewhere = [(region, device) for region in self.regions for device in devices if region != self.region]
        wanted += turn.identity.chance.sample(elsewhere, min(LOOKS_PER_JOB_MAX, len(elsewhere)))
        for region, device in wanted[:LOOKS_PER_JOB_MAX]:
            turn.do(Look(region, device))

    def on_found(self, turn: Turn, event: PeersFound) -> None:
        """Hints, whoever gave them: dialling tells who is there."""
        self.found[event.where] = self.found.get(event.where, 0) + len(event.addresses)
        self.peers.on_found(turn, event.addresses)
