"""Facts about checkpoints: their one spelling, whose signatures count, and what a quorum is."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ledger.checkpoint import (
    AUTHOR as AUTHOR_TYPE,
)
from ledger.checkpoint import (
    NOTE_MAX_BYTES,
    SIGNATURES_MAX,
    Note,
    SignatureLine,
    author_of,
    check_author,
    cosign,
    cosigners,
    is_final,
    key_id,
    open_note,
    origin_of,
    parse_note,
    quorum,
    sign,
)
from protocol.errors import Reject
from protocol.identity import peer_id, verify
from tests.builders import genesis, keypair
from tests.ledger.notes import AUTHOR, IDS, NETWORK, OTHER_IDS, TIME_S, WITNESSED, WITNESSES, cosigned, note

# From the specifications C2SP signed-note and tlog-cosignature.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_TEXT = b"This is an example message.\n"
EXAMPLE_SIGNATURE = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
EXAMPLE_NOTE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa"
    " Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1"
    " jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()


def test_key_ids_and_signatures_are_those_of_the_specification() -> None:
    name, number, key = EXAMPLE_KEY.split("+", 2)
    public = base64.b64decode(key)[1:]
    signature = base64.b64decode(EXAMPLE_SIGNATURE)
    assert key_id(name, AUTHOR_TYPE, public).hex() == number == signature[:4].hex()
    assert verify(public, EXAMPLE_TEXT, signature[4:])


def test_the_specifications_example_is_read_and_written_alike() -> None:
    example = parse_note(EXAMPLE_NOTE)
    assert (example.checkpoint.origin, example.checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert [line.name for line in example.lines] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert int.from_bytes(example.lines[1].signature[:8], "big") == 0x641850CB  # the time of the cosignature
    assert example.encoded() == EXAMPLE_NOTE


def test_a_checkpoint_says_network_author_size_and_root() -> None:
    lines = cosigned().encoded().decode().splitlines()
    assert lines[0] == f"heliotrope/1/{NETWORK.hex()[:32]}/{peer_id(AUTHOR.public)}"
    assert lines[1] == "7"
    assert lines[4].startswith(f"— {lines[0]} ")
    assert lines[5].startswith(f"— heliotrope/1/{NETWORK.hex()[:32]}/witness/{peer_id(WITNESSES[0].public)} ")


def test_what_was_signed_opens() -> None:
    assert open_note(cosigned().encoded(), NETWORK) == (cosigned(), AUTHOR.public)
    assert open_note(note(0).encoded(), NETWORK) == (note(0), AUTHOR.public)


@given(st.data())
def test_no_changed_byte_is_let_pass(data: st.DataObject) -> None:
    """Every byte is under a signature, or of one: whatever is changed is refused, or a line of an unknown key."""
    raw = bytearray(note().encoded())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Reject):
        open_note(bytes(raw), NETWORK)


@given(st.data())
def test_whatever_is_read_has_one_spelling(data: st.DataObject) -> None:
    raw = bytearray(EXAMPLE_NOTE)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(raw)))
        raw[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        read = parse_note(bytes(raw))
    except Reject:
        return
    assert read.encoded() == bytes(raw)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("20852163", "020852163", "no leading zero"),
        ("20852163", "+20852163", "no leading zero"),
        ("20852163", "９", "no leading zero"),
        ("20852163", "9007199254740992", "to 2\\^53-1"),
        ("20852163", "-1", "no leading zero"),
        ("CsUYapGG", "CsUYapG", "not base64"),
        ("q2I=\n\n", "q2J=\n\n", "not base64"),
        ("q2I=\n\n", "q2I\n\n", "not base64"),
        ("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", "CsUYapGG", "a hash has 32"),
        ("q2I=\n\n", "q2I=\nextension\n\n", "an empty line"),
        ("q2I=\n\n", "q2I=\n", "an empty line"),
        ("\n— witness", "\n- witness", "a signature line is a dash"),
        ("\n— witness", "\n\n— witness", "a signature line is a dash"),
        ("witness.example", "witness+example", "a space or a plus"),
        ("witness.example", "witness\N{NO-BREAK SPACE}example", "a space or a plus"),
        ("witness.example", "witness\x1bexample", "line 6 has a control character"),
        ("witness.example.com/w1", "w" * 257, "1 to 256"),
        ("— witness.example.com/w1 ", "—  ", "1 to 256"),
        (
            "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==",
            "jWbPPw==",
            "no room for a key id",
        ),
        ("example.com/behind-the-sofa\n2", "\n2", "1 to 256"),
        ("\n20852163", "\r\n20852163", "line 1 has a control character"),
        ("qnA==\n", "qnA==", "does not end in a newline"),
    ],
)
def test_reject_another_spelling(old: str, new: str, complaint: str) -> None:
    changed = EXAMPLE_NOTE.decode().replace(old, new, 1)
    assert changed != EXAMPLE_NOTE.decode()
    with pytest.raises(Reject, match=complaint):
        parse_note(changed.encode())


def test_reject_what_is_no_text() -> None:
    with pytest.raises(Reject, match="byte 11 is not UTF-8"):
        parse_note(EXAMPLE_NOTE.replace(b"/", b"\xff", 1))


def test_reject_beyond_the_bounds() -> None:
    with pytest.raises(Reject, match=f"of {NOTE_MAX_BYTES + 1} bytes exceeds {NOTE_MAX_BYTES}"):
        parse_note(b"x" * (NOTE_MAX_BYTES + 1))
    many = [SignatureLine(f"w{n}", bytes(4), b"x") for n in range(SIGNATURES_MAX)]
    assert len(parse_note(Note(note().checkpoint, tuple(many)).encoded()).lines) == SIGNATURES_MAX
    with pytest.raises(Reject, match=f"{SIGNATURES_MAX + 1} signature lines exceed {SIGNATURES_MAX}"):
        parse_note(note().with_lines(*many).encoded())


def test_an_author_and_all_witnesses_that_a_genesis_can_name_fit() -> None:
    signed = note()
    lines = [cosign(keypair(n), NETWORK, signed.checkpoint, TIME_S) for n in range(100, 164)]
    assert parse_note(signed.with_lines(*lines).encoded()).lines[1:] == tuple(lines)


def test_reject_a_key_that_signs_twice() -> None:
    with pytest.raises(Reject, match="two signature lines of one key"):
        parse_note(note().with_lines(note().lines[0]).encoded())


def test_reject_a_checkpoint_of_another_network() -> None:
    with pytest.raises(Reject, match="is not of network"):
        open_note(note(network=genesis(name="other").network_id()).encoded(), NETWORK)


def test_reject_an_origin_that_names_no_key() -> None:
    with pytest.raises(Reject, match="no Ed25519 peer id"):
        author_of(NETWORK, origin_of(NETWORK, AUTHOR.public)[:-1])


def test_reject_a_checkpoint_that_somebody_else_signed() -> None:
    forged = Note(note().checkpoint, note(author=keypair(1)).lines)
    with pytest.raises(Reject, match="lacks its author's signature"):
        check_author(forged, AUTHOR.public)
    other_size = Note(note(8).checkpoint, note(7).lines)
    with pytest.raises(Reject, match="author's signature on the checkpoint is not valid"):
        open_note(other_size.encoded(), NETWORK)


def test_a_cosignature_does_not_pass_for_the_authors_signature() -> None:
    signed = note()
    own = cosign(AUTHOR, NETWORK, signed.checkpoint, TIME_S)
    with pytest.raises(Reject, match="lacks its author's signature"):
        check_author(Note(signed.checkpoint, (own,)), AUTHOR.public)


def test_cosigners_are_the_known_witnesses_with_their_times() -> None:
    signed = cosigned(by=[WITNESSES[2], keypair(50), WITNESSES[0]])
    keys = WITNESSED.witnesses
    assert cosigners(signed, NETWORK, keys) == {keys[2]: TIME_S, keys[0]: TIME_S}
    assert cosigners(note(), NETWORK, keys) == {}


def test_reject_a_false_cosignature_of_a_known_witness() -> None:
    signed = note()
    elsewhere = cosign(WITNESSES[0], NETWORK, note(8).checkpoint, TIME_S)
    with pytest.raises(Reject, match=r"cosignature of .* is not valid"):
        cosigners(signed.with_lines(elsewhere), NETWORK, WITNESSED.witnesses)
    later = cosign(WITNESSES[0], NETWORK, signed.checkpoint, TIME_S)
    moved = SignatureLine(later.name, later.key_id, (TIME_S + 1).to_bytes(8, "big") + later.signature[8:])
    with pytest.raises(Reject, match="is not valid"):
        cosigners(signed.with_lines(moved), NETWORK, WITNESSED.witnesses)


@pytest.mark.parametrize("time_s", [0, 2**63])
def test_reject_a_cosignature_at_no_time(time_s: int) -> None:
    signed = note()
    line = cosign(WITNESSES[0], NETWORK, signed.checkpoint, time_s)
    with pytest.raises(Reject, match=f"time {time_s} s is not within"):
        cosigners(signed.with_lines(line), NETWORK, WITNESSED.witnesses)


@pytest.mark.parametrize(("witnesses", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (7, 5), (10, 7), (64, 43)])
def test_quorum(witnesses: int, needed: int) -> None:
    assert quorum(witnesses) == needed


@given(st.integers(1, 64))
def test_two_quorums_share_an_honest_witness_and_the_honest_alone_make_one(n: int) -> None:
    liars = (n - 1) // 3
    assert 2 * quorum(n) - n > liars
    assert n - liars >= quorum(n)


def test_without_witnesses_nothing_is_final() -> None:
    with pytest.raises(ValueError, match="no quorum"):
        quorum(0)
    assert not is_final(cosigned(), NETWORK, ())


@pytest.mark.parametrize("count", range(5))
def test_final_from_the_quorum_on(count: int) -> None:
    for chosen in itertools.combinations(WITNESSES, count):
        assert is_final(cosigned(by=chosen), NETWORK, WITNESSED.witnesses) == (count >= 3)


def test_of_two_histories_no_two_become_final_while_one_witness_may_lie() -> None:
    """Three honest witnesses sign one side each; the liar signs both."""
    liar, *honest = WITNESSES
    for side in itertools.product((IDS, OTHER_IDS), repeat=3):
        votes = [(ids, [liar, *(w for w, s in zip(honest, side, strict=True) if s is ids)]) for ids in (IDS, OTHER_IDS)]
        finals = [is_final(cosigned(by=by, ids=ids), NETWORK, WITNESSED.witnesses) for ids, by in votes]
        assert sum(finals) <= 1


def test_a_genesis_lists_no_witness_twice() -> None:
    with pytest.raises(ValidationError, match="a key is listed twice"):
        genesis(witnesses=(AUTHOR.public, AUTHOR.public))


def test_an_empty_feed_has_a_checkpoint_too() -> None:
    assert (
        sign(AUTHOR, NETWORK, 0, note(0).checkpoint.root)
        .encoded()
        .startswith(origin_of(NETWORK, AUTHOR.public).encode())
    )
