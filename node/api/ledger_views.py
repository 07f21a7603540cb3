"""Entries and heads as the API shows them, and the store's entries read in order. Pure but for the store passed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.archive import fingerprint, frames
from ledger.audit import violations
from ledger.ledger import FAR_FUTURE_MS, Ledger
from ledger.store import Store
from node.api.resources import EntryOf, HeadList, HeadOf, Verification
from node.api.views import peer
from node.core import Node
from protocol.envelope import Entry, Head, open_entry, parse
from protocol.errors import Ignore, Reject, VerificationFailed
from protocol.genesis import Genesis
from protocol.identity import KeyPair

PAGE_ENTRIES = 500  # about 30 ms of signatures: a worker thread is never held for long


@dataclass(frozen=True, slots=True)
class Found:
    """Entries that a search found, and where it stopped."""

    entries: list[tuple[int, Entry]]
    next_after: int
    more: bool


def search(store: Store, after: int, limit: int, wanted: Callable[[Entry], bool]) -> Found:
    """Up to `limit` wanted entries behind a position. Looks at no more than PAGE_ENTRIES: a rare kind needs patience,
    and the node's other work none."""
    page = store.page(after, PAGE_ENTRIES)
    found: list[tuple[int, Entry]] = []
    for position, raw in page:
        entry = parse(raw)
        if wanted(entry):
            found.append((position, entry))
        if len(found) == limit:
            return Found(found, position, more=position != page[-1][0] or len(page) == PAGE_ENTRIES)
    return Found(found, page[-1][0] if page else after, more=len(page) == PAGE_ENTRIES)


def entry_of(node: Node, entry: Entry, position: int | None) -> EntryOf:
    return EntryOf(
        position=position,
        id=entry.id.hex(),
        kind=entry.kind,
        author=peer(node, entry.author),
        seq=entry.seq,
        prev=entry.prev.hex(),
        time_ms=entry.time_ms,
        refs=tuple(ref.hex() for ref in entry.refs),
        body=plain(entry.body),
        void=node.ledger.state.voids.get(entry.id),
        confirmed=node.ledger.is_final(entry.author, entry.id) if node.ledger.genesis.witnesses else None,
        raw=entry.raw.hex(),
    )


def heads(node: Node) -> HeadList:
    listed = node.ledger.head_list()
    return HeadList(
        network=node.identity.network.hex(),
        entries=node.ledger.count,
        fingerprint=fingerprint(listed),
        heads=tuple(HeadOf(author=peer(node, head.author), seq=head.seq, id=head.id.hex()) for head in listed),
        forked=tuple(sorted(author.hex() for author in node.ledger.forks)),
    )


def check_store(store: Store) -> None:
    """Raises VerificationFailed, naming the first part of the store that is not as it was written."""
    for damage in store.check():
        raise _failed(damage)


class Verifier:
    """A second ledger, made from the stored bytes with nothing taken on trust."""

    def __init__(self, genesis: Genesis) -> None:
        self._ledger = Ledger(genesis)

    def extend(self, page: Iterable[tuple[int, bytes]]) -> None:
        """The next entries of the store. Raises VerificationFailed, naming the first that does not hold."""
        for position, raw in page:
            try:
                self._ledger.extend(open_entry(raw, self._ledger.network), FAR_FUTURE_MS)
            except (Reject, Ignore) as refusal:
                raise _failed(f"at entry {position}: {refusal}") from None

    def finish(self) -> Verification:
        """What was verified. Raises VerificationFailed if a promise of the whole is broken."""
        broken = violations(self._ledger.state)
        if broken:
            raise _failed(f"{len(broken)} promises are broken, first: {broken[0]}")
        return Verification(
            entries=self._ledger.count,
            fingerprint=fingerprint(self._ledger.head_list()),
            network=self._ledger.network.hex(),
            network_name=self._ledger.genesis.name,
        )


def archive(store: Store, genesis: Genesis, keypair: KeyPair, now_ms: int) -> Iterator[bytes]:
    """The archive of what is stored now, piece by piece; what comes later is not in it.

    Reads the store twice, since the seal names the heads and nothing may have to fit in memory.
    """
    newest: dict[bytes, Head] = {}
    last = 0
    for position, raw in _stored(store):
        entry = parse(raw)
        newest[entry.author] = Head(entry.author, entry.seq, entry.id)
        last = position
    raws = (raw for position, raw in _stored(store, last))
    return frames(genesis, raws, [head for _, head in sorted(newest.items())], keypair, now_ms)


def plain(value: Any) -> Any:
    """A decoded body as JSON has it: bytes as hexadecimal, arrays as lists."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _stored(store: Store, last: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Every (position, raw) up to a position, in the order in which they were accepted."""
    after = 0
    while page := store.page(after, PAGE_ENTRIES):
        for position, raw in page:
            if last is not None and position > last:
                return
            yield position, raw
            after = position


def _failed(cause: str) -> VerificationFailed:
    return VerificationFailed(
        "HEL-LEDGER-009",
        f"ledger verify: FAILED {cause}",
        "The store was changed behind the node's back. Stop the node, move its ledger away and start again: peers hold"
        " every entry.",
    )
