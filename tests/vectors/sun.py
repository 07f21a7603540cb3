"""Solar bounds of intervals at random times, places and planes, from a seed; and at the edges of what is allowed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from ledger.solar import PART_MS, interval_fault

CASES = 240
FAR_BEYOND_J = 10**15
DURATIONS_MS = (1, 60_000, 900_000, PART_MS, PART_MS + 1, 3_600_000)
EDGES = ((0, 0), (900, 0), (-900, 1800), (0, -1800))


def make() -> dict[str, Any]:
    return {"bounds": list(_bounds())}


def _bounds() -> Iterator[dict[str, Any]]:
    chance = random.Random(1)
    for number in range(CASES):
        start_ms = chance.randrange(2**42)
        place = EDGES[number] if number < len(EDGES) else (chance.randint(-900, 900), chance.randint(-1800, 1800))
        plane = (None, None) if number % 2 else (chance.randint(0, 90), chance.randint(0, 359))
        capacity_w, duration_ms = chance.randint(1, 10**6), DURATIONS_MS[number % len(DURATIONS_MS)]
        found = interval_fault(FAR_BEYOND_J, capacity_w, start_ms, start_ms + duration_ms, *place, *plane)
        assert found is not None
        yield {
            "name": f"{number}: {'night' if found.is_night else 'day'}",
            "capacity_w": capacity_w,
            "start_ms": start_ms,
            "end_ms": start_ms + duration_ms,
            "latitude_decidegrees": place[0],
            "longitude_decidegrees": place[1],
            "tilt_degrees": plane[0],
            "azimuth_degrees": plane[1],
            "bound_j": found.bound_j,
            "is_night": found.is_night,
        }
