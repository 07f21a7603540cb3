"""What an archive holds beside entries proves itself, or is refused: forks, asides, checkpoints, records."""

from __future__ import annotations

import io
from collections.abc import Callable
from hashlib import sha256

import pytest

from ledger.archive import MATCHING_MAX_BYTES, Kind, Part, forks, frames, lines
from ledger.archive.check import Verified, split, verify
from ledger.archive.notes import notes_of_store
from ledger.archive.write import parts, parts_of_store
from ledger.checkpoint import SignatureLine, cosign, parse_note, sign
from ledger.feed import ForkProof
from ledger.merkle import root_of
from ledger.store.sqlite import SqliteStore
from node.matching.bids.record import INSTANCE_MAX_BYTES
from protocol.envelope import parse
from protocol.errors import VerificationFailed
from tests.builders import History, digest, entry, keypair

from .archives import CHEAT, EXPORTER, TIME_S, WITNESSES, forked, full_archive

FULL = full_archive()
GENESIS = FULL.history.ledger.genesis
NETWORK = GENESIS.network_id()
PARTS = list(split(io.BytesIO(FULL.raw)))
Change = Callable[[list[Part]], list[Part]]


def found(*, of: Kind, change: Change) -> Verified:
    """The full archive with the parts of a kind changed, sealed anew by somebody who has no scruples."""
    held = {kind: [part for part in PARTS if part.kind is kind] for kind in Kind}
    held[of] = change(held[of])
    matchings = {sha256(part.data).digest(): part.data for part in held[Kind.MATCHING]}
    made = parts(
        GENESIS,
        [part.data for part in held[Kind.ENTRY]],
        EXPORTER,
        0,
        proofs=[ForkProof(*forks.open_pair(part.data)) for part in held[Kind.FORK]],
        asides=[part.data for part in held[Kind.ASIDE]],
        checkpoints=[part.data for part in held[Kind.CHECKPOINT]],
        matching=matchings.get,
    )
    return verify(io.BytesIO(b"".join(frames.write(made))))


def refused(*, of: Kind, change: Change) -> str:
    with pytest.raises(VerificationFailed) as failure:
        found(of=of, change=change)
    return failure.value.cause


def instead(*others: Part) -> Change:
    """These in place of all that there were."""
    return lambda _: list(others)


def note_of(checkpoint: bytes) -> Change:
    return instead(Part(Kind.CHECKPOINT, checkpoint))


IDS = [each.id for each in FULL.history.entries if each.author == keypair(1).public]


# --- forks ------------------------------------------------------------------------------------------------------------


def test_a_fork_voids_its_authors_entries_for_the_reader_too() -> None:
    state = found(of=Kind.FORK, change=lambda proofs: proofs).ledger.state
    assert state.frozen_from == FULL.ledger.state.frozen_from
    assert state.forked == FULL.ledger.state.forked != set()


def test_without_its_fork_an_entry_kept_aside_is_refused() -> None:
    assert "no fork of" in refused(of=Kind.FORK, change=lambda proofs: [])


def test_two_entries_of_one_chain_are_no_fork() -> None:
    first = entry(keypair(5), network=NETWORK)
    second = entry(keypair(5), network=NETWORK, seq=1, prev=first.id)
    for a, b in ((first, second), (first, first)):
        assert "are no fork" in refused(of=Kind.FORK, change=instead(forks.part_of(ForkProof(a, b))))


def test_entries_of_two_authors_are_no_fork() -> None:
    a, b = (entry(keypair(n), network=NETWORK) for n in (5, 6))
    assert "are no fork" in refused(of=Kind.FORK, change=lambda _: [forks.part_of(ForkProof(a, b))])


def test_nobody_is_framed_by_a_fork_that_it_did_not_sign() -> None:
    told, _ = forked(FULL.history, keypair(1))
    forged = told.raw[:-64] + keypair(2).sign(b"something else")
    proof = forks.part_of(ForkProof(FULL.history.ledger.heads[keypair(1).public], told))
    faked = proof.data.replace(told.raw, forged)
    with pytest.raises(VerificationFailed, match=r"fork number 1: .*signature"):
        verify(io.BytesIO(b"".join(frames.write([PARTS[0], Part(Kind.FORK, faked)]))))


# --- aside ------------------------------------------------------------------------------------------------------------


