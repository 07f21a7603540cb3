"""What a source foretold: asked again every hour, and its earlier answers kept, so that each is judged by what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.energy.source import ForecastingSource, SourceError
from node.energy.watched import Watched
from protocol.units import MS_PER_HOUR

if TYPE_CHECKING:
    from node.energy.forecast.issues import Issue

ASKED_EVERY_MS = MS_PER_HOUR
KEPT_EVERY_MS = 6 * MS_PER_HOUR  # older answers, one in so long: weather is foretold anew about as often
KEPT_MAX = 120  # a month of them


class Outlook:
    """The forecasts of one source. `fault`: why the last question had no answer; "" if it had."""

    def __init__(self, watched: Watched, source: ForecastingSource) -> None:
        self.name = watched.name
        self.fault = ""
        self._source = source
        self._issues: list[Issue] = []
        self._ask_at_ms = 0

    def issues(self, now_ms: int) -> tuple[Issue, ...]:
        """All answers that are kept, in order of time; the newest is at most ASKED_EVERY_MS old unless the source
        failed. Never raises SourceError: a missing forecast costs precision, and `fault` tells of it."""
        from node.energy.forecast.issues import Issue

        if now_ms >= self._ask_at_ms:
            self._ask_at_ms = now_ms + ASKED_EVERY_MS
            try:
                self._keep(Issue(now_ms, self._source.forecast(now_ms)))
                self.fault = ""
            except SourceError as error:
                self.fault = error.cause
                self._ask_at_ms = now_ms + max(ASKED_EVERY_MS, error.retry_after_ms or 0)
        return tuple(self._issues)

    def _keep(self, issue: Issue) -> None:
        kept = self._issues
        if len(kept) >= 2 and kept[-1].issued_ms - kept[-2].issued_ms < KEPT_EVERY_MS:
            kept.pop()
        kept.append(issue)
        del kept[:-KEPT_MAX]
