"""Facts about fingerprints of heads: what they depend on, and what cannot cancel out in them."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import reduce
from operator import xor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import heads as module
from ledger.heads import ALL, HeadIndex, mark_of
from protocol.envelope import Head

from .dialogue import index_of, many_heads

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, authors=st.integers(0, 60))
def test_a_fingerprint_depends_on_the_heads_and_not_on_how_they_came(seed: int, authors: int) -> None:
    chance = random.Random(seed)
    heads = list(many_heads(chance, authors).values())
    grown = HeadIndex()
    for each in chance.sample(heads, len(heads)):
        grown.update({each.author: replace(each, seq=each.seq - 1)})
        grown.update({each.author: each})
    start, end = sorted(chance.randbytes(2) for _ in range(2))
    for index in (index_of(heads), index_of(reversed(heads))):
        assert index.fingerprint(ALL, ALL) == grown.fingerprint(ALL, ALL)
        assert index.fingerprint(start, end) == grown.fingerprint(start, end)


@pytest.mark.parametrize("change", [{"seq": 1}, {"id": bytes(32)}, {"author": bytes(32)}], ids=lambda c: next(iter(c)))
def test_a_fingerprint_tells_heads_apart(change: dict[str, object]) -> None:
    one, other = many_heads(random.Random(1), 2).values()
    changed = replace(one, **change)  # type: ignore[arg-type]
    assert index_of([one, other]).fingerprint(ALL, ALL) != index_of([changed, other]).fingerprint(ALL, ALL)


@given(seed=seeds, authors=st.integers(1, 200), parts=st.integers(2, 16))
def test_the_parts_of_a_range_hold_all_of_it_evenly(seed: int, authors: int, parts: int) -> None:
    index = index_of(many_heads(random.Random(seed), authors).values())
    ends = index.split(ALL, ALL, parts)
    counts = [index.count(start, end) for start, end in zip((ALL, *ends), ends, strict=False)]
    assert sum(counts) == authors
    assert max(counts) - min(counts) <= 1
    assert len(counts) == min(parts, authors)


def test_a_range_that_ends_before_it_starts_is_empty() -> None:
    index = index_of(many_heads(random.Random(1), 20).values())
    assert index.fingerprint(b"\xff", b"\x01") == HeadIndex().fingerprint(ALL, ALL)
    assert index.count(b"\xff", b"\x01") == 0
    assert index.heads(b"\xff", b"\x01") == []
    assert index.split(b"\xff", b"\x01", 16) == [b"\x01"]


def test_a_head_is_found_by_its_mark_as_long_as_it_is_the_newest() -> None:
    (old,) = many_heads(random.Random(1), 1).values()
    new = replace(old, seq=old.seq + 1)
    index = index_of([old])
    assert index.marked(mark_of(old)) is old
    index.update({new.author: new})
    assert index.marked(mark_of(old)) is None
    assert index.marked(mark_of(new)) is new


def cancelling(heads: list[Head]) -> list[Head]:
    """A subset whose hashes XOR to nothing, found by elimination: any 257 heads have one."""
    basis: dict[int, tuple[int, int]] = {}  # leading bit → (number, which heads made it)
    for place, each in enumerate(heads):
        number, made_of = module._number(each), 1 << place
        while number and number.bit_length() in basis:
            other, parts = basis[number.bit_length()]
            number, made_of = number ^ other, made_of ^ parts
        if not number:
            return [head for bit, head in enumerate(heads) if made_of >> bit & 1]
        basis[number.bit_length()] = number, made_of
    raise AssertionError("too few heads")


def test_heads_that_cancel_out_under_xor_show_in_the_fingerprint() -> None:
    chance = random.Random(1)
    invented = cancelling(list(many_heads(chance, 257).values()))
    assert reduce(xor, map(module._number, invented)) == 0
    honest = list(many_heads(chance, 10).values())
    hidden = invented[: len(invented) // 2], invented[len(invented) // 2 :]
    one, other = (index_of([*honest, *part]).fingerprint(ALL, ALL) for part in hidden)
    assert one != other
    assert index_of([*honest, *invented]).fingerprint(ALL, ALL) != index_of(honest).fingerprint(ALL, ALL)
