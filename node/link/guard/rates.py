"""Token buckets: how much of something may come, and how fast. Pure: time is passed in, in seconds."""

from __future__ import annotations

from collections.abc import Hashable

BUCKETS_MAX = 8192  # kept for those who come back too soon; guess, not measured


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up; starts full."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self._tokens, self._at = burst, now

    def take(self, now: float) -> bool:
        """Whether there was a token; it is gone now."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def reserve(self, now: float, tokens: float = 1) -> float:
        """Take tokens in any case; the seconds until they are due."""
        self._refill(now)
        self._tokens -= tokens
        return max(0.0, -self._tokens / self.rate)

    def is_full(self, now: float) -> bool:
        self._refill(now)
        return self._tokens >= self.burst

    def _refill(self, now: float) -> None:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now


class Buckets:
    """One bucket for each key, all alike. A full one is as good as none: those are forgotten, the rest stay, so that
    leaving and coming back fills no bucket."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._of: dict[Hashable, TokenBucket] = {}

    def take(self, key: Hashable, now: float) -> bool:
        return self._bucket(key, now).take(now)

    def reserve(self, key: Hashable, now: float, tokens: float = 1) -> float:
        return self._bucket(key, now).reserve(now, tokens)

    def _bucket(self, key: Hashable, now: float) -> TokenBucket:
        bucket = self._of.get(key)
        if bucket is None:
            if len(self._of) >= BUCKETS_MAX:
                self._of = {each: kept for each, kept in self._of.items() if not kept.is_full(now)}
            if len(self._of) >= BUCKETS_MAX:
                del self._of[next(iter(self._of))]
            bucket = self._of[key] = TokenBucket(self.rate, self.burst, now)
        return bucket
