"""A checked archive is taken into a ledger: only what continues what is there. Pure but for the store passed in.

The archive was verified as a whole before, and may have been changed on the disk since: whatever is new here is
verified once more. The own feed is only ever continued, with entries that the own key has signed, so that no seq is
signed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger.archive import Kind, Part, forks
from ledger.archive.notes import known_lines, root_of_feed
from ledger.checkpoint import is_final, open_note
from ledger.feed import Fork, ForkProof, prove_fork
from ledger.ledger import Ledger
from ledger.store import Store
from protocol.envelope import Entry, open_entry, open_parsed, parse
from protocol.errors import Ignore
from protocol.messages import INTEGER_MAX

BATCH = 1024  # entries in one transaction


@dataclass(slots=True)
class Import:
    """`own`: the home's key. `dry`: the store is read, and nothing is written to it."""

    ledger: Ledger
    store: Store
    own: bytes
    now_ms: int
    dry: bool
    counts: Counter[str] = field(default_factory=Counter)  # added, own, known, left_out, aside, checkpoints
    found: dict[bytes, ForkProof] = field(default_factory=dict)  # forks that were not known here
    _kept_from: dict[bytes, int] = field(init=False)  # seqs of the forks in the store: the ledger knows one sooner
    _batch: list[Entry] = field(default_factory=list)
    _notes: dict[tuple[bytes, int], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._kept_from = {proof.author: proof.seq for proof in self.ledger.forks.values()}

    def take(self, part: Part) -> None:
        """The next part of the archive; matchings are no matter of the ledger's. Raises Reject for what was changed
        since it was verified."""
        match part.kind:
            case Kind.FORK:
                a, b = forks.open_pair(part.data)
                self._on_fork(prove_fork(*(open_entry(entry.raw, self.ledger.network) for entry in (a, b))))
            case Kind.CHECKPOINT:
                note, author = open_note(part.data, self.ledger.network)
                self._notes[author, note.checkpoint.size] = part.data
                if is_final(note, self.ledger.network, self.ledger.genesis.witnesses):
                    self.ledger.admit(author, note.checkpoint.size)
            case Kind.ENTRY:
                self._take_entry(parse(part.data))
            case _:
                pass

    def take_aside(self, parts: Iterable[Part]) -> None:
        """What has been left out, of forks' other branches, and entries that were added wait for: again and again,
        since one may wait for the next."""
        waiting = self.ledger.missing_refs()
        for part in parts if waiting else ():
            if part.kind in (Kind.ASIDE, Kind.ENTRY) and (entry := parse(part.data)).id in waiting:
                self._put_aside(open_parsed(entry, self.ledger.network))

    def finish(self) -> None:
        """Write what is still held back."""
        self._flush()
        for (author, size), raw in self._notes.items():
            if self.ledger.size(author) < size:
                continue
            note, _ = open_note(raw, self.ledger.network)
            # Of a forked author the home may hold the other branch; what was not written cannot be asked.
            if author in self.ledger.forks and (
                self.dry or root_of_feed(self.store, author, size) != note.checkpoint.root
            ):
                continue
            kept = known_lines(note, author, self.ledger.genesis)
            self.counts["checkpoints"] += 1
            if not self.dry:
                final = is_final(kept, self.ledger.network, self.ledger.genesis.witnesses)
                self.store.set_checkpoint(author, size, kept.encoded().decode(), final)

    def _take_entry(self, entry: Entry) -> None:
        ledger = self.ledger
        if entry.id in ledger.positions:
            self.counts["known"] += 1
            return
        was_aside = entry.id in ledger.state.aside  # it may be final, and come to stand in its feed
        open_parsed(entry, ledger.network)
        try:
            ledger.extend(entry, self.now_ms)
        except Fork as fork:
            self._on_fork(fork.proof)
        except Ignore:
            if was_aside:
                self.counts["known"] += 1
                return
            self._compare(entry)
        else:
            self.counts["added"] += 1
            self.counts["own"] += entry.author == self.own
            self._batch.append(entry)
            if len(self._batch) == BATCH:
                self._flush()
            return
        self.counts["left_out"] += 1

    def _compare(self, entry: Entry) -> None:
        """An entry that is not taken: another may stand in its place, which is a fork."""
        known = self.ledger.forks.get(entry.author)
        if known is None or entry.seq < known.seq:
            for raw in self.store.feed(entry.author, entry.seq, 1):
                self._on_fork(prove_fork(parse(raw), entry))

    def _put_aside(self, entry: Entry) -> None:
        try:
            self.ledger.put_aside(entry)
        except Ignore:
            return
        self.counts["aside"] += 1
        if not self.dry:
            self.store.add_aside([entry])

    def _on_fork(self, proof: ForkProof) -> None:
        if proof.seq < self._kept_from.get(proof.author, INTEGER_MAX + 1):
            self.ledger.freeze(proof)
            self._kept_from[proof.author] = proof.seq
            self.found[proof.author] = proof
            self._flush()
            if not self.dry:
                self.store.add_fork(proof)

    def _flush(self) -> None:
        if self._batch and not self.dry:
            self.store.append(self._batch, durable=any(entry.author == self.own for entry in self._batch))
        self._batch.clear()
