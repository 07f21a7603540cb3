"""What panels yield under a clear sky, by how they are mounted; and which mounts fit the shape of what was claimed.

Floats: this only advises (see `plausibility`). The sky is that of `solar`; vectors point east, north and up.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger import solar

BLOCK_MS = 1_800_000
BLOCK_COVERED_MIN_MS = 600_000  # less of a half hour is left out
BLOCKS_OF_DAY = solar.DAY_MS // BLOCK_MS

CLEAR_MIN = 0.3  # share of capacity under a clear sky; with less, haze, shade and glass decide what is made of it
BEST_TENTH = 0.9
SAME_CLOCK_MIN = 5  # days on which a half hour was seen, so that its best tenth says something
MISFIT_TOLERANCE = 0.10  # of a day's energy: what shade and a clipping inverter change of its shape

TEMPERATURE_COEFFICIENT = -0.004  # of the power, per kelvin above 25 degrees: crystalline silicon
HEATING_K = 25.0  # of a module above the air, per kW/m²: in an open rack; on a roof more
AIR_MIN_C = (-25.0, 40.0)  # air is at least the first, and the second times the sine of the sun's elevation above it


@dataclass(frozen=True, slots=True)
class Yield:
    """What one attestation claims: an interval of at most an hour of network time, and its joules."""

    start_ms: int
    end_ms: int
    energy_j: int

    @property
    def mid_ms(self) -> int:
        return (self.start_ms + self.end_ms) // 2


@dataclass(frozen=True, slots=True)
class Sky:
    """A cloudless sky. The direction of the sun is of length 1, light in kW/m²."""

    east: float
    north: float
    up: float
    direct: float  # on a plane that faces the sun
    diffuse: float  # on level ground
    level: float  # both, on level ground


@dataclass(frozen=True, slots=True)
class Block:
    """What was claimed of about half an hour by day, beside what could be."""

    mid_ms: int
    clock: int  # which half hour of the day, UTC
    share: float  # mean power, as a share of capacity
    clear: tuple[float, ...]  # the share that each of some mounts would reach without losses under a clear sky


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a mount explains a window of claims, by a day's shape alone: their amount does not matter for it."""

    mount: int  # its place among the mounts that the blocks were made for
    misfit: float  # mean difference of the day's shape, as a share of the day's energy
    best: float  # the best tenth of the claimed shares of a clear sky
    worth: float  # what it would yield in the window under a clear sky, as a share of what level panels would


