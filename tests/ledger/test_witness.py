"""The numbered checks of a witness, and the attacks that they stop."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Note, author_of, cosigners, is_final, origin_of, sign
from ledger.merkle import EMPTY_ROOT, root_of
from ledger.witness import Answer, Request, Status, answer, parse_request, request_for
from protocol.errors import Reject
from tests.builders import genesis, keypair
from tests.ledger.notes import AUTHOR, IDS, NETWORK, OTHER_IDS, TIME_S, WITNESSED, WITNESSES, Memory, note, request

WITNESS = WITNESSES[0]
ORIGIN = origin_of(NETWORK, AUTHOR.public)


def ask(promises: Memory, raw: bytes) -> Answer:
    return answer(raw, WITNESS, NETWORK, promises, TIME_S)


def having_cosigned(*sizes: int) -> Memory:
    promises, old_size = Memory(), 0
    for size in sizes:
        assert ask(promises, request(old_size, size)).status is Status.COSIGNED
        old_size = size
    return promises


def test_a_checkpoint_that_continues_the_last_is_cosigned() -> None:
    promises = Memory()
    for old_size, size in ((0, 3), (3, 4), (4, 11), (11, 20)):
        given_line = ask(promises, request(old_size, size)).cosignature()
        signed = note(size).with_lines(given_line)
        assert cosigners(signed, NETWORK, WITNESSED.witnesses) == {WITNESS.public: TIME_S}
        assert promises.kept == {ORIGIN: (size, root_of(IDS[:size]))}


def test_the_answers_of_a_quorum_make_a_checkpoint_final() -> None:
    signed = note(5)
    lines = [answer(request(0, 5), w, NETWORK, Memory(), TIME_S).cosignature() for w in WITNESSES]
    assert not is_final(signed.with_lines(*lines[:2]), NETWORK, WITNESSED.witnesses)
    assert is_final(signed.with_lines(*lines[:3]), NETWORK, WITNESSED.witnesses)


def test_the_same_checkpoint_is_cosigned_again() -> None:
    promises = having_cosigned(5)
    assert ask(promises, request(5, 5)).status is Status.COSIGNED
    assert promises.kept == {ORIGIN: (5, root_of(IDS[:5]))}


def test_an_empty_feed_is_cosigned() -> None:
    promises = Memory()
    assert ask(promises, request(0, 0)).status is Status.COSIGNED
    assert ask(promises, request(0, 0)).status is Status.COSIGNED
    assert ask(promises, request(0, 3)).status is Status.COSIGNED


def test_feeds_do_not_touch_each_other() -> None:
    promises = having_cosigned(5)
    other = request_for(note(2, author=keypair(1)), 0, ())
    assert ask(promises, other).status is Status.COSIGNED
    assert promises.kept[ORIGIN] == (5, root_of(IDS[:5]))


# --- what is refused: nothing of it is kept -----------------------------------------------------------------------

GOOD = request(3, 7).decode()


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "\n\n",
        GOOD.replace("old 3", "old 03"),
        GOOD.replace("old 3", "old"),
        GOOD.replace("old 3", "new 3"),
        GOOD.replace("old 3", "old -3"),
        GOOD.replace("old 3", "old 8"),
        GOOD.replace("old 3\n", "old 3\nnot base64\n"),
        GOOD.replace("old 3\n", "old 3\n" + "AAAA\n"),
        GOOD.replace("old 3\n", "old 3\n" + 64 * (GOOD.splitlines()[1] + "\n")),
        GOOD.replace("\n\n", "\n", 1),
        GOOD + "\n",
        GOOD[:-1],
        GOOD + "x" * 40_000,
    ],
)
def test_400_check_1_not_a_request(raw: str) -> None:
    promises = having_cosigned(3)
    assert ask(promises, raw.encode()).status is Status.MALFORMED
    assert promises.kept == having_cosigned(3).kept


def test_404_check_2_a_feed_of_another_network() -> None:
    foreign = note(7, network=genesis(name="other").network_id())
    assert ask(Memory(), request_for(foreign, 0, ())).status is Status.UNKNOWN_ORIGIN


@pytest.mark.parametrize("lines", [note(7, author=keypair(1)).lines, note(8).lines], ids=["another's", "another size"])
def test_403_check_3_not_signed_by_its_author(lines: tuple[object, ...]) -> None:
    promises = Memory()
    forged = Note(note(7).checkpoint, lines)  # type: ignore[arg-type]
    assert ask(promises, request_for(forged, 0, ())).status is Status.NOT_SIGNED
    assert promises.kept == {}


@pytest.mark.parametrize("old_size", [0, 2, 4, 6])
def test_409_check_4_another_old_size_is_told_the_right_one(old_size: int) -> None:
    promises = having_cosigned(5)
    told = ask(promises, request(old_size, 7))
    assert (told.status, told.known_size()) == (Status.CONFLICT, 5)
    assert ask(promises, request(5, 7)).status is Status.COSIGNED


def test_409_check_4_where_nothing_was_cosigned_it_starts_from_0() -> None:
    told = ask(Memory(), request(3, 7))
    assert (told.status, told.known_size(), told.body) == (Status.CONFLICT, 0, b"0\n")


def test_422_check_5_no_proof_a_wrong_one_or_one_too_many() -> None:
    good = parse_request(request(3, 7))
    swapped = (good.proof[1], good.proof[0], *good.proof[2:])
    for old_size, proof in ((3, ()), (3, swapped), (3, (*good.proof, EMPTY_ROOT)), (3, good.proof[:-1])):
        promises = having_cosigned(3)
        assert ask(promises, request_for(good.note, old_size, proof)).status is Status.NOT_CONSISTENT
        assert promises.kept == having_cosigned(3).kept


def test_422_check_5_an_empty_tree_has_one_root() -> None:
    wrong = sign(AUTHOR, NETWORK, 0, root_of(IDS))
    assert ask(Memory(), request_for(wrong, 0, ())).status is Status.NOT_CONSISTENT


def test_422_check_5_from_nothing_no_proof_is_taken() -> None:
    assert ask(Memory(), request_for(note(7), 0, (EMPTY_ROOT,))).status is Status.NOT_CONSISTENT


# --- attacks ------------------------------------------------------------------------------------------------------


def test_a_split_view_gets_one_side_cosigned() -> None:
    """Entries 0 to 3 are common. Whatever proof the author makes of either side, the other stays without."""
    promises = having_cosigned(5)
    for size in range(5, 20):
        for old_ids in (IDS, OTHER_IDS):
            attempt = request(5, size, OTHER_IDS, old_ids)
            assert ask(promises, attempt).status is Status.NOT_CONSISTENT
    assert ask(promises, request(5, 20)).status is Status.COSIGNED


def test_a_stale_checkpoint_is_not_cosigned_again() -> None:
    promises = having_cosigned(3, 7)
    assert ask(promises, request(0, 3)).known_size() == 7
    assert ask(promises, request(3, 7)).known_size() == 7
    assert ask(promises, request(3, 3)).known_size() == 7


def test_a_rollback_is_refused() -> None:
    promises = having_cosigned(7)
    assert ask(promises, request_for(note(3), 7, ())).status is Status.MALFORMED
    assert promises.kept == having_cosigned(7).kept


def test_another_root_at_the_same_size_is_refused() -> None:
    promises = having_cosigned(7)
    assert ask(promises, request_for(note(7, OTHER_IDS), 7, ())).status is Status.NOT_CONSISTENT


class Rendezvous(Memory):
    """Lets two requests pass the check before either is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.checked = Barrier(2)

    def advance_cosigned(self, origin: str, old_size: int, size: int, root: bytes) -> bool:
        self.checked.wait(timeout=10)
        return super().advance_cosigned(origin, old_size, size, root)


