"""How soon peers answer, and so how far away they can be at most. Pure.

Nothing outruns light in fibre: who answers within two milliseconds is no continent away. So a peer that declares a
place far from where it stands can be caught by whoever stands near. A slow answer says nothing: it may have waited
anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.doubts import said
from ledger.plausibility import Finding, round_trip_finding
from ledger.state import AttestationRecord, State
from node.actions import Send, SetTimeout
from node.energy.supply import UNKNOWN_ZONE, EnergyConfig
from node.events import Timer, TimerKind
from node.turn import Turn
from protocol.direct import Ping, Pong
from protocol.genesis import Genesis
from protocol.messages import INTEGER_MAX, Place

PING_EVERY_MS = 60_000  # of each connected peer; guess, not measured
RESOLUTION_MS = 1  # of clocks in whole milliseconds, in the peer's favour
SHORTEST = 3  # a clock that is set in between makes one or two look too short
PEERS_MAX = 1024  # whose shortest round trip is remembered; beyond it the oldest is forgotten


@dataclass(slots=True)
class RoundTrips:
    """`place`: where this node stands; None if it does not say, or in a network whose places are made up: then nobody
    is asked."""

    place: Place | None
    asked: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # by peer: nonce, and when
    shortest_ms: dict[bytes, list[int]] = field(default_factory=dict)  # by peer: the SHORTEST shortest, rising

    def on_started(self, turn: Turn) -> None:
        if self.place is not None:
            turn.do(SetTimeout(Timer(TimerKind.PING), PING_EVERY_MS))

    def on_connected(self, turn: Turn, peer: bytes) -> None:
        if self.place is not None:
            self._ask(turn, peer)

    def on_timer(self, turn: Turn, connected: set[bytes]) -> None:
        """Ask everybody again: of several round trips the shortest says most."""
        self.asked = {peer: question for peer, question in self.asked.items() if peer in connected}
        for peer in sorted(connected):
            self._ask(turn, peer)
        turn.do(SetTimeout(Timer(TimerKind.PING), PING_EVERY_MS))

    def on_ping(self, turn: Turn, peer: bytes, message: Ping) -> None:
        turn.do(Send(peer, Pong(nonce=message.nonce)))

    def on_pong(self, turn: Turn, peer: bytes, message: Pong) -> None:
        """A nonce is good for one answer; nobody can answer before it has heard it."""
        nonce, asked_ms = self.asked.get(peer, (-1, 0))
        if message.nonce != nonce:
            return
        del self.asked[peer]
        elapsed_ms = (turn.now_ms - asked_ms) // turn.identity.genesis.clock.speed + RESOLUTION_MS
        self.shortest_ms[peer] = sorted([*self.shortest_ms.pop(peer, ()), max(0, elapsed_ms)])[:SHORTEST]
        if len(self.shortest_ms) > PEERS_MAX:
            del self.shortest_ms[next(iter(self.shortest_ms))]

    def finding(self, peer: bytes, declared: Place) -> Finding | None:
        """Why a peer cannot be where it says; None if it can, or nobody knows."""
        round_trip_ms = self.round_trip_ms(peer)
        if round_trip_ms is None or self.place is None:
            return None
        return round_trip_finding(round_trip_ms, _degrees(declared), _degrees(self.place))

    def round_trip_ms(self, peer: bytes) -> int | None:
        """The longest of a peer's SHORTEST shortest round trips; None before there are as many."""
        measured = self.shortest_ms.get(peer, [])
        return measured[-1] if len(measured) == SHORTEST else None

    def findings(self, state: State, record: AttestationRecord) -> tuple[str, ...]:
        """The same for an auditor: of the place of a declared device and its owner's answers."""
        device = state.devices.get((record.author, record.device_id))
        finding = None if device is None else self.finding(record.author, device.device.place)
        return () if finding is None else (said(finding),)

    def _ask(self, turn: Turn, peer: bytes) -> None:
        nonce = turn.identity.chance.randrange(INTEGER_MAX)
        self.asked[peer] = (nonce, turn.now_ms)
        turn.do(Send(peer, Ping(nonce=nonce)))


def own_place(energy: EnergyConfig, genesis: Genesis) -> Place | None:
    """Where a node stands, if that means anything: a devnet's places are made up, and not every node says its zone."""
    return None if genesis.admission == "devnet" or energy.zone == UNKNOWN_ZONE else energy.place


def _degrees(place: Place) -> tuple[int, int]:
    return place.latitude_decidegrees, place.longitude_decidegrees
