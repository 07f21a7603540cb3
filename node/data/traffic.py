"""What moved over which road, counted since the start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class RoadName(StrEnum):
    """How a blob travels."""

    HTTPS = "https"
    STREAM = "stream"


@dataclass(slots=True)
class Traffic:
    """Bytes of blobs by road, and refusals by kind."""

    sent_bytes: Counter[RoadName] = field(default_factory=Counter)
    fetched_bytes: Counter[RoadName] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
