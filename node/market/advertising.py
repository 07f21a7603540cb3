"""Advertising: when this node says what, so that all know and nobody pays for what nobody needs.

A gossiped message costs every listener a few milliseconds, however short it is, so what counts is how many there are
(the arithmetic of these periods: protocol/SCALING.md). News are told at once, as long as there is a token; tokens come
one a minute. Without news a heartbeat keeps the advert alive. Peers that come later ask for it (`node.market.book`).
"""

from __future__ import annotations

from dataclasses import dataclass

from node.actions import Publish, SetTimeout
from node.events import Timer, TimerKind
from node.market.book import Parts
from node.market.offering import lifetime_ms
from node.peers import Peers
from node.turn import Turn
from protocol.adverts import Advert, SignedAdvert, SignedUpdate, goodbye, seal, update_of
from protocol.gossip import encode_batch
from protocol.regions import region_of

LOOK_EVERY_MS = 10_000  # of the machine's own time, as the next three: is there news?
SOON_MS = 500  # newcomers who come together hear one advert
PACE_MS = 60_000  # one token
TOKENS_MAX = 6
FEW_PEERS = 8  # about a gossip mesh: with so few it has only now grown, and reaches whom it did not reach before
HEARTBEATS = 3  # in a lifetime: two may be lost
FULL_EVERY_HEARTBEATS = 2
NEWS_PERMILLE = 100  # of what the machine draws at its peak, or of the grid's intensity
SOON = 1  # number of the timer that fires once


@dataclass(slots=True)
class Advertising:
    """`base` is the full advert that stands, `said` what all know by it and the updates since; None: nothing."""

    peers: Peers
    base: Advert | None = None
    said: Advert | None = None
    tokens: int = TOKENS_MAX
    token_ms: int = 0  # network time of the last one
    is_soon: bool = False
    repeats: bool = False  # for newcomers, whether or not there is news
    has_left: bool = False

    def on_started(self, turn: Turn) -> None:
        turn.do(SetTimeout(Timer(TimerKind.ADVERTISE), self._look_every_ms(turn)))

    def on_connected(self, turn: Turn) -> None:
        if len(self.peers.connected) <= FEW_PEERS:
            self.repeats = True
            self.soon(turn)

    def soon(self, turn: Turn) -> None:
        """There may be something new to say, or somebody new to say it to: do not wait for the period."""
        if not self.is_soon:
            self.is_soon = True
            turn.do(SetTimeout(Timer(TimerKind.ADVERTISE, number=SOON), SOON_MS))

    def on_timer(self, turn: Turn, timer: Timer, advert: Advert | None) -> None:
        """`advert`: what is on offer now; None while nobody knows."""
        if timer.number == SOON:
            self.is_soon = False
        else:
            turn.do(SetTimeout(Timer(TimerKind.ADVERTISE), self._look_every_ms(turn)))
        if advert is not None and not self.has_left:
            self._say(turn, advert)

    def leave(self, turn: Turn) -> None:
        """Say goodbye: the advert is void from now on, and no other follows."""
        if self.base is not None and self.said is not None and not self.has_left:
            told = goodbye(self.base, max(turn.now_ms, self.said.number + 1))
            self._publish(turn, self.base, seal(turn.identity.keypair, turn.identity.network, told))
            self.peers.book.parts.pop(turn.identity.key, None)
        self.has_left = True

    def _say(self, turn: Turn, advert: Advert) -> None:
        said, slot_ms = self.said, turn.identity.genesis.slot_ms
        heartbeat_ms = lifetime_ms(turn) // HEARTBEATS
        if said is not None and turn.now_ms - said.number < heartbeat_ms:
            if not self.repeats and not is_news(said, advert, slot_ms):
                return
            if not self._take_token(turn):
                return
        if said is not None and advert.number <= said.number:
            advert = advert.model_copy(update={"number": said.number + 1})
        self._tell(turn, advert, heartbeat_ms * FULL_EVERY_HEARTBEATS)
        self.said, self.repeats = advert, False

    def _tell(self, turn: Turn, advert: Advert, full_every_ms: int) -> None:
        """By an update, where that is a quarter shorter, and its base young enough to be handed to newcomers until the
        next full one."""
        keypair, network, key = turn.identity.keypair, turn.identity.network, turn.identity.key
        full = seal(keypair, network, advert)
        standing = self.peers.book.parts.get(key)
        if self.base is not None and standing is not None and turn.now_ms - self.base.number < full_every_ms:
            update = None if self.repeats else update_of(self.base, advert)
            if update is not None and len(short := seal(keypair, network, update)) * 4 < len(full) * 3:
                self.peers.book.parts[key] = Parts(standing.full, SignedUpdate(key, update, short))
                self._publish(turn, advert, short)
                return
        self.base = advert
        self.peers.book.parts[key] = Parts(SignedAdvert(key, advert, full))
        self._publish(turn, advert, full)

    def _publish(self, turn: Turn, advert: Advert, raw: bytes) -> None:
        topic = turn.identity.topics.adverts(region_of(advert.offer.place.zone))
        turn.do(Publish(topic, encode_batch((raw,))))

    def _take_token(self, turn: Turn) -> bool:
        """What nobody hears costs nobody anything."""
        pace_ms = PACE_MS * turn.identity.genesis.clock.speed
        new = (turn.now_ms - self.token_ms) // pace_ms
        self.tokens, self.token_ms = min(TOKENS_MAX, self.tokens + new), self.token_ms + new * pace_ms
        if self.peers.connected:
            if self.tokens < 1:
                return False
            self.tokens -= 1
        return True

    def _look_every_ms(self, turn: Turn) -> int:
        """Often enough for a heartbeat, on a network whose clock runs fast."""
        heartbeat_ms = turn.identity.genesis.clock.real_ms(lifetime_ms(turn) // HEARTBEATS)
        return max(SOON_MS, min(LOOK_EVERY_MS, heartbeat_ms // 2))


def is_news(said: Advert, advert: Advert, slot_ms: int) -> bool:
    """Whether a buyer would decide differently for it. That slots pass is no news until half of the forecast is over;
    another attestation is none either, only the first."""
    if (said.offer, said.label, said.free_units, said.addresses) != (
        advert.offer,
        advert.label,
        advert.free_units,
        advert.addresses,
    ):
        return True
    shift = advert.first_slot - said.first_slot
    if bool(said.attestations) != bool(advert.attestations) or shift < 0:
        return True
    if 2 * (len(said.grid_g_per_kwh) - shift) < len(advert.grid_g_per_kwh):
        return True
    offer = advert.offer
    peak_j = offer.units * offer.peak_w * offer.pue_permille * slot_ms // 10**6
    surplus = (
        *zip(said.surplus_s50_j[shift:], advert.surplus_s50_j, strict=False),
        *zip(said.surplus_s20_j[shift:], advert.surplus_s20_j, strict=False),
    )
    grid = zip(said.grid_g_per_kwh[shift:], advert.grid_g_per_kwh, strict=False)
    return any(abs(new - old) * 1000 > NEWS_PERMILLE * peak_j for old, new in surplus) or any(
        abs(new - old) * 1000 > NEWS_PERMILLE * old for old, new in grid
    )
