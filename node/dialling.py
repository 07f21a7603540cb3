"""Whom to reach, at which of its addresses, and when again: for ever, with jitter, and never all at once.

A peer's addresses are tried one after the other, the most promising first: the operator's own, then whichever answered
last, then what is advertised. When all have failed the peer rests, twice as long each time. What only an operator can
change (another network, no invitation) is tried once an hour.

Adverts come from strangers. Against an eclipse they push out nothing that the operator named or that ever answered, and
peers that connect to us do not keep us from reaching those we chose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from node.actions import Dial, RememberPeers, SetTimeout
from node.events import DialFailed, Timer, TimerKind
from node.turn import Turn
from protocol.identity import public_key

TICK_MS = 500
REST_MAX_TICKS = 60  # guess, not measured: twice a minute costs nothing and finds a peer soon after it returns
REFUSED_REST_TICKS = 7_200  # an hour
ANSWER_TICKS = 60  # should the answer to a dial be lost
DIALS_PER_TICK_MAX = 16  # guess, not measured
CONNECTIONS_MAX = 32  # guess, not measured: a gossip mesh wants 6 to 12
REACHED_MIN = 8  # peers that we dialled ourselves, however many have dialled us; guess, not measured
ADDRESSES_MAX = 256  # dialled at any time, and remembered; beyond it newcomers have to dial us
ADDRESSES_PER_PEER_MAX = 8  # as many as an advert has
REMEMBER_EVERY_TICKS = 60
FORGET_AFTER_MS = 14 * 24 * 3_600_000  # without an answer; guess, not measured
REMEMBERED_FOR_MS = 3_600_000  # what was advertised in the last run and never answered
ASLEEP_MS = 30_000  # a tick that comes so late means that the machine slept, or that its clock was set

Remembered = tuple[str, int]
"""An address, and the network time at which it last answered; 0 for never."""


@dataclass(slots=True)
class Address:
    """One way to a peer. `is_direct`: through no relay. `answered_at_ms`: when it last led there, 0 for never.
    `until_ms`: when what names it expires. `failure`: how the last dial failed, if no connection has come since."""

    is_operators: bool = False
    is_direct: bool = True
    answered_at_ms: int = 0
    until_ms: int = 0
    failure: DialFailed | None = None

    @property
    def promise(self) -> tuple[bool, int, bool, bool, int]:
        return (self.is_operators, self.answered_at_ms, self.is_direct, self.failure is None, self.until_ms)


@dataclass(slots=True)
class Target:
    """A peer that we try to reach."""

    addresses: dict[str, Address] = field(default_factory=dict)
    untried: list[str] = field(default_factory=list)  # of this round, the most promising first
    dialled: str = ""  # the address whose answer is awaited
    rounds: int = 0  # in which no address answered, since the last that did
    rest_ticks: int = 0  # until the next dial
    has_left: bool = False  # by its own word: only the operator's addresses are dialled until it is heard of again

    @property
    def promise(self) -> tuple[bool, int, bool, bool, int]:
        return max(address.promise for address in self.addresses.values())


class Dialling:
    """`bootstrap`: the operator's addresses, never given up; `remembered`: those of the last run."""

    def __init__(self, me: bytes, bootstrap: Sequence[str], remembered: Sequence[Remembered] = ()) -> None:
        self.bootstrap = tuple(address for address in bootstrap if peer_of(address) not in (None, me))
        self.reached: set[bytes] = set()  # connected peers that we dialled
        self._me = me
        self._targets: dict[bytes, Target] = {}
        self._remembered = tuple(remembered)
        self._is_changed = False  # since the last RememberPeers
        self._remember_in_ticks = 0
        self._last_tick_at_ms = 0

    def on_started(self, turn: Turn) -> None:
        self._last_tick_at_ms = turn.now_ms
        for address in self.bootstrap:
            self._add(address).is_operators = True
        until_ms = turn.now_ms + REMEMBERED_FOR_MS * turn.identity.genesis.clock.speed
        for address, answered_at_ms in self._remembered:
            if peer_of(address) not in (None, self._me) and (self.find(address) or self._has_room(address)):
                known = self._add(address)
                known.answered_at_ms, known.until_ms = min(answered_at_ms, turn.now_ms), until_ms
        self._dial_whoever_is_due(turn, frozenset())
        turn.do(SetTimeout(Timer(TimerKind.REDIAL), TICK_MS))

    def on_connected(self, turn: Turn, peer: bytes) -> None:
        target = self._targets.get(peer)
        if target is None:
            return
        if target.dialled:
            self.reached.add(peer)
            target.addresses[target.dialled].answered_at_ms = turn.now_ms
            self._is_changed = True
        for address in target.addresses.values():
            address.failure = None
        target.untried, target.dialled, target.rounds, target.rest_ticks = [], "", 0, 0
        target.has_left = False

    def on_disconnected(self, turn: Turn, peer: bytes) -> None:
        self.reached.discard(peer)
        if target := self._targets.get(peer):
            target.rest_ticks = 1 + turn.identity.chance.randrange(2)

    def on_left(self, peer: bytes) -> None:
        """It has said goodbye. Whoever comes back will dial us, or say where it is."""
        if target := self._targets.get(peer):
            target.has_left = True

    def on_dial_failed(self, turn: Turn, event: DialFailed) -> None:
        target = self._targets.get(peer_of(event.address) or b"")
        if target is None or target.dialled != event.address:
            return
        target.dialled = ""
        target.addresses[event.address].failure = event
        if target.untried:
            self._dial(turn, target)
            return
        target.rounds += 1
        failures = [address.failure for address in target.addresses.values()]
        is_refused = all(failure is not None and failure.is_refusal for failure in failures)
        ticks = REFUSED_REST_TICKS if is_refused else min(2 ** min(target.rounds - 1, 10), REST_MAX_TICKS)
        target.rest_ticks = ticks + turn.identity.chance.randrange(ticks + 1)

    def on_link_restarted(self, turn: Turn) -> None:
        """All connections are gone, and no answer to a dial will come."""
        self.reached.clear()
        self._rest_no_more(turn)

    def on_tick(self, turn: Turn, connected: set[bytes]) -> None:
        """Try again wherever it is time, keep what was learned, and forget what nobody names any more."""
        late_ms = turn.identity.genesis.clock.real_ms(max(0, turn.now_ms - self._last_tick_at_ms))
        self._last_tick_at_ms = turn.now_ms
        if late_ms > ASLEEP_MS:
            self._rest_no_more(turn)
        for peer, target in list(self._targets.items()):
            if peer not in connected:
                self._give_up(turn, target)
                target.rest_ticks -= target.rest_ticks > 0
            if not target.addresses:
                del self._targets[peer]
        self._dial_whoever_is_due(turn, connected)
        self._remember_in_ticks -= self._remember_in_ticks > 0
        if self._is_changed and not self._remember_in_ticks:
            self._remember(turn, connected)
        turn.do(SetTimeout(Timer(TimerKind.REDIAL), TICK_MS))

    def on_addresses(
        self, turn: Turn, peer: bytes, addresses: Sequence[str], until_ms: int, connected: set[bytes]
    ) -> None:
        """A peer has said under its signature where it is, for so long. It cannot lend that to others' addresses, and
        names of hosts are not looked up for strangers."""
        own = [a for a in dict.fromkeys(addresses) if peer_of(a) == peer and a.startswith(("/ip4/", "/ip6/"))]
        if peer == self._me:
            return
        if known := self._targets.get(peer):
            known.has_left = False
            for text, address in known.addresses.items():
                address.until_ms = until_ms if text in own else 0
        new = []
        for text in own:
            if self.find(text) is None and self._has_room(text):
                self._add(text).until_ms = until_ms
                new.append(text)
        if not new:
            return
        self._is_changed = True
        target = self._targets[peer]
        target.untried += new
        if not target.dialled and self._may_dial(peer, target, connected):
            self._dial(turn, target)

    def on_hints(self, turn: Turn, addresses: Sequence[str], until_ms: int, connected: set[bytes]) -> None:
        """Somebody says that peers are at these addresses, for so long: they are tried where there is room, and nothing
        that a peer has said itself goes for them."""
        for text in dict.fromkeys(addresses):
            peer = peer_of(text)
            is_new = peer not in (None, self._me, *connected) and self.find(text) is None
            if is_new and text.startswith(("/ip4/", "/ip6/")) and self._has_room(text):
                self._add(text).until_ms = until_ms
        self._dial_whoever_is_due(turn, connected)

    def find(self, address: str) -> Address | None:
        target = self._targets.get(peer_of(address) or b"")
        return target.addresses.get(address) if target else None

    def failed(self) -> Iterator[tuple[str, int, DialFailed]]:
        """Addresses that did not answer when last dialled: each, how often in a row its peer was tried, and why."""
        for target in self._targets.values():
            for text, address in target.addresses.items():
                if address.failure is not None:
                    yield text, max(1, target.rounds), address.failure

    def count(self) -> int:
        """Addresses in the book."""
        return sum(len(target.addresses) for target in self._targets.values())

    # --- within -----------------------------------------------------------------------------------------------------

    def _dial_whoever_is_due(self, turn: Turn, connected: set[bytes] | frozenset[bytes]) -> None:
        due = [
            target
            for peer, target in self._targets.items()
            if not target.rest_ticks and self._may_dial(peer, target, connected)
        ]
        for target in sorted(due, key=lambda target: target.promise, reverse=True)[:DIALS_PER_TICK_MAX]:
            self._dial(turn, target)

    def _may_dial(self, peer: bytes, target: Target, connected: set[bytes] | frozenset[bytes]) -> bool:
        if peer in connected:
            return False
        has_enough = len(connected) >= CONNECTIONS_MAX and len(self.reached) >= REACHED_MIN
        if has_enough or target.has_left:
            return any(address.is_operators for address in target.addresses.values())
        return True

    def _dial(self, turn: Turn, target: Target) -> None:
        if not target.untried:
            target.untried = sorted(target.addresses, key=lambda text: target.addresses[text].promise, reverse=True)
        target.dialled = target.untried.pop(0)
        target.rest_ticks = ANSWER_TICKS
        turn.do(Dial(target.dialled))

    def _rest_no_more(self, turn: Turn) -> None:
        for target in self._targets.values():
            target.untried, target.dialled, target.rounds = [], "", 0
            target.rest_ticks = turn.identity.chance.randrange(4)

    def _add(self, address: str) -> Address:
        target = self._targets.setdefault(peer_of(address) or b"", Target())
        return target.addresses.setdefault(address, Address(is_direct="/p2p-circuit/" not in address))

    def _has_room(self, address: str) -> bool:
        """Whether the book takes a newcomer: in place of one that is neither the operator's nor ever answered, and has
        failed."""
        target = self._targets.get(peer_of(address) or b"")
        if target is not None and len(target.addresses) >= ADDRESSES_PER_PEER_MAX:
            return self._push_out([target])
        return self.count() < ADDRESSES_MAX or self._push_out(list(self._targets.values()))

    def _push_out(self, targets: list[Target]) -> bool:
        for target in targets:
            for text, address in target.addresses.items():
                if address.failure is not None and not address.is_operators and not address.answered_at_ms:
                    self._remove(target, text)
                    return True
        return False

    def _give_up(self, turn: Turn, target: Target) -> None:
        """An address that nobody names any more, and that has not answered for long, is forgotten."""
        clock = turn.identity.genesis.clock
        for text, address in list(target.addresses.items()):
            silent_ms = clock.real_ms(max(0, turn.now_ms - address.answered_at_ms))
            is_remembered = address.answered_at_ms and silent_ms < FORGET_AFTER_MS
            if not (address.is_operators or is_remembered or address.until_ms > turn.now_ms):
                self._remove(target, text)
                self._is_changed = True

    def _remove(self, target: Target, text: str) -> None:
        del target.addresses[text]
        target.untried = [other for other in target.untried if other != text]
        if target.dialled == text:
            target.dialled = ""

    def _remember(self, turn: Turn, connected: set[bytes]) -> None:
        """Keep addresses for the next start, the most promising first."""
        for peer in self.reached & connected & self._targets.keys():
            best = max(self._targets[peer].addresses.values(), key=lambda address: address.answered_at_ms)
            best.answered_at_ms = turn.now_ms
        book = [item for target in self._targets.values() for item in target.addresses.items()]
        book.sort(key=lambda item: item[1].promise, reverse=True)
        turn.do(RememberPeers(tuple((text, address.answered_at_ms) for text, address in book)))
        self._is_changed, self._remember_in_ticks = False, REMEMBER_EVERY_TICKS


@lru_cache(maxsize=4 * ADDRESSES_MAX)
def peer_of(address: str) -> bytes | None:
    """The public key that an address ends in, if it names one."""
    try:
        return public_key(address.rpartition("/p2p/")[2])
    except ValueError:
        return None