def test_an_entry_kept_aside_to_which_none_refers_is_refused() -> None:
    told, lie = forked(FULL.history)
    other = entry(CHEAT, network=NETWORK, kind="other", seq=told.seq, prev=lie.id)

    def with_another(asides: list[Part]) -> list[Part]:
        return sorted([*asides, Part(Kind.ASIDE, other.raw)], key=lambda part: parse(part.data).id)

    assert "no entry in the file refers to it" in refused(of=Kind.ASIDE, change=with_another)


def test_an_entry_kept_aside_below_its_authors_fork_is_refused() -> None:
    early = entry(CHEAT, network=NETWORK, kind="other")
    assert "no fork of" in refused(of=Kind.ASIDE, change=lambda _: [Part(Kind.ASIDE, early.raw)])


def test_an_entry_stands_in_its_feed_or_aside() -> None:
    fork = forks.open_pair(next(part.data for part in PARTS if part.kind is Kind.FORK))
    told = next(each for each in fork if each.id != FULL.aside.id)
    both = sorted([FULL.aside, told], key=lambda each: each.id)
    said = refused(of=Kind.ASIDE, change=lambda _: [Part(Kind.ASIDE, each.raw) for each in both])
    assert "it is kept aside already" in said


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_other_entries_is_refused_where_it_stands() -> None:
    other = sign(keypair(1), NETWORK, 3, root_of([*IDS[:2], digest("other")])).encoded()
    said = refused(of=Kind.CHECKPOINT, change=note_of(other))
    assert "its 3 entries are not those in the file" in said
    fork_and_aside = sum(part.kind in (Kind.GENESIS, Kind.FORK, Kind.ASIDE) for part in PARTS)
    assert said.startswith(f"ledger verify: FAILED at byte {PARTS[fork_and_aside].offset}: ")


def test_a_checkpoint_over_more_entries_than_there_are_is_refused() -> None:
    longer = sign(keypair(1), NETWORK, len(IDS) + 1, root_of([*IDS, digest("next")])).encoded()
    assert "entries are not those in the file" in refused(of=Kind.CHECKPOINT, change=note_of(longer))


def test_a_checkpoint_of_a_frozen_authors_other_branch_is_refused() -> None:
    told, lie = forked(FULL.history)
    ids = [each.id for each in FULL.history.entries if each.author == CHEAT.public and each.seq < told.seq]
    other = sign(CHEAT, NETWORK, len(ids) + 1, root_of([*ids, lie.id])).encoded()
    assert "entries are not those in the file" in refused(of=Kind.CHECKPOINT, change=note_of(other))


@pytest.mark.parametrize("witnesses", [0, 2, 3])
def test_what_a_quorum_cosigned_counts_in_the_file_too(witnesses: int) -> None:
    seq = FULL.ledger.state.frozen_from[CHEAT.public]
    covered = [each for each in FULL.history.entries if each.author == CHEAT.public and each.seq <= seq]
    ids = [each.id for each in covered]
    note = sign(CHEAT, NETWORK, len(ids), root_of(ids))
    note = note.with_lines(*(cosign(w, NETWORK, note.checkpoint, TIME_S) for w in WITNESSES[:witnesses]))
    ledger = found(of=Kind.CHECKPOINT, change=note_of(note.encoded())).ledger
    is_final = witnesses == 3
    assert ledger.state.frozen_from == {CHEAT.public: seq + is_final}
    assert (ids[-1] in ledger.state.voids) is not is_final
    assert ledger.is_final(CHEAT.public, ids[-1]) is is_final


def test_a_checkpoint_over_nothing_is_refused() -> None:
    empty = sign(keypair(1), NETWORK, 0, root_of([])).encoded()
    assert "it covers no entry" in refused(of=Kind.CHECKPOINT, change=note_of(empty))


def test_a_line_of_an_unknown_key_is_refused() -> None:
    note = sign(keypair(1), NETWORK, 2, root_of(IDS[:2]))
    strange = note.with_lines(SignatureLine("example.org/witness", b"1234", bytes(72)))
    assert "neither the author's nor a witness's" in refused(of=Kind.CHECKPOINT, change=note_of(strange.encoded()))


def test_a_checkpoint_without_its_authors_signature_is_refused() -> None:
    note = sign(keypair(1), NETWORK, 2, root_of(IDS[:2]))
    cosigned = note.with_lines(cosign(WITNESSES[0], NETWORK, note.checkpoint, TIME_S))
    raw = b"".join([note.checkpoint.text(), b"\n", cosigned.lines[1].encoded()])
    assert "lacks its author's signature" in refused(of=Kind.CHECKPOINT, change=note_of(raw))


