"""Results that are used again, as long as there is room for them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Recent(Generic[Result]):
    """Results by key, of `bytes_max` together; those that were not used for longest make room. One that is larger than
    that alone is kept until the next.

    Whether a result is still there decides nothing but time. The bound is for strangers' instances, in which every job
    may be a class of its own.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._held: dict[Hashable, tuple[Result, int]] = {}
        self._bytes = 0

    def get(self, key: Hashable, find: Callable[[], tuple[Result, int]]) -> Result:
        """The result of this key; `find` returns it and the bytes that it takes."""
        held = self._held.pop(key, None)
        if held is None:
            held = find()
            self._bytes += held[1]
            while self._held and self._bytes > self.bytes_max:
                _, size = self._held.pop(next(iter(self._held)))
                self._bytes -= size
        self._held[key] = held
        return held[0]
