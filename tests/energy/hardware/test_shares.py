"""Dividing what one meter counted: nothing lost, nothing twice, and nothing told that nobody knows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.energy.hardware.shares import Shares
from node.energy.power import Measured

NAME = "a meter"


def shares(*keys: str) -> Shares[str]:
    """At 0 ms, 0 µJ; every worker has used no time."""
    made: Shares[str] = Shares(NAME, 50)
    made.advance(0, 0, {})
    for key in keys:
        made.add(key, 0)
    return made


def test_one_worker_alone_drew_all_of_it() -> None:
    one = shares("a")
    one.advance(2_000, 30_000_000, {"a": 1_900})
    assert one.take("a") == Measured(30_000, 2_000, 50, NAME)


def test_several_share_by_processor_time_and_say_so() -> None:
    both = shares("a", "b")
    both.advance(1_000, 40_000_000, {"a": 900, "b": 300})
    assert both.take("a") == Measured(30_000, 1_000, 150, f"{NAME}, shared by processor time")
    assert both.take("b") == Measured(10_000, 1_000, 150, f"{NAME}, shared by processor time")


def test_where_nobody_used_any_time_all_draw_alike() -> None:
    both = shares("a", "b")
    both.advance(1_000, 8_000_000, {"a": 0, "b": 0})
    assert [part and part.energy_mj for part in map(both.take, "ab")] == [4_000, 4_000]


def test_a_worker_draws_nothing_before_it_begins_nor_after_it_has_ended() -> None:
    some = shares("a")
    some.advance(1_000, 10_000_000, {"a": 1_000})
    some.add("b", 500)
    some.advance(2_000, 20_000_000, {"a": 2_000, "b": 1_500})
    some.remove("a")
    some.advance(3_000, 27_000_000, {"b": 2_000})
    assert some.take("a") is None
    assert some.take("b") == Measured(12_000, 2_000, 150, f"{NAME}, shared by processor time")


def test_a_worker_that_is_alone_again_says_so() -> None:
    some = shares("a", "b")
    some.advance(1_000, 10_000_000, {"a": 1_000, "b": 0})
    some.take("a")
    some.remove("b")
    some.advance(2_000, 20_000_000, {"a": 2_000})
    assert some.take("a") == Measured(10_000, 1_000, 50, NAME)


def test_a_process_that_is_gone_uses_no_more() -> None:
    both = shares("a", "b")
    both.advance(1_000, 10_000_000, {"a": 1_000})
    assert [part and part.energy_mj for part in map(both.take, "ab")] == [10_000, 0]


def test_around_a_failed_reading_nobody_knows_and_after_it_they_do() -> None:
    both = shares("a", "b")
    both.advance(1_000, 10_000_000, {"a": 1, "b": 1})
    both.advance(2_000, None, {"a": 2, "b": 2})
    assert both.take("a") is None
    both.advance(3_000, 30_000_000, {"a": 3, "b": 3})
    assert both.take("b") is None  # what was drawn since the last good reading may be its
    assert both.take("a") is None
    both.advance(4_000, 36_000_000, {"a": 4, "b": 4})
    assert [part and part.energy_mj for part in map(both.take, "ab")] == [3_000, 3_000]


def test_what_is_less_than_a_millijoule_is_told_with_the_next_round() -> None:
    one = shares("a")
    one.advance(1, 1_999, {"a": 1})
    assert one.take("a") == Measured(1, 1, 50, NAME)
    one.advance(2, 2_000, {"a": 2})
    assert one.take("a") == Measured(1, 1, 50, NAME)


Steps = st.lists(st.tuples(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=3, max_size=3)), max_size=20)


@given(Steps)
def test_no_microjoule_is_lost_and_none_counted_twice(steps: list[tuple[int, list[int]]]) -> None:
    three = shares("a", "b", "c")
    total_uj, used_ms, given_mj = 0, [0, 0, 0], 0
    for at_ms, (risen_uj, added_ms) in enumerate(steps):
        total_uj += risen_uj
        used_ms = [before + added for before, added in zip(used_ms, added_ms, strict=True)]
        three.advance(at_ms, total_uj, dict(zip("abc", used_ms, strict=True)))
        taken = three.take("abc"[at_ms % 3])
        given_mj += taken.energy_mj if taken else 0
    given_mj += sum(part.energy_mj for part in map(three.take, "abc") if part)
    assert total_uj // 1000 - 2 <= given_mj <= total_uj // 1000
