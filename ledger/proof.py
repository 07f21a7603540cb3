"""Proof files: that an author's feed holds an entry, checked offline with the genesis alone (C2SP tlog-proof).

    c2sp.org/tlog-proof@v1
    extra <base64 of the entry, raw>
    index <the entry's seq>
    <base64 of a hash>                    the inclusion proof, from the leaf's sibling up
                                          an empty line
    <the checkpoint>                      as `ledger.checkpoint` has it

Whoever relies on it knows that the author signed the entry and cannot take it back without a fork; where a quorum of
the network's witnesses cosigned, not even then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.checkpoint import (
    NOTE_MAX_BYTES,
    Note,
    author_of,
    check_author,
    cosigners,
    parse_note,
    quorum,
    read_base64,
    read_decimal,
    read_hash,
    split_lines,
    to_base64,
)
from ledger.merkle import PROOF_MAX, inclusion_proof, verify_inclusion
from protocol.codec import VALUE_MAX_BYTES
from protocol.envelope import Entry, open_entry
from protocol.errors import Reject, VerificationFailed
from protocol.genesis import Genesis
from protocol.identity import peer_id

MAGIC = "c2sp.org/tlog-proof@v1"
PROOF_MAX_BYTES = NOTE_MAX_BYTES + 32 * 1024  # an entry of 16 KiB in base64, and 63 hashes


@dataclass(frozen=True, slots=True)
class Proven:
    """What a checked proof file says. `cosigned_at_s`: witness to Unix seconds."""

    entry: Entry
    size: int
    root: bytes
    cosigned_at_s: Mapping[bytes, int]
    witnesses: int  # of the network
    is_final: bool


def build(entry: Entry, leaves: Sequence[bytes], note: Note) -> bytes:
    """A proof file. `leaves`: the ids of the feed's entries, as many as the checkpoint covers at least.

    Raises IndexError where the checkpoint does not cover the entry.
    """
    siblings = inclusion_proof(leaves[: note.checkpoint.size], entry.seq)
    lines = (MAGIC, f"extra {to_base64(entry.raw)}", f"index {entry.seq}", *map(to_base64, siblings), "", "")
    return "\n".join(lines).encode() + note.encoded()


def verify(raw: bytes, genesis: Genesis) -> Proven:
    """Check a proof file. Raises VerificationFailed, naming what fails.

    1. Of the form above, within bounds, in its one spelling.
    2. The entry is of this network and signed by its author; `index` is its place in the feed.
    3. The checkpoint is of that author's feed, and signed by it.
    4. No cosignature of the network's witnesses is false.
    5. The inclusion proof leads from the entry to the checkpoint's root.
    """
    network = genesis.network_id()
    number, part = 1, "the form"
    try:
        entry_raw, index, siblings, note = _parse(raw)
        number, part = 2, "the entry"
        entry = open_entry(entry_raw, network)
        if index != entry.seq:
            raise Reject(f"the index is {index}, the entry's seq {entry.seq}")
        number, part = 3, "the checkpoint"
        author = author_of(network, note.checkpoint.origin)
        if author != entry.author:
            raise Reject(f"it is of {peer_id(author)}, the entry of {peer_id(entry.author)}")
        check_author(note, author)
        number, part = 4, "the cosignatures"
        cosigned_at_s = cosigners(note, network, genesis.witnesses)
        number, part = 5, "the inclusion proof"
        verify_inclusion(note.checkpoint.root, note.checkpoint.size, index, entry.id, siblings)
    except Reject as refusal:
        raise VerificationFailed(
            "HEL-PROOF-001",
            f"verify-proof: FAILED at check {number}, {part}: {refusal}",
            "Do not rely on this file. Is the genesis file that of its network? Else ask for a fresh proof with:"
            " heliotrope ledger prove ENTRY",
        ) from None
    count = len(genesis.witnesses)
    final = count > 0 and len(cosigned_at_s) >= quorum(count)
    return Proven(entry, note.checkpoint.size, note.checkpoint.root, cosigned_at_s, count, final)


def _parse(raw: bytes) -> tuple[bytes, int, list[bytes], Note]:
    """Entry, index, inclusion proof and checkpoint. Raises Reject."""
    if len(raw) > PROOF_MAX_BYTES:
        raise Reject(f"a proof file of {len(raw)} bytes exceeds {PROOF_MAX_BYTES}")
    head, separator, note = raw.partition(b"\n\n")
    lines = split_lines(head + b"\n", "proof file")
    if lines[0] != MAGIC:
        raise Reject(f"the first line is not {MAGIC}")
    if not separator or len(lines) < 3:
        raise Reject("a proof file is a title, `extra`, `index`, hashes, an empty line and a checkpoint")
    for line, word in zip(lines[1:3], ("extra", "index"), strict=True):
        if not line.startswith(word + " "):
            raise Reject(f"a line begins with {line[:16]!r}, {word!r} is expected")
    if len(lines) - 3 > PROOF_MAX:
        raise Reject(f"an inclusion proof of {len(lines) - 3} lines exceeds {PROOF_MAX}")
    return (
        read_base64(lines[1].removeprefix("extra "), "extra", VALUE_MAX_BYTES),
        read_decimal(lines[2].removeprefix("index "), "the index"),
        [read_hash(line, "a hash of the inclusion proof") for line in lines[3:]],
        parse_note(note),
    )
