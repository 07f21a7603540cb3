"""Proof files: what they prove offline, and which check names what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Note, cosign, sign
from ledger.merkle import root_of
from ledger.proof import PROOF_MAX_BYTES, build, verify
from protocol.envelope import Entry
from protocol.errors import VerificationFailed
from protocol.identity import KeyPair
from tests.builders import entry, genesis, keypair
from tests.ledger.notes import AUTHOR, NETWORK, TIME_S, WITNESSED, WITNESSES


def feed(author: KeyPair = AUTHOR, length: int = 9, **changes: object) -> list[Entry]:
    entries: list[Entry] = []
    for seq in range(length):
        prev = entries[-1].id if entries else bytes(32)
        entries.append(entry(author, **{"network": NETWORK, "seq": seq, "prev": prev} | changes))
    return entries


FEED = feed()
IDS = [e.id for e in FEED]


def checkpoint(size: int = 9, by: Sequence[KeyPair] = WITNESSES[:3], ids: Sequence[bytes] = IDS) -> Note:
    signed = sign(AUTHOR, NETWORK, size, root_of(ids[:size]))
    return signed.with_lines(*(cosign(w, NETWORK, signed.checkpoint, TIME_S) for w in by))


def failure(raw: bytes) -> str:
    with pytest.raises(VerificationFailed) as failed:
        verify(raw, WITNESSED)
    assert failed.value.code == "HEL-PROOF-001"
    return failed.value.cause.removeprefix("verify-proof: FAILED at ")


def changed(old: str, new: str, raw: bytes = build(FEED[5], IDS, checkpoint())) -> bytes:
    text = raw.decode()
    assert old in text
    return text.replace(old, new, 1).encode()


@given(st.integers(1, 9), st.data())
def test_an_entry_is_proven_offline(size: int, data: st.DataObject) -> None:
    seq = data.draw(st.integers(0, size - 1))
    proven = verify(build(FEED[seq], IDS, checkpoint(size)), WITNESSED)
    assert proven.entry.raw == FEED[seq].raw
    assert (proven.size, proven.root, proven.is_final, proven.witnesses) == (size, root_of(IDS[:size]), True, 4)
    assert proven.cosigned_at_s == {w.public: TIME_S for w in WITNESSES[:3]}


def test_with_fewer_witnesses_it_is_proven_but_not_final() -> None:
    proven = verify(build(FEED[5], IDS, checkpoint(by=WITNESSES[:2])), WITNESSED)
    assert (len(proven.cosigned_at_s), proven.is_final) == (2, False)


def test_in_a_network_without_witnesses_nothing_is_final() -> None:
    plain = genesis()
    author = keypair(3)
    (first,) = feed(author, 1, network=plain.network_id())
    proven = verify(build(first, [first.id], sign(author, plain.network_id(), 1, root_of([first.id]))), plain)
    assert (proven.entry.id, proven.witnesses, proven.is_final) == (first.id, 0, False)


def test_no_proof_of_an_entry_that_the_checkpoint_does_not_cover() -> None:
    with pytest.raises(IndexError):
        build(FEED[5], IDS, checkpoint(5))


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "check 1, the form: the first line"),
        (b"x" * (PROOF_MAX_BYTES + 1), f"check 1, the form: a proof file of {PROOF_MAX_BYTES + 1} bytes"),
        (changed("proof@v1", "proof@v2"), "check 1, the form: the first line"),
        (changed("extra ", "Extra "), "check 1, the form: a line begins with 'Extra"),
        (changed("index 5", "index 05"), "check 1, the form: the index must be a decimal"),
        (changed("index 5\n", ""), "check 1, the form: a line begins with"),
        (changed("index 5\n", "index 5\nAAAA\n"), "check 1, the form: a hash of the inclusion proof has 3 bytes"),
        (changed("\n\n", "\n"), "check 1, the form"),
        (changed("extra ", "extra A"), "check 1, the form: extra is not base64"),
        (changed("index 5", "index 6"), "check 2, the entry: the index is 6, the entry's seq 5"),
    ],
)
def test_verification_names_the_form_or_the_entry(raw: bytes, complaint: str) -> None:
    assert failure(raw).startswith(complaint)


def test_check_2_an_entry_of_another_network_or_with_a_false_signature() -> None:
    foreign = feed(network=genesis().network_id())
    assert failure(build(foreign[5], IDS, checkpoint())).startswith("check 2, the entry: entry of network")
    forged = entry(AUTHOR, network=NETWORK, seq=5)
    object.__setattr__(forged, "raw", forged.raw[:-1] + bytes([forged.raw[-1] ^ 1]))
    assert failure(build(forged, IDS, checkpoint())).startswith("check 2, the entry: invalid signature")


def test_check_3_a_checkpoint_of_another_author_or_not_signed_by_it() -> None:
    other = feed(keypair(1))
    assert failure(build(other[5], [e.id for e in other], checkpoint())).startswith("check 3, the checkpoint: it is of")
    unsigned = Note(checkpoint().checkpoint, checkpoint().lines[1:])
    assert failure(build(FEED[5], IDS, unsigned)).startswith("check 3, the checkpoint: the checkpoint lacks")


def test_check_4_a_false_cosignature() -> None:
    signed = checkpoint(by=())
    false = signed.with_lines(cosign(WITNESSES[0], NETWORK, checkpoint(8).checkpoint, TIME_S))
    assert failure(build(FEED[5], IDS, false)).startswith("check 4, the cosignatures: the cosignature of")


def test_check_5_an_entry_of_the_other_branch_of_a_fork() -> None:
    """Author, place and signature are genuine; the checkpoint that was cosigned has another entry there."""
    twin = entry(AUTHOR, network=NETWORK, seq=5, prev=FEED[4].id, kind="twin")
    assert failure(build(twin, IDS, checkpoint())).startswith("check 5, the inclusion proof: ")


@given(st.data())
def test_no_changed_byte_is_let_pass(data: st.DataObject) -> None:
    """A byte changed in a witness's name makes it an unknown witness's: then one less counts."""
    raw = bytearray(build(FEED[5], IDS, checkpoint()))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    try:
        proven = verify(bytes(raw), WITNESSED)
    except VerificationFailed:
        return
    assert proven.entry.raw == FEED[5].raw
    assert not proven.is_final
