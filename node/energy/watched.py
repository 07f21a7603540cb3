"""A source under watch: how old its answers are, how often it failed, and when it may be asked again. Pure.

A source that failed is left alone for a while, longer each time: devices hang when they are hammered, and services
ban. What it asks itself (Retry-After) is honoured. In the meantime `read` says what is wrong, and since when.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from node.energy.source import Kind, Reading, Source, SourceError

BACKOFF_MS = 5_000
BACKOFF_MAX_MS = 900_000
AHEAD_MAX_MS = 120_000  # clocks of services and devices differ from ours by so much without harm


@dataclass(frozen=True, slots=True)
class Health:
    """How a source stands. `last_reading`: its last good answer, None if there was none since the start."""

    name: str
    kind: Kind
    last_reading: Reading | None
    failures: int  # in a row
    fault: str  # "" while the last answer was good
    remedy: str
    retry_at_ms: int  # not asked again before; 0 while it is well

    @property
    def is_well(self) -> bool:
        return not self.fault


class Watched:
    """A Source around another. `name` is how people know it: its section, as in `energy.grid (electricitymaps)`."""

    def __init__(self, name: str, source: Source, stale_after_ms: int, refresh_ms: int = 0) -> None:
        """`refresh_ms`: a source that has answered well is asked again no sooner; until then its figure stands."""
        self.name = name
        self.source = source
        self.kind = source.kind
        self._stale_after_ms = stale_after_ms
        self._refresh_ms = refresh_ms
        self._answered_ms = 0
        self._health = Health(name, source.kind, None, 0, "", "", 0)

    @property
    def health(self) -> Health:
        return self._health

    def read(self, now_ms: int) -> Reading:
        """The source's newest figure. Raises SourceError if it has none, or one older than `stale_after_ms` or from the
        future, or if its program fails, and without asking it while it is left alone."""
        if now_ms < self._health.retry_at_ms:
            raise SourceError(
                f"{self._health.fault} (asked again in {(self._health.retry_at_ms - now_ms + 999) // 1000} s)",
                self._health.remedy,
            )
        standing = self._standing(now_ms)
        if standing is not None:
            return standing
        try:
            reading = self.source.read(now_ms)
            self._check_time(reading, now_ms)
        except SourceError as error:
            self._note_failure(error, now_ms)
            raise
        except Exception as fault:  # one source's, which must not cost what the others say
            named = SourceError(f"a fault of its program: {type(fault).__name__}", "Report it, with the version.")
            self._note_failure(named, now_ms)
            raise named from fault
        self._health = Health(self.name, self.kind, reading, 0, "", "", 0)
        self._answered_ms = now_ms
        return reading

    def _standing(self, now_ms: int) -> Reading | None:
        """The last figure, while it need not be asked for again."""
        last = self._health.last_reading
        if last is None or not self._health.is_well or last.age_ms(now_ms) > self._stale_after_ms:
            return None
        return last if 0 <= now_ms - self._answered_ms < self._refresh_ms else None

    def _check_time(self, reading: Reading, now_ms: int) -> None:
        age_ms = reading.age_ms(now_ms)
        if age_ms > self._stale_after_ms:
            raise SourceError(
                f"its newest figure is {age_ms // 1000} s old, {self._stale_after_ms // 1000} s are allowed",
                "See why the source stands still; or raise stale_after_s.",
            )
        if reading.start_ms > now_ms + AHEAD_MAX_MS:
            raise SourceError(
                f"its newest figure is from {(reading.start_ms - now_ms) // 1000} s ahead of this clock",
                "Set both clocks by NTP, and let the source speak UTC.",
            )

    def _note_failure(self, error: SourceError, now_ms: int) -> None:
        before = self._health
        failures = before.failures + 1
        pause_ms = min(BACKOFF_MS << min(failures - 1, 16), BACKOFF_MAX_MS)
        # Spread by name and count, so that a thousand nodes do not come back at once.
        draw = hashlib.sha256(f"{self.name} {failures}".encode()).digest()[0]
        pause_ms += pause_ms * draw // 1024
        retry_at_ms = now_ms + max(pause_ms, error.retry_after_ms or 0)
        self._health = Health(
            self.name, self.kind, before.last_reading, failures, error.cause, error.remedy, retry_at_ms
        )