def test_only_checkpoints_that_speak_of_the_stored_entries_are_written() -> None:
    store = SqliteStore(":memory:", NETWORK)
    store.append(FULL.history.entries, durable=False)
    for size, ids in ((2, IDS), (len(IDS) + 1, [*IDS, digest("to come")])):
        store.set_checkpoint(
            keypair(1).public, size, sign(keypair(1), NETWORK, size, root_of(ids[:size])).encoded().decode()
        )
        kept = [parse_note(raw).checkpoint.size for raw in notes_of_store(store, GENESIS)]
        assert kept == ([2] if size == 2 else [])


def test_lines_of_unknown_keys_are_not_written() -> None:
    store = SqliteStore(":memory:", NETWORK)
    store.append(FULL.history.entries, durable=False)
    note = sign(keypair(1), NETWORK, 2, root_of(IDS[:2]))
    strange = note.with_lines(SignatureLine("example.org/witness", b"1234", bytes(72)))
    store.set_checkpoint(keypair(1).public, 2, strange.encoded().decode())
    assert notes_of_store(store, GENESIS) == [note.encoded()]


# --- recorded matchings -----------------------------------------------------------------------------------------------


def test_the_bound_of_a_record_is_that_of_the_matching() -> None:
    assert MATCHING_MAX_BYTES == INSTANCE_MAX_BYTES


def test_a_record_that_no_award_names_is_refused() -> None:
    stray = Part(Kind.MATCHING, b"stray")
    bodies = [*PARTS[:-1], stray]
    with pytest.raises(VerificationFailed, match="which no award names"):
        verify(io.BytesIO(b"".join(frames.write(sorted(bodies, key=_place)))))


def _place(part: Part) -> tuple[int, bytes]:
    order = list(Kind).index(part.kind)
    return order, sha256(part.data).digest() if part.kind is Kind.MATCHING else b""


def test_records_that_are_not_at_hand_are_left_out() -> None:
    made = parts_of_store(FULL.store, GENESIS, EXPORTER, 0)
    assert verify(io.BytesIO(b"".join(frames.write(made)))).counts[Kind.MATCHING] == 0


# --- JSON lines -------------------------------------------------------------------------------------------------------

LINES = b"".join(lines.write(split(io.BytesIO(FULL.raw)))).splitlines(keepends=True)


def line_refused(raw: bytes) -> str:
    with pytest.raises(VerificationFailed) as failure:
        verify(io.BytesIO(raw))
    return failure.value.cause


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (LINES[0].replace(b'"raw"', b'"raw" '), "what is written beside `raw`"),
        (LINES[0].replace(b'"test"', b'"best"'), "what is written beside `raw`"),
        (b'{"part": "genesis"}\n', "not an object with the name"),
        (b'{"part": "something", "raw": "00"}\n', "not an object with the name"),
        (b'{"part": "genesis", "raw": 7}\n', "not an object with the name"),
        (b'{"part": "' + b"[" * 100_000 + b"\n", "not an object with the name"),
        (b'{"part": "genesis", "raw": "' + b"00" * 20_000 + b'"}\n', "has 20000 bytes, the bound is 16416"),
    ],
    ids=["spaced", "told otherwise", "no raw", "no such part", "no hexadecimal", "deep", "large"],
)
def test_a_line_that_is_no_part_is_refused(line: bytes, complaint: str) -> None:
    assert complaint in line_refused(line + b"".join(LINES[1:]))


def test_a_line_without_end_is_refused_within_bounds() -> None:
    endless = lines.OPENING + b"x" * lines.LINE_MAX_BYTES
    assert f"line 1 exceeds {lines.LINE_MAX_BYTES} bytes" in line_refused(endless)


def test_lines_cut_off_or_followed_by_more_are_found() -> None:
    assert "cut off" in line_refused(b"".join(LINES[:-1]))
    assert "cut off" in line_refused(b"".join(LINES)[:-1])
    assert "bytes follow the seal" in line_refused(b"".join(LINES) + b"\n")


def test_an_empty_history_has_lines_too() -> None:
    text = b"".join(lines.write(split(io.BytesIO(History().archive()))))
    assert verify(io.BytesIO(text)).ledger.count == 0
