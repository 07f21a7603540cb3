"""The numbered checks of feeds: what may follow an entry, and what proves a fork."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.feed import CLOCK_SKEW_MAX_MS, Fork, Gap, check_follows
from protocol.envelope import Entry, is_signed
from protocol.errors import Ignore, Reject
from tests.builders import NOW_MS, digest, entry

FIRST = entry()


def following(head: Entry = FIRST, **changes: Any) -> Entry:
    fields: dict[str, Any] = {"seq": head.seq + 1, "prev": head.id}
    return entry(**fields | changes)


SECOND = following()
THIRD = following(SECOND)


def test_the_first_entry_and_its_successors_follow() -> None:
    check_follows(None, FIRST, NOW_MS)
    check_follows(FIRST, SECOND, NOW_MS)
    check_follows(SECOND, THIRD, NOW_MS)


def test_ignore_check_c_already_known() -> None:
    with pytest.raises(Ignore, match=r"feed check c: seq 1 of [0-9a-f]{8} is known, the next is 2") as verdict:
        check_follows(SECOND, SECOND, NOW_MS)
    assert not isinstance(verdict.value, Gap)


@pytest.mark.parametrize("old", [FIRST, entry(kind="other")], ids=["the same", "another"])
def test_ignore_check_c_older_than_the_head(old: Entry) -> None:
    with pytest.raises(Ignore, match=r"feed check c: .* is known"):
        check_follows(THIRD, old, NOW_MS)


def test_fork_check_b_same_seq_another_id() -> None:
    other = following(kind="other")
    with pytest.raises(Fork, match=r"fork of [0-9a-f]{8} at seq 1") as verdict:
        check_follows(SECOND, other, NOW_MS)
    assert (verdict.value.proof.a, verdict.value.proof.b) == (SECOND, other)


def test_fork_check_f_next_seq_another_predecessor() -> None:
    other = following(SECOND, prev=following(kind="other").id)
    with pytest.raises(Fork) as verdict:
        check_follows(SECOND, other, NOW_MS)
    assert (verdict.value.proof.a, verdict.value.proof.b) == (SECOND, other)


def test_fork_check_b_or_f_comes_before_any_word_on_time() -> None:
    """Who signs two histories is caught even if the second is dated wrongly."""
    for time_ms in (0, NOW_MS + CLOCK_SKEW_MAX_MS + 1):
        with pytest.raises(Fork):
            check_follows(SECOND, following(kind="other", time_ms=time_ms), NOW_MS)


def test_a_fork_proof_holds_for_anyone_who_knows_the_key() -> None:
    with pytest.raises(Fork) as verdict:
        check_follows(SECOND, following(kind="other"), NOW_MS)
    proof = verdict.value.proof
    assert is_signed(proof.a)
    assert is_signed(proof.b)
    assert proof.a.author == proof.b.author


def test_reject_check_e_a_first_entry_with_a_predecessor() -> None:
    with pytest.raises(Reject, match="32 zero bytes") as verdict:
        check_follows(None, entry(prev=digest("x")), NOW_MS)
    assert not isinstance(verdict.value, Fork)


@pytest.mark.parametrize(("head", "ahead", "from_seq"), [(None, SECOND, 0), (None, THIRD, 0), (FIRST, THIRD, 1)])
def test_gap_check_d_entries_between_are_missing(head: Entry | None, ahead: Entry, from_seq: int) -> None:
    with pytest.raises(Gap, match=f"entries {from_seq} to {ahead.seq - 1} of .* are missing") as verdict:
        check_follows(head, ahead, NOW_MS)
    assert (verdict.value.author, verdict.value.from_seq) == (ahead.author, from_seq)


def test_reject_check_g_time_runs_backwards() -> None:
    check_follows(FIRST, following(time_ms=NOW_MS), NOW_MS)
    with pytest.raises(Reject, match="feed check g: time_ms 5999999 is below the predecessor's 6000000") as verdict:
        check_follows(FIRST, following(time_ms=NOW_MS - 1), NOW_MS)
    assert not isinstance(verdict.value, Fork)


def test_ignore_check_h_more_than_ten_minutes_ahead() -> None:
    check_follows(None, FIRST, NOW_MS - CLOCK_SKEW_MAX_MS)
    with pytest.raises(Ignore, match="600001 ms ahead of this node's clock"):
        check_follows(None, FIRST, NOW_MS - CLOCK_SKEW_MAX_MS - 1)


def test_there_is_no_lower_bound_on_time() -> None:
    check_follows(None, entry(time_ms=0), NOW_MS + 10**12)
