"""Facts about what peers earn by their acts: bans that grow, and decay."""

from __future__ import annotations

from math import ceil, inf, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.link.events import banned, refused_by, refused_here
from node.link.guard import standing
from node.link.guard.standing import (
    BAN_FIRST_S,
    BAN_LONGEST_S,
    BANNED_BELOW,
    CREDIT_MAX,
    PEERS_MAX,
    Act,
    Ban,
    Standings,
)

PEER, OTHER = b"p" * 32, b"o" * 32
GOOD = [act for act in Act if act.points > 0]
FAULTS = [act for act in Act if act.points < 0]


def until_banned(standings: Standings, act: Act, now_s: float, every_s: float = 0.0) -> tuple[Ban, float]:
    """The ban that an act brings about when it is repeated, and when."""
    for _ in range(100_000):
        if (ban := standings.record(PEER, act, now_s)) is not None:
            return ban, now_s
        now_s += every_s
    raise AssertionError("never banned")


@pytest.mark.parametrize("act", FAULTS)
def test_every_fault_repeated_at_once_ends_in_a_ban_that_names_it(act: Act) -> None:
    standings = Standings()
    ban, now_s = until_banned(standings, act, 1000.0)
    count = ceil(BANNED_BELOW / act.points)
    assert ban.left_s == BAN_FIRST_S
    assert str(ban).endswith(f" {act.value[1]}")
    assert 0.9 * count <= int(ban.reason.split()[0]) <= count
    assert standings.ban_of(PEER, now_s + BAN_FIRST_S - 1) is not None
    assert standings.ban_of(PEER, now_s + BAN_FIRST_S) is None
    assert standings.ban_of(OTHER, now_s) is None


@pytest.mark.parametrize("act", FAULTS)
def test_a_fault_now_and_then_bans_nobody(act: Act) -> None:
    standings = Standings()
    every_s = 1.05 * standing.SCORE_HALF_LIFE_S * -log2(1 - act.points / BANNED_BELOW)
    for i in range(2000):
        assert standings.record(PEER, act, i * every_s) is None


def test_a_hello_of_another_network_every_half_minute_bans_nobody() -> None:
    standings = Standings()
    assert [standings.record(PEER, Act.REFUSED_HELLO, 60.0 * i) for i in range(1000)] == [None] * 1000


def test_good_gossip_makes_up_for_one_slip_and_no_more() -> None:
    standings = Standings()
    for _ in range(1_000_000 // 100):
        standings.record(PEER, Act.NEW_GOSSIP, 0.0)
    assert standings.scores(0.0)[PEER] == pytest.approx(CREDIT_MAX)
    assert [standings.record(PEER, Act.REJECTED_GOSSIP, 0.0) is None for _ in range(11)] == [True] * 10 + [False]


def test_bans_grow_with_repetition_up_to_a_day_and_shrink_with_time() -> None:
    standings, now_s, lengths = Standings(), 0.0, []
    for _ in range(10):
        ban, now_s = until_banned(standings, Act.MALFORMED, now_s)
        lengths.append(ban.left_s)
        now_s += ban.left_s
    assert lengths == sorted(lengths)
    assert lengths[1] > 1.9 * BAN_FIRST_S
    assert lengths[-1] > 20_000
    assert max(lengths) <= BAN_LONGEST_S

    ban, _ = until_banned(standings, Act.MALFORMED, now_s + 30 * 86_400)
    assert ban.left_s < 1.01 * BAN_FIRST_S


def test_while_a_ban_stands_nothing_is_counted() -> None:
    standings = Standings()
    ban, now_s = until_banned(standings, Act.MALFORMED, 0.0)
    assert all(standings.record(PEER, Act.MALFORMED, now_s + 1) is None for _ in range(100))
    assert standings.ban_of(PEER, now_s + ban.left_s) is None


def test_the_operators_ban_holds_until_it_is_lifted() -> None:
    standings = Standings()
    standings.ban(PEER, 0.0, Ban(inf, "why not", by_operator=True))
    assert str(standings.ban_of(PEER, 1e12)) == "banned until it is lifted: why not"
    standings.unban(PEER)
    assert standings.ban_of(PEER, 0.0) is None
    assert standings.record(PEER, Act.REJECTED_GOSSIP, 0.0) is None


def test_whoever_makes_many_keys_has_no_ban_forgotten() -> None:
    connected = {b"connected" + bytes(23)}
    standings = Standings(connected.__contains__)
    until_banned(standings, Act.MALFORMED, 0.0)
    standings.ban(OTHER, 0.0, Ban(1e6, "operator", by_operator=True))
    standings.record(next(iter(connected)), Act.NEW_GOSSIP, 0.0)

    for i in range(3 * PEERS_MAX):
        standings.record(i.to_bytes(32), Act.REFUSED_HELLO, 1.0)
    assert len(standings.scores(1.0)) <= PEERS_MAX + standing.EVICTED_AT_ONCE
    assert set(standings.bans(1.0)) == {PEER, OTHER}
    assert connected <= standings.scores(1.0).keys()


def test_a_table_full_of_bans_still_judges_whoever_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "PEERS_MAX", 10)
    monkeypatch.setattr(standing, "EVICTED_AT_ONCE", 2)
    standings = Standings(lambda peer: peer == PEER)
    for i in range(50):
        standings.ban(i.to_bytes(32), 0.0, Ban(inf, "full", by_operator=False))
    ban, _ = until_banned(standings, Act.REJECTED_GOSSIP, 0.0, every_s=1.0)
    assert ban.reason == "10 rejected gossip messages"


@given(st.lists(st.tuples(st.sampled_from(Act), st.floats(0, 1000), st.booleans()), max_size=60))
def test_an_act_bans_only_whoever_did_it_and_only_for_faults(acts: list[tuple[Act, float, bool]]) -> None:
    standings, now_s = Standings(), 0.0
    for act, passed_s, is_peer in acts:
        now_s += passed_s
        ban = standings.record(PEER if is_peer else OTHER, act, now_s)
        assert ban is None or act.points < 0
        assert all(BANNED_BELOW <= score <= CREDIT_MAX for score in standings.scores(now_s).values())


# Remedies.


@pytest.mark.parametrize("left_s", [600.0, inf])
def test_a_ban_is_lifted_by_the_operator_of_whoever_banned(left_s: float) -> None:
    """The hello of a peer that dials us meanwhile is refused for the same reason as our own dial."""
    ban = Ban(left_s, "10 rejected gossip messages", by_operator=False)
    for ours in (banned("12D3KooW", str(ban)), refused_here("12D3KooW", str(ban))):
        assert ours.remedy == "wait until it has ended, or lift it: heliotrope peer unban 12D3KooW"
    assert "ask that node's operator to lift it" in refused_by("12D3KooW", str(ban)).remedy
