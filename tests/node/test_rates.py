"""Facts about token buckets, one and many."""

from __future__ import annotations

import pytest

from node.link.guard import rates
from node.link.guard.rates import Buckets, TokenBucket


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert bucket.reserve(0.5) == 0.5


def test_each_key_has_a_bucket_of_its_own() -> None:
    buckets = Buckets(rate=1, burst=2)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert buckets.take("b", 0.0)
    assert buckets.reserve("b", 0.0, 11) == 10.0


def test_coming_back_fills_no_bucket_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "BUCKETS_MAX", 4)
    buckets = Buckets(rate=1, burst=2)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
    for key in "bcdefgh":
        buckets.take(key, 0.0)
        assert len(buckets._of) <= 4
    assert [buckets.take("x", 100.0 + i / 10) for i in range(3)] == [True, True, False]
    for key in "ijk":
        buckets.take(key, 100.3)
    buckets.take("y", 100.3)
    assert len(buckets._of) <= 4
