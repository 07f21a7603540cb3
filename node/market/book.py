"""The book of adverts: what each provider says now, by its newest full advert and what changed since.

Gossip brings adverts rarely, so what is missing is asked for by direct message: by a newcomer all of them, page by
page; by others the full advert that an update changes. What nobody sent is asked for again, a few times.

Everything that a stranger can fill is bounded, and so is what a stranger can have us answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest

from node.actions import Send, SetTimeout
from node.events import Timer, TimerKind
from node.turn import Turn
from protocol.adverts import SignedAdvert, SignedUpdate, open_advert, updated
from protocol.direct import WANTED_MAX, Adverts, WantAdverts
from protocol.errors import Ignore, Reject
from protocol.gossip import CLOCK_SKEW_MAX_MS, judge_advert
from protocol.regions import REGIONS, region_of

ADVERTS_MAX = 10_000
GONE_MAX = 1_000  # goodbyes remembered; of one that is forgotten an older advert, replayed, holds until it expires
TICK_MS = 500
SOURCES = 3  # so many are asked for all adverts: one alone might withhold some
ANSWER_MAX_BYTES = 256 * 1024
ANSWERS_PER_TICK_MAX = 16  # together: a page costs a millisecond, so this is 3 % of a core
ANSWERS_PER_PEER_MAX = 2  # in a tick
LACKING_MAX = 1_024
TRIES_MAX = 3
WAIT_TICKS = 16  # for an answer; and before an author is asked for again


@dataclass(frozen=True, slots=True)
class Parts:
    """How an author's advert was sealed."""

    full: SignedAdvert
    update: SignedUpdate | None = None

    @property
    def raws(self) -> tuple[bytes, ...]:
        return (self.full.raw,) if self.update is None else (self.full.raw, self.update.raw)

    @property
    def said(self) -> int:
        """The number of the newest."""
        return self.full.advert.number if self.update is None else self.update.update.number

    def is_fresh(self, now_ms: int) -> bool:
        ends_ms = self.full.advert.expires_at_ms
        return min(ends_ms, ends_ms if self.update is None else self.update.update.expires_at_ms) > now_ms


@dataclass(slots=True)
class Lack:
    """An author of whom something is missing: what has this number, heard of by this peer."""

    number: int
    peer: bytes
    tries: int = 0
    pause: int = 0  # ticks until it is asked for


@dataclass(slots=True)
class Page:
    """How far the book of a peer has been read."""

    since: int
    after: bytes = b""
    tries: int = 0


@dataclass(slots=True)
class Asked:
    authors: tuple[bytes, ...]  # none: a page
    ticks: int = WAIT_TICKS


