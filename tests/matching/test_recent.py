"""Results are found once while there is room, and again when they had to make room."""

from __future__ import annotations

from node.matching.recent import Recent


def asked(recent: Recent[str], keys: str, size: int = 1) -> str:
    """Ask for these keys, one after the other; which of them had to be found."""
    found = []
    for key in keys:

        def find(key: str = key) -> tuple[str, int]:
            found.append(key)
            return key.upper(), size

        assert recent.get(key, find) == key.upper()
    return "".join(found)


def test_a_result_is_found_once() -> None:
    assert asked(Recent(3), "abcabc") == "abc"


def test_what_was_not_used_for_longest_makes_room() -> None:
    assert asked(Recent(3), "abcadab") == "abcdb"


def test_a_result_larger_than_all_room_is_kept_until_the_next() -> None:
    recent: Recent[str] = Recent(3)
    assert asked(recent, "aabb", size=5) == "ab"
    assert asked(recent, "ccb") == "cb"
