"""What the shells do for the core: open and verify what arrived, read what is asked for, one message at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger import snapshot
from ledger.feed import ForkProof
from ledger.store import Store
from node.actions import FindForks, ReadTree, Refold, SendEntries, SendIds, SendNews, Serving, Verify
from node.events import EntriesVerified, Event, ForksFound, Refolded
from node.running.trees import Trees
from protocol.direct import HEADS_MAX, Entries, News
from protocol.envelope import Entry, open_entry, parse
from protocol.errors import LocalError, Reject
from protocol.genesis import Genesis
from protocol.messages import ARRAY_MAX, Body

ENTRIES_PER_MESSAGE_BYTES = 1024 * 1024
ENTRIES_PER_REQUEST_MAX = 4096  # then `more`: the other asks again, so nobody is served for ever
NEWS_ENTRIES_MAX = 4096  # looked at for one answer


def open_entries(action: Verify, network: bytes) -> EntriesVerified:
    """Carry out a Verify: a quarter of a millisecond for each entry."""
    entries: list[Entry] = []
    refusals: list[str] = []
    for raw in action.raws:
        try:
            entries.append(open_entry(raw, network))
        except Reject as refusal:
            refusals.append(str(refusal))
    return EntriesVerified(action.peer, tuple(entries), tuple(refusals), action.more)


def find_forks(store: Store, action: FindForks) -> ForksFound:
    """Carry out a FindForks: each entry with the one that stands in its place here."""
    proofs = []
    for entry in action.entries:
        for raw in store.feed(entry.author, entry.seq, 1):
            own = parse(raw)
            if own.seq == entry.seq and own.id != entry.id:
                proofs.append(ForkProof(own, entry))
    return ForksFound(action.peer, tuple(proofs))


def read_event(store: Store, trees: Trees, genesis: Genesis, action: FindForks | ReadTree | Refold) -> Event | None:
    """Carry out an action whose answer lies in the store; None where there is none."""
    match action:
        case FindForks():
            return find_forks(store, action)
        case ReadTree():
            return trees.read(action)
        case Refold():
            try:
                return Refolded(snapshot.fold(genesis, store))
            except LocalError as error:
                return Refolded(None, str(error))


def read_answer(store: Store, action: Serving) -> Iterator[Body]:
    """The messages that answer a peer's question, each within the bounds of one."""
    match action:
        case SendEntries(_, ranges):
            return read_entries(store, ranges)
        case SendIds(_, ids):
            return read_ids(store, ids)
        case SendNews(_, epoch, after):
            return read_news(store, epoch, after)


def read_entries(store: Store, ranges: Sequence[tuple[bytes, int]]) -> Iterator[Entries]:
    """These feeds, each from a seq on."""
    left = ENTRIES_PER_REQUEST_MAX
    batch: list[bytes] = []
    size_bytes = 0
    for author, start_seq in ranges:
        from_seq = start_seq
        while left > 0:
            raws = store.feed(author, from_seq, min(left, ARRAY_MAX))
            for raw in raws:
                if len(batch) == ARRAY_MAX or size_bytes + len(raw) > ENTRIES_PER_MESSAGE_BYTES:
                    yield Entries(entries=tuple(batch), more=False)
                    batch, size_bytes = [], 0
                batch.append(raw)
                size_bytes += len(raw)
            left -= len(raws)
            from_seq += len(raws)
            if len(raws) < ARRAY_MAX:
                break
    if batch:
        yield Entries(entries=tuple(batch), more=left <= 0)


def read_ids(store: Store, ids: Sequence[bytes]) -> Iterator[Entries]:
    """Those of these entries that are here, in a feed or aside."""
    batch: list[bytes] = []
    size_bytes = 0
    for entry_id in ids:
        raw = store.entry(entry_id)
        if raw is not None:
            if size_bytes + len(raw) > ENTRIES_PER_MESSAGE_BYTES:
                yield Entries(entries=tuple(batch), more=False)
                batch, size_bytes = [], 0
            batch.append(raw)
            size_bytes += len(raw)
    if batch:
        yield Entries(entries=tuple(batch), more=False)


def read_news(store: Store, epoch: bytes, after: int) -> Iterator[News]:
    """Which feeds have grown behind a position: at most `HEADS_MAX` feeds, out of `NEWS_ENTRIES_MAX` entries."""
    feeds: dict[bytes, int] = {}
    position, left, more = after, NEWS_ENTRIES_MAX, False
    while left > 0 and not more and (page := store.page(position, min(left, ARRAY_MAX))):
        left -= len(page)
        for number, raw in page:
            entry = parse(raw)
            if entry.author not in feeds and len(feeds) == HEADS_MAX:
                more = True
                break
            feeds[entry.author], position = entry.seq, number
    yield News(epoch=epoch, position=position, feeds=tuple(sorted(feeds.items())), more=more or left <= 0)