class Mount(Protocol):
    """How panels are held."""

    def faces(self, sky: Sky) -> tuple[float, float]:
        """Cosine of the angle between the sun and the panels' normal, at least 0; and cosine of their tilt."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """On a plane with this normal."""

    east: float
    north: float
    up: float

    @classmethod
    def at(cls, tilt_degrees: int, azimuth_degrees: int) -> Fixed:
        """Tilt 0 (level) to 90, azimuth 0 (north) to 359, clockwise."""
        tilt, azimuth = math.radians(tilt_degrees), math.radians(azimuth_degrees)
        return cls(math.sin(tilt) * math.sin(azimuth), math.sin(tilt) * math.cos(azimuth), math.cos(tilt))

    def faces(self, sky: Sky) -> tuple[float, float]:
        return max(self.east * sky.east + self.north * sky.north + self.up * sky.up, 0.0), self.up


class OneAxis:
    """Turning from east to west about a level axis that points north."""

    def faces(self, sky: Sky) -> tuple[float, float]:
        up = max(sky.up, 0.0)
        incidence = math.hypot(sky.east, up)
        return incidence, up / incidence if incidence else 1.0


class TwoAxes:
    """Always facing the sun."""

    def faces(self, sky: Sky) -> tuple[float, float]:
        return 1.0, max(sky.up, 0.0)


# Tilts and azimuths 20 and 30 degrees apart: what lies between two of them is within the tolerance of one.
MOUNTS: tuple[Mount, ...] = (
    Fixed.at(0, 0),  # first: LEVEL
    *(Fixed.at(tilt, azimuth) for tilt in (20, 40, 60, 90) for azimuth in range(0, 360, 30)),
    OneAxis(),
    TwoAxes(),
)


LEVEL = 0  # its place


def sky_at(at_ms: int, latitude_decidegrees: int, longitude_decidegrees: int) -> Sky:
    """The cloudless sky over a place at a moment of network time."""
    east, north, up = solar.direction(solar.equatorial(at_ms), at_ms, latitude_decidegrees, longitude_decidegrees)
    direct, diffuse = solar.clear_sky(up)
    level = direct * max(up, 0) / solar.ONE + diffuse
    return Sky(east / solar.ONE, north / solar.ONE, up / solar.ONE, direct / 1000, diffuse / 1000, level / 1000)


def clear_share(mount: Mount, sky: Sky) -> float:
    """The share of its capacity that a mount reaches without losses, in the coldest air that is likely."""
    incidence, rise = mount.faces(sky)
    ground = sky.level * solar.ALBEDO_PERMILLE / 1000
    light = sky.direct * incidence + sky.diffuse * (1 + rise) / 2 + ground * (1 - rise) / 2
    module_c = AIR_MIN_C[0] + AIR_MIN_C[1] * max(sky.up, 0.0) + HEATING_K * light
    return light * (1 + TEMPERATURE_COEFFICIENT * (module_c - 25))


def blocks(
    yields: Iterable[Yield],
    capacity_w: int,
    latitude_decidegrees: int,
    longitude_decidegrees: int,
    mounts: Sequence[Mount],
) -> list[Block]:
    """Claims put together by the half hour in which their middles lie, in order, where there is light."""
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for y in yields:
        duration_ms = y.end_ms - y.start_ms
        of_block = sums[y.mid_ms // BLOCK_MS]
        of_block[0] += y.energy_j
        of_block[1] += duration_ms
        of_block[2] += y.mid_ms * duration_ms
    found = []
    for number, (energy_j, covered_ms, weighted) in sorted(sums.items()):
        if covered_ms < BLOCK_COVERED_MIN_MS:
            continue
        mid_ms = weighted // covered_ms
        sky = sky_at(mid_ms, latitude_decidegrees, longitude_decidegrees)
        if sky.level > 0:
            share = energy_j * 1000 / (capacity_w * covered_ms)
            clear = tuple(clear_share(mount, sky) for mount in mounts)
            found.append(Block(mid_ms, number % BLOCKS_OF_DAY, share, clear))
    return found


def best_tenth(values: Iterable[float]) -> float:
    """The value that a tenth of them reach, of at least one."""
    ordered = sorted(values)
    return ordered[min(int(BEST_TENTH * len(ordered)), len(ordered) - 1)]


def fits(window: Iterable[Block], mounts: Iterable[int]) -> list[Fit]:
    """How each of these mounts explains a window, the closest first; without those that never reach CLEAR_MIN."""
    by_clock: dict[int, list[Block]] = defaultdict(list)
    for block in window:
        by_clock[block.clock].append(block)
    seen = [same for same in by_clock.values() if len(same) >= SAME_CLOCK_MIN]
    shape = [best_tenth(block.share for block in same) for same in seen]
    if not any(shape):
        return []
    level = sum(block.clear[LEVEL] for same in seen for block in same)
    found = []
    for mount in mounts:
        ratios = [
            block.share / block.clear[mount] for same in seen for block in same if block.clear[mount] >= CLEAR_MIN
        ]
        if ratios:
            clear = [sum(block.clear[mount] for block in same) / len(same) for same in seen]
            scale = _product(shape, clear) / _product(clear, clear)
            misfit = sum(abs(said - scale * could) for said, could in zip(shape, clear, strict=True)) / sum(shape)
            worth = sum(block.clear[mount] for same in seen for block in same) / level
            found.append(Fit(mount, misfit, best_tenth(ratios), worth))
    return sorted(found, key=lambda fit: fit.misfit)


def _product(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
