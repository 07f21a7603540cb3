"""An archive is checked: every encoding, signature, chain, rule, sum and reference, and that nothing is missing.

Nothing that stands in the file is believed, and nothing is kept of it but what the fold keeps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, BinaryIO, NoReturn

from pydantic import ValidationError

from ledger.archive import COUNTED, Kind, Part, failed, forks, frames, heads_hash, lines, seal
from ledger.archive.notes import known_lines
from ledger.archive.write import named_matching
from ledger.audit import violations
from ledger.checkpoint import is_final, open_note
from ledger.feed import prove_fork
from ledger.ledger import Ledger
from protocol.adverts import first_fault
from protocol.codec import decode
from protocol.envelope import Entry, open_entry, open_parsed, parse
from protocol.errors import Ignore, Reject
from protocol.genesis import Genesis
from protocol.identity import peer_id

OnPart = Callable[[Part, Entry | None], None]  # and what an entry says
ORDER = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Verified:
    """What a checked archive holds."""

    ledger: Ledger
    counts: Counter[Kind]
    seal: seal.Seal


def split(file: BinaryIO) -> Iterator[Part]:
    """The parts of an archive, in bytes or in JSON lines. Raises VerificationFailed."""
    opening = file.read(len(lines.OPENING))
    file.seek(0)
    return lines.read(file) if opening == lines.OPENING else frames.read(file)


def verify(file: BinaryIO, on_part: OnPart | None = None) -> Verified:
    """Check everything; `on_part` sees each part once it has been.

    Raises VerificationFailed, naming what is wrong, in which part, and at which byte that part begins.
    """
    check = Check()
    try:
        for part, entry in check.run(split(file)):
            if on_part is not None:
                on_part(part, entry)
    except Faulty as fault:
        raise failed(fault.part.offset, fault.cause) from None
    return check.verified()


class Faulty(Exception):
    """A part that cannot be relied on. `cause` begins with its name."""

    def __init__(self, part: Part, cause: str) -> None:
        super().__init__(cause)
        self.part = part
        self.cause = cause


@dataclass(slots=True)
class Check:
    """What has been seen of an archive, and what is still owed. The checks, beside those of every entry and note:

    1. Parts come in the order of their kinds, the genesis and the seal once.
    2. Those of a kind rise by what they are ordered by, so that none comes twice.
    3. The genesis is a document of its one spelling, and the one that the network is named after.
    4. A fork's two entries are signed, and prove it.
    5. An entry is kept aside of an author that has forked there or below, and another entry refers to it.
    6. A checkpoint has lines of known keys only, and is of the entries in the file.
    7. An entry continues its feed, and is not kept aside as well.
    8. A matching has a hash that an award names.
    9. The seal is its exporter's, and speaks of what stands before it.
    10. The ledger's promises hold.
    """

    tally: seal.Tally = field(default_factory=seal.Tally)
    sealed: seal.Seal | None = None
    ledger: Ledger = field(init=False)
    _last: tuple[int, Any] = (-1, None)  # place of the last part: its kind's, and its own among its like
    # Of parts that are kept in mind only their place is kept: a file must not cost more memory than its fold.
    _unreferred: dict[bytes, Part] = field(default_factory=dict)  # kept aside, and no entry has referred to it yet
    _owed: dict[tuple[bytes, int], tuple[Part, bytes]] = field(default_factory=dict)  # (author, size) → note, root
    _recorded: set[bytes] = field(default_factory=set)  # matchings that awards name

    def run(self, parts: Iterator[Part]) -> Iterator[tuple[Part, Entry | None]]:
        """Check parts one by one; each is given once it has been, an entry's with what it says. Raises Faulty."""
        for part in parts:
            yield part, self._take(part)

    def verified(self) -> Verified:
        """What was checked, up to its seal."""
        if self.sealed is None:
            raise ValueError("no seal was checked")
        return Verified(self.ledger, self.tally.counts, self.sealed)

    def _take(self, part: Part) -> Entry | None:
        number = self.tally.counts[part.kind] + 1
        name = f"{part.kind.label} number {number}" if part.kind in COUNTED else f"the {part.kind.label}"
        entry = None
        try:
            self._in_order(part)
            if part.kind is Kind.ENTRY:
                entry = parse(part.data)
                name += f" (seq {entry.seq} of {peer_id(entry.author)})"
                self._entry(entry)
            else:
                self._other(part)
        except (Reject, Ignore) as refusal:
            raise Faulty(part, f"{name}: {refusal}") from None
        self.tally.add(part)
        return entry

    def _other(self, part: Part) -> None:
        match part.kind:
            case Kind.GENESIS:
                self._genesis(part)
            case Kind.FORK:
                self._fork(part)
            case Kind.ASIDE:
                self._put_aside(part)
            case Kind.CHECKPOINT:
                self._checkpoint(part)
            case Kind.MATCHING:
                self._matching(part)
            case Kind.SEAL:
                self._seal(part)

    def _in_order(self, part: Part) -> None:
        place, last = ORDER[part.kind], self._last[0]
        if last < 0 and part.kind is not Kind.GENESIS:
            raise Reject("archive check 1: the genesis must come first")
        if place < last or (place == last and part.kind not in COUNTED):
            raise Reject("archive check 1: it stands behind parts that must follow it")
        if place > last:
            self._last = place, None

    def _rising(self, own: Any) -> None:
        """Parts of a kind stand in one order, so that none comes twice."""
        place, last = self._last
        if last is not None and own <= last:
            raise Reject("archive check 2: it stands behind one that must follow it, or comes twice")
        self._last = place, own

    def _genesis(self, part: Part) -> None:
        named, document = part.data[:32], part.data[32:]
        try:
            genesis = Genesis.model_validate(decode(document))
        except ValidationError as error:
            raise Reject(f"archive check 3: {first_fault(error)}") from None
        if genesis.encoded() != document:
            raise Reject(
                "archive check 3: a field is left to its default: the network's id would not be the document's hash"
            )
        if genesis.network_id() != named:
            raise Reject(
                f"archive check 3: the document is not that of network {named.hex()[:16]}, but of"
                f" {genesis.network_id().hex()[:16]}"
            )
        self.ledger = Ledger(genesis)

    def _fork(self, part: Part) -> None:
        a, b = forks.open_pair(part.data)
        for entry in (a, b):
            open_entry(entry.raw, self.ledger.network)
        self._rising(a.author)
        self.ledger.freeze(prove_fork(a, b))

    def _put_aside(self, part: Part) -> None:
        entry = open_entry(part.data, self.ledger.network)
        self._rising(entry.id)
        if self.ledger.state.frozen_from.get(entry.author, entry.seq + 1) > entry.seq:
            raise Reject(
                f"archive check 5: no fork of {entry.author.hex()[:8]} at seq {entry.seq} or below is in the file"
            )
        self.ledger.state.aside.add(entry.id)
        self._unreferred[entry.id] = _place(part)

    def _checkpoint(self, part: Part) -> None:
        note, author = open_note(part.data, self.ledger.network)
        if known_lines(note, author, self.ledger.genesis) != note:
            raise Reject("archive check 6: a line is of a key that is neither the author's nor a witness's")
        size = note.checkpoint.size
        self._rising((author, size))
        if size == 0:
            raise Reject("archive check 6: it covers no entry")
        self._owed[author, size] = _place(part), note.checkpoint.root
        if is_final(note, self.ledger.network, self.ledger.genesis.witnesses):
            self.ledger.presume_final(author, size)

    def _entry(self, entry: Entry) -> None:
        open_parsed(entry, self.ledger.network)
        if entry.id in self.ledger.state.aside:
            raise Reject("archive check 7: it is kept aside already")
        self.ledger.restore(entry)
        self._recorded.update(named_matching(entry))
        for ref in entry.refs if self._unreferred else ():
            self._unreferred.pop(ref, None)
        if self._owed:
            part, root = self._owed.pop((entry.author, entry.seq + 1), (None, b""))
            if part is not None and self.ledger.trees[entry.author].root() != root:
                _not_of_these(part, entry.author, entry.seq + 1)
            final = self.ledger.finals.get(entry.author)
            if final is not None and final.size == entry.seq + 1:
                self.ledger.finalize(entry.author, final.size, entry.id)

    def _matching(self, part: Part) -> None:
        found = sha256(part.data).digest()
        self._rising(found)
        if found not in self._recorded:
            raise Reject(f"archive check 8: its hash is {found.hex()}, which no award names")

    def _seal(self, part: Part) -> None:
        for (author, size), (owed, _) in self._owed.items():
            _not_of_these(owed, author, size)
        for aside_id, aside in self._unreferred.items():
            raise Faulty(aside, f"aside {aside_id.hex()[:16]}: archive check 5: no entry in the file refers to it")
        heads = heads_hash(self.ledger.head_list())
        self.sealed = seal.open_seal(part.data, self.tally, self.ledger.network, heads)
        broken = violations(self.ledger.state)
        if broken:
            raise Reject(f"archive check 10: {len(broken)} promises are broken, first: {broken[0]}")


def _place(part: Part) -> Part:
    return Part(part.kind, b"", part.offset)


def _not_of_these(part: Part, author: bytes, size: int) -> NoReturn:
    raise Faulty(
        part, f"checkpoint of {peer_id(author)}: archive check 6: its {size} entries are not those in the file"
    )
