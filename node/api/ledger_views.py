"""Entries, heads, forks and proofs as the API shows them. Pure but for the store passed in: a running node's, that of a
stopped one, or one that an archive was read into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ledger import proof
from ledger.archive import Kind, fingerprint
from ledger.archive.check import Faulty, Verified
from ledger.archive.lines import plain
from ledger.archive.notes import ids_of
from ledger.checkpoint import open_note, sign
from ledger.doubles import described, doubles
from ledger.feed import ForkProof
from ledger.ledger import Ledger
from ledger.merkle import root_of
from ledger.state import JobRecord, State
from ledger.store import Store
from node.api.ledger_resources import EntryOf, ForkList, ForkOf, HeadList, HeadOf, Verification
from node.api.problems import Conflict, NotFound
from node.api.resources import Peer
from node.home.keys import key_of
from protocol.envelope import Entry, parse
from protocol.errors import VerificationFailed
from protocol.identity import KeyPair, peer_id

PAGE_ENTRIES = 500  # about 30 ms of decoding: a worker thread is never held for long

Names = Callable[[bytes], Peer]
Wanted = Callable[[Entry], bool]


@dataclass(frozen=True, slots=True)
class Found:
    """Entries that a search found, and where it stopped."""

    entries: list[tuple[int, Entry]]
    next_after: int
    more: bool


def search(store: Store, after: int, limit: int, wanted: Wanted) -> Found:
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


def filtered(state: State, author: str | None, kind: str | None, job: str | None) -> Wanted:
    """Which entries are wanted. A job's are all that refer to it, its awards, leases and receipts, void ones too.

    Raises LocalError for an author that is no key and no peer id, and NotFound for a job that is not known.
    """
    key = None if author is None else key_of(author)
    chain = None if job is None else _chain_of(find_job(state, job))

    def wanted(entry: Entry) -> bool:
        is_of_job = chain is None or entry.id in chain or not chain.isdisjoint(entry.refs)
        return key in (None, entry.author) and kind in (None, entry.kind) and is_of_job

    return wanted


def find_job(state: State, job: str) -> JobRecord:
    """The job of this id, 64 hexadecimal digits. Raises NotFound."""
    record = state.jobs.get(bytes.fromhex(job))
    if record is None:
        raise NotFound("HEL-JOB-003", f"no job {job} is known here", "List them with: heliotrope job list")
    return record


def _chain_of(record: JobRecord) -> set[bytes]:
    leases = [placement.lease for placement in record.placements if placement.lease is not None]
    receipts = (receipt.id for lease in leases for receipt in lease.receipts)
    return {record.id, *record.awards, *(lease.id for lease in leases), *receipts}


def entry_of(ledger: Ledger, names: Names, entry: Entry, position: int | None) -> EntryOf:
    return EntryOf(
        position=position,
        id=entry.id.hex(),
        kind=entry.kind,
        author=names(entry.author),
        seq=entry.seq,
        prev=entry.prev.hex(),
        time_ms=entry.time_ms,
        refs=tuple(ref.hex() for ref in entry.refs),
        body=plain(entry.body),
        void=ledger.state.voids.get(entry.id),
        confirmed=ledger.is_final(entry.author, entry.id) if ledger.genesis.witnesses else None,
        raw=entry.raw.hex(),
    )


def heads(ledger: Ledger, names: Names) -> HeadList:
    listed = ledger.head_list()
    return HeadList(
        network=ledger.network.hex(),
        entries=ledger.count,
        fingerprint=fingerprint(listed),
        heads=tuple(HeadOf(author=names(head.author), seq=head.seq, id=head.id.hex()) for head in listed),
        forked=tuple(sorted(author.hex() for author in ledger.forks)),
    )


def forks(ledger: Ledger, names: Names) -> ForkList:
    return fork_list((proof for _, proof in sorted(ledger.forks.items())), names)


def fork_list(proofs: Iterable[ForkProof], names: Names) -> ForkList:
    return ForkList(forks=tuple(_fork(proof, names) for proof in proofs))


def _fork(found: ForkProof, names: Names) -> ForkOf:
    author = names(found.author)
    a, b = (HeadOf(author=author, seq=entry.seq, id=entry.id.hex()) for entry in (found.a, found.b))
    return ForkOf(
        author=author,
        frozen_from=found.seq,
        since_ms=min(found.a.time_ms, found.b.time_ms),
        entries=(a, b),
        raws=(found.a.raw.hex(), found.b.raw.hex()),
    )


def check_store(store: Store) -> None:
    """Raises VerificationFailed, naming the first part of the store that is not as it was written."""
    for damage in store.check():
        raise _damaged(damage)


@contextmanager
def faults_of_the_store() -> Iterator[None]:
    """What is found wrong in a store's parts, as VerificationFailed for whoever runs the node."""
    try:
        yield
    except Faulty as fault:
        raise _damaged(fault.cause) from None


def _damaged(cause: str) -> VerificationFailed:
    return VerificationFailed(
        "HEL-LEDGER-009",
        f"ledger verify: FAILED at {cause}",
        "The store was changed behind the node's back. Stop the node, move its ledger away and start again: peers hold"
        " every entry.",
    )


def verification(verified: Verified) -> Verification:
    ledger, counts = verified.ledger, verified.counts
    return Verification(
        entries=ledger.count,
        forks=counts[Kind.FORK],
        asides=counts[Kind.ASIDE],
        checkpoints=counts[Kind.CHECKPOINT],
        matchings=counts[Kind.MATCHING],
        fingerprint=fingerprint(ledger.head_list()),
        network=ledger.network.hex(),
        network_name=ledger.genesis.name,
        doubles=tuple(map(described, doubles(ledger.state))),
    )


def prove(store: Store, network: bytes, entry_id: bytes, keypair: KeyPair | None) -> bytes:
    """A proof file of a stored entry (`ledger.proof`): by the final checkpoint if it covers the entry, else the newest
    that does; for an entry of the key's own, where none does, by one that is signed now.

    Raises NotFound, and Conflict where no checkpoint covers the entry yet.
    """
    raw = store.entry(entry_id)
    if raw is None:
        raise NotFound("HEL-LEDGER-010", f"no entry {entry_id.hex()} is in this ledger", "It may not have arrived yet.")
    entry = parse(raw)
    kept = [each for each in store.checkpoints() if each.author == entry.author and each.size > entry.seq]
    for checkpoint in sorted(kept, key=lambda each: (each.final, each.size), reverse=True):
        note, _ = open_note(checkpoint.note.encode(), network)
        ids = list(ids_of(store, entry.author, checkpoint.size))
        # Of a fork's other branch there may be a checkpoint here, or an entry kept aside: neither proves the other.
        if len(ids) == checkpoint.size and ids[entry.seq] == entry_id and root_of(ids) == note.checkpoint.root:
            return proof.build(entry, ids, note)
    if keypair is None or entry.author != keypair.public or store.ids(entry.author, entry.seq, 1) != [entry_id]:
        raise Conflict(
            "HEL-LEDGER-013",
            f"no checkpoint of {peer_id(entry.author)} that is known here covers its entry {entry.seq}",
            "Ask again later, or its author: a node can always prove its own entries.",
        )
    # It says what the feed says, which is stored: nothing is promised that the key has not signed before.
    ids = list(ids_of(store, entry.author, entry.seq + 1))
    return proof.build(entry, ids, sign(keypair, network, len(ids), root_of(ids)))