@dataclass(slots=True)
class AdvertBook:
    """`me`: our key, whose own advert stands in `parts` only. `regions`: whose adverts this node listens to."""

    me: bytes
    regions: frozenset[str] = frozenset(REGIONS)
    adverts: dict[bytes, SignedAdvert] = field(default_factory=dict)  # with updates applied; `raw` is the full one's
    parts: dict[bytes, Parts] = field(default_factory=dict)
    gone: dict[bytes, int] = field(default_factory=dict)  # the number of an author's goodbye
    lacking: dict[bytes, Lack] = field(default_factory=dict)
    pages: dict[bytes, Page] = field(default_factory=dict)  # by peer
    asked: dict[bytes, Asked] = field(default_factory=dict)  # one question at a time to each peer
    answered: Counter[bytes] = field(default_factory=Counter)  # in this tick
    left_ms: int = 0  # network time at which the last peer was lost

    def fresh(self, now_ms: int) -> list[SignedAdvert]:
        """Adverts that have not expired, ordered by peer."""
        return [s for _, s in sorted(self.adverts.items()) if s.advert.expires_at_ms > now_ms]

    # --- taking -----------------------------------------------------------------------------------------------------

    def take(self, now_ms: int, peer: bytes, item: SignedAdvert | SignedUpdate) -> None:
        """Keep what is newer than what its author said before. `peer` brought it, and may have what is missing."""
        author = item.author
        number = item.advert.number if isinstance(item, SignedAdvert) else item.update.number
        known = self.adverts.get(author)
        if author == self.me or number <= max(self.gone.get(author, -1), known.advert.number if known else -1):
            return  # an old one, replayed
        if isinstance(item, SignedAdvert):
            if known is not None or self._has_room(now_ms):
                self._keep(item, Parts(item))
        elif item.update.is_goodbye:
            self._bury(author, number)
        else:
            self._update(peer, item)

    def _has_room(self, now_ms: int) -> bool:
        """A book full of living peers has none for a newcomer."""
        if len(self.adverts) >= ADVERTS_MAX:
            self.adverts = {key: s for key, s in self.adverts.items() if s.advert.expires_at_ms > now_ms}
            self.parts = {key: p for key, p in self.parts.items() if key in self.adverts or key == self.me}
        return len(self.adverts) < ADVERTS_MAX

    def _keep(self, said: SignedAdvert, parts: Parts) -> None:
        self.adverts[said.author], self.parts[said.author] = said, parts
        self.gone.pop(said.author, None)
        lack = self.lacking.get(said.author)
        if lack is not None and lack.number <= said.advert.number:
            del self.lacking[said.author]

    def _bury(self, author: bytes, number: int) -> None:
        for book in (self.adverts, self.parts, self.lacking, self.gone):
            book.pop(author, None)
        while len(self.gone) >= GONE_MAX:
            del self.gone[next(iter(self.gone))]
        self.gone[author] = number

    def _update(self, peer: bytes, item: SignedUpdate) -> None:
        parts = self.parts.get(item.author)
        if parts is None or parts.full.advert.number != item.update.base_number:
            self._miss(item.author, item.update.number, peer)
            return
        try:
            advert = updated(parts.full.advert, item.update)
        except Reject:
            return  # its author's fault, and its author's loss
        self._keep(SignedAdvert(item.author, advert, parts.full.raw), Parts(parts.full, item))

    def _miss(self, author: bytes, number: int, peer: bytes) -> None:
        lack = self.lacking.get(author)
        if lack is not None:
            lack.number = max(lack.number, number)  # asked for already, or soon: however often it is missed
        elif len(self.lacking) < LACKING_MAX:
            self.lacking[author] = Lack(number, peer)

    # --- asking -----------------------------------------------------------------------------------------------------

    def on_started(self, turn: Turn) -> None:
        turn.do(SetTimeout(Timer(TimerKind.ASK_ADVERTS), TICK_MS))

    def on_connected(self, turn: Turn, peer: bytes, connected: set[bytes]) -> None:
        """Ask the first peers for all that we missed while we had none, and others for what they say themselves."""
        if len(connected) <= SOURCES:
            self.pages[peer] = Page(max(0, self.left_ms - CLOCK_SKEW_MAX_MS))
        elif peer not in self.adverts:
            self._miss(peer, 0, peer)
        self._ask(turn, peer, ())

    def on_disconnected(self, turn: Turn, peer: bytes, connected: set[bytes]) -> None:
        self.pages.pop(peer, None)
        self.asked.pop(peer, None)
        if not connected:
            self.left_ms = turn.now_ms

    def on_tick(self, turn: Turn, connected: set[bytes]) -> None:
        """Ask for what is missing: its author, else whoever told us of it, else somebody."""
        self.answered.clear()
        for peer, asked in list(self.asked.items()):
            asked.ticks -= 1
            if asked.ticks <= 0:
                del self.asked[peer]
        wanted: dict[bytes, list[bytes]] = {peer: [] for peer in self.pages}
        someone = sorted(connected)
        for author, lack in list(self.lacking.items()):
            if lack.pause > 0:
                lack.pause -= 1
            elif lack.tries >= TRIES_MAX:
                del self.lacking[author]
            elif someone:
                if author in connected:
                    peer = author
                elif lack.peer in connected and not lack.tries:
                    peer = lack.peer
                else:
                    peer = turn.identity.chance.choice(someone)
                wanted.setdefault(peer, []).append(author)
        for peer, authors in wanted.items():
            self._ask(turn, peer, tuple(authors[:WANTED_MAX]))
        turn.do(SetTimeout(Timer(TimerKind.ASK_ADVERTS), TICK_MS))

    def _ask(self, turn: Turn, peer: bytes, authors: tuple[bytes, ...]) -> None:
        """Ask a peer for these authors, or for a page of its book if there are none; one thing after the other."""
        page = self.pages.get(peer)
        if peer in self.asked:
            return
        if authors:
            for author in authors:
                self.lacking[author].tries += 1
                self.lacking[author].pause = WAIT_TICKS
            want = WantAdverts(authors=authors, regions=(), since=0, after=b"")
        elif page is not None and page.tries < TRIES_MAX:
            page.tries += 1
            want = WantAdverts(authors=(), regions=tuple(sorted(self.regions)), since=page.since, after=page.after)
        else:
            self.pages.pop(peer, None)
            return
        self.asked[peer] = Asked(authors)
        turn.do(Send(peer, want))

    def on_answer(self, turn: Turn, peer: bytes, message: Adverts) -> Sequence[SignedAdvert | SignedUpdate]:
        """What of an answer is worth taking; nothing of one that was not asked for: each item costs a signature."""
        asked = self.asked.pop(peer, None)
        if asked is None:
            return ()
        items: list[SignedAdvert | SignedUpdate] = []
        for raw in message.adverts:
            try:
                item = open_advert(raw, turn.identity.network)
                judge_advert(item, _region(item), turn.now_ms)
            except (Ignore, Reject):
                continue
            known = item.author in self.parts or (items and items[-1].author == item.author)  # by its full advert
            if known or item.author in asked.authors or _region(item) in self.regions:
                items.append(item)
        for author in asked.authors:
            if author in self.lacking and self.lacking[author].number == 0:
                del self.lacking[author]  # it advertises nothing
        page = self.pages.get(peer)
        if page is not None and not asked.authors:
            last = items[-1].author if items else b""
            if message.more and last > page.after:
                page.after, page.tries = last, 0
            else:
                del self.pages[peer]
        return items

    # --- answering --------------------------------------------------------------------------------------------------

    def on_want(self, turn: Turn, peer: bytes, message: WantAdverts) -> None:
        """Answer within bounds; whoever asks too often is not answered, and asks again."""
        if self.answered[peer] >= ANSWERS_PER_PEER_MAX or self.answered.total() >= ANSWERS_PER_TICK_MAX:
            return
        self.answered[peer] += 1
        wanted = dict.fromkeys(message.authors) or self._page(message, turn.now_ms)
        told: list[bytes] = []
        size_bytes, more = 0, len(wanted) > WANTED_MAX
        for author in list(wanted)[:WANTED_MAX]:
            parts = self.parts.get(author)
            if parts is None or not parts.is_fresh(turn.now_ms):
                continue
            size_bytes += sum(map(len, parts.raws))
            if size_bytes > ANSWER_MAX_BYTES:
                more = True
                break
            told += parts.raws
        turn.do(Send(peer, Adverts(adverts=tuple(told), more=more)))

    def _page(self, message: WantAdverts, now_ms: int) -> dict[bytes, None]:
        """The next authors behind `after`, one more than fit."""
        regions = frozenset(message.regions)
        behind: Iterable[bytes] = (
            author
            for author, parts in self.parts.items()
            if author > message.after
            and parts.said >= message.since
            and parts.is_fresh(now_ms)
            and _region(parts.full) in regions
        )
        return dict.fromkeys(nsmallest(WANTED_MAX + 1, behind))


def _region(item: SignedAdvert | SignedUpdate) -> str:
    """Where an advert belongs; an update says it nowhere."""
    return region_of(item.advert.offer.place.zone) if isinstance(item, SignedAdvert) else ""
