"""Trees read from a store: the same roots and proofs whatever was read before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import root_of, verify_consistency
from node.actions import ReadTree
from node.running.trees import Trees
from tests.builders import digest

IDS = [digest(f"entry {n}") for n in range(40)]
AUTHOR = digest("author")


def stored(author: bytes, from_seq: int, limit: int) -> list[bytes]:
    """At most three at a time, as a store that reads in pages."""
    return IDS[from_seq : from_seq + min(limit, 3)] if author == AUTHOR else []


@given(st.lists(st.tuples(st.integers(1, 40), st.lists(st.integers(0, 40), max_size=3)), min_size=1, max_size=5))
def test_roots_and_proofs_do_not_depend_on_what_was_read_before(wanted: list[tuple[int, list[int]]]) -> None:
    trees = Trees(stored)
    for size, old_sizes in wanted:
        read = trees.read(ReadTree(AUTHOR, size, tuple(old_sizes)))
        assert read is not None
        assert (read.author, read.size, read.root, read.last) == (AUTHOR, size, root_of(IDS[:size]), IDS[size - 1])
        assert read.proofs.keys() == {old_size for old_size in old_sizes if old_size <= size}
        for old_size, proof in read.proofs.items():
            verify_consistency(old_size, root_of(IDS[:old_size]), size, read.root, proof)


def test_a_feed_is_read_from_where_it_was_last_read() -> None:
    asked: list[int] = []

    def watched(author: bytes, from_seq: int, limit: int) -> list[bytes]:
        asked.append(from_seq)
        return IDS[from_seq : from_seq + limit]

    trees = Trees(watched)
    trees.read(ReadTree(AUTHOR, 30))
    asked.clear()
    trees.read(ReadTree(AUTHOR, 33, (30,)))
    assert min(asked) == 30


def test_what_the_store_does_not_hold_is_not_answered() -> None:
    trees = Trees(stored)
    for wanted in (ReadTree(AUTHOR, 41), ReadTree(AUTHOR, 41, (40,)), ReadTree(digest("nobody"), 1)):
        assert trees.read(wanted) is None