@pytest.mark.parametrize("sizes", [(6, 6), (6, 9), (9, 6)])
def test_of_two_requests_at_once_for_different_histories_exactly_one_wins(sizes: tuple[int, int]) -> None:
    promises = Rendezvous()
    raws = [request(0, size, ids) for size, ids in zip(sizes, (IDS, OTHER_IDS), strict=True)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda raw: ask(promises, raw), raws))
    assert sorted(a.status for a in answers) == [Status.COSIGNED, Status.CONFLICT]
    winner, loser = sorted(answers, key=lambda a: a.status)
    kept_size, kept_root = promises.kept[ORIGIN]
    assert loser.known_size() == kept_size
    won = note(kept_size, IDS if kept_root == root_of(IDS[:kept_size]) else OTHER_IDS)
    assert cosigners(won.with_lines(winner.cosignature()), NETWORK, WITNESSED.witnesses)


@given(st.lists(st.tuples(st.sampled_from((IDS, OTHER_IDS)), st.integers(0, 20), st.integers(0, 20)), max_size=12))
def test_whatever_is_asked_all_that_was_cosigned_lies_on_one_history(asked: list[tuple[list[bytes], int, int]]) -> None:
    promises = Memory()
    cosigned: list[tuple[int, bytes]] = []
    for ids, a, b in asked:
        old_size, size = sorted((a, b))
        if ask(promises, request(old_size, size, ids)).status is Status.COSIGNED:
            cosigned.append((size, root_of(ids[:size])))
    sizes = [size for size, _ in cosigned]
    assert sizes == sorted(sizes), "none older than the last"
    assert any(all(root == root_of(ids[:size]) for size, root in cosigned) for ids in (IDS, OTHER_IDS))


# --- text ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_request_has_one_spelling(a: int, b: int) -> None:
    old_size, size = sorted((a, b))
    raw = request(old_size, size)
    read = parse_request(raw)
    assert read.encoded() == raw
    assert isinstance(read, Request)
    assert author_of(NETWORK, read.note.checkpoint.origin) == AUTHOR.public


@pytest.mark.parametrize("body", [b"", b"5", b"five\n", b"05\n", b"\xff\n"])
def test_an_answer_that_names_no_size_is_refused(body: bytes) -> None:
    with pytest.raises(Reject):
        Answer(Status.CONFLICT, body).known_size()


@pytest.mark.parametrize("body", [b"", b"x\n", note(7).lines[0].encoded() * 2, b"x" * 5000 + b"\n"])
def test_an_answer_that_is_no_cosignature_is_refused(body: bytes) -> None:
    with pytest.raises(Reject):
        Answer(Status.COSIGNED, body).cosignature()
