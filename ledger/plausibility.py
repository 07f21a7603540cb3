"""What makes claims of energy hard to believe: day by day, and over rolling windows of 30 days.

Findings advise. They void nothing, since they weigh what honest plants usually do: an auditor refuses a
countersignature over them, and an audit lists them, each with its numbers and the likeliest innocent cause. So floats
may do the work. What voids is in `solar` and `transitions`.

How far an honest solar plant stays below its bound is a matter of physics: modules, wires and an inverter lose a tenth
or more; shade, snow, clouds and a clipping inverter only take. What can raise it is a nameplate understated by a few
percent, cold, and clouds beside the sun, which last for minutes: half hours are averaged, and the best tenth is looked
at. Capacity is the sum of the modules' nameplates; the inverter's rating, lower as a rule, would be exceeded honestly.

Where the orientation is not declared, the window itself shows it: a lie about the amount leaves the shape of the day as
it is. The bound is then the most generous of the mounts that fit the shape nearly as well as the best one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TypeVar

from ledger import mounts, solar
from ledger.mounts import Block, Yield
from protocol.messages import Carrier

WINDOW_DAYS = 30
WINDOW_DAYS_MIN = 10  # with light: fewer say little of a month
BLOCKS_MIN = 60  # half hours with light
MS_PER_DECIDEGREE = 24_000  # the earth turns by 0.1 degree in 24 s

DAY_MAX = 1.0  # of what a clear sky gives in a day; the honest traces reach 0.82
DAY_LIGHT_MIN_S = 3600  # at full light; a darker day, or the first hours of one, are not judged by their sum
PLANE_MAX = 0.90  # of a declared plane's share, in the window's best tenth; the honest traces: 0.61 to 0.81
FITTED_MAX = 1.05  # of a fitted mount's; the honest traces: 0.56 to 0.85
WORTH_MIN = 0.9  # of what level panels yield; what yields less would leave a smaller bound, and may fit a tracker
WIND_MAX = 0.80  # of capacity x time in a window: the best months offshore come to about 0.65

CENTRE_MAX_MINUTES = 30.0  # the median of a window's clear days; shade and clouds move the honest traces' by 19
CENTRE_CLEAR_MIN = 0.5  # what the plane's brightest half hour must reach: one that looks away sees sky, and no noon
CLEAR_DAYS_MIN = 5
CLEAR_DAY = 0.75  # of the best tenth of days
MINUTES_PER_DEGREE = 4.0  # of longitude

SIGNAL_KM_PER_MS = 100.0  # of round-trip time: light goes 200 km in a millisecond of fibre, and must come back
EARTH_KM = 6371.0
PLACES_KM = 16.0  # two places told to 0.1 degree may be nearer to each other by this

Day = TypeVar("Day")


class Cause(StrEnum):
    """What an honest owner most likely got wrong."""

    CLOCK = "clock?"
    CAPACITY = "capacity?"
    ORIENTATION = "orientation?"
    PLACE = "place?"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason for doubt: `value` beyond `bound`; `sentence` is for people, and complete without the rest."""

    check: str
    value: float
    bound: float
    cause: Cause
    sentence: str
    start_ms: int = 0  # of what it is about; 0 to 0: no time in particular
    end_ms: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A device as its owner declares it. Tilt 0 (level) to 90, azimuth 0 (north) to 359, clockwise."""

    carrier: Carrier
    capacity_w: int
    latitude_decidegrees: int
    longitude_decidegrees: int
    tilt_degrees: int | None = None
    azimuth_degrees: int | None = None

    def day(self, at_ms: int) -> int:
        """The day of local mean solar time: days since 1970."""
        return (at_ms + self.longitude_decidegrees * MS_PER_DECIDEGREE) // solar.DAY_MS

    def begins_at_ms(self, day: int) -> int:
        return day * solar.DAY_MS - self.longitude_decidegrees * MS_PER_DECIDEGREE

    def plane(self) -> mounts.Fixed | None:
        """The declared one."""
        if self.tilt_degrees is None or self.azimuth_degrees is None:
            return None
        return mounts.Fixed.at(self.tilt_degrees, self.azimuth_degrees)


def device_findings(device: Device, yields: Iterable[Yield]) -> list[Finding]:
    """All that is hard to believe of one device's claims, day by day and over every 30 days of them.

    What is too little to judge (a few days, a dark month) is not found fault with.
    """
    days = by_day(device, yields)
    found: list[Finding] = []
    if device.capacity_w == 0 or not days:
        return found
    if device.carrier == "wind":
        for window in windows(days):
            found += wind_findings(device, [y for yields_of_day in window for y in yields_of_day])
    if device.carrier == "solar":
        for yields_of_day in days.values():
            found += day_findings(device, yields_of_day)
        for lit in windows({day: blocks(device, yields_of_day) for day, yields_of_day in days.items()}):
            found += window_findings(device, lit)
    return found


def by_day(device: Device, yields: Iterable[Yield]) -> dict[int, list[Yield]]:
    """Claims in order of time, by the day of local mean solar time in which their middles lie."""
    days: dict[int, list[Yield]] = defaultdict(list)
    for y in sorted(yields, key=lambda y: y.start_ms):
        days[device.day(y.mid_ms)].append(y)
    return dict(days)


def windows(days: Mapping[int, Day]) -> Iterator[list[Day]]:
    """The days of each window that is 30 days long and ends with one of them; of the only one, if all are fewer."""
    first, last = min(days), max(days)
    for end in sorted(days):
        if end == last or end - first >= WINDOW_DAYS - 1:
            yield [days[day] for day in range(end - WINDOW_DAYS + 1, end + 1) if day in days]


def day_findings(device: Device, yields: Sequence[Yield]) -> Iterator[Finding]:
    """What is wrong with the intervals of one solar day, and with their sum."""
    dark: list[str] = []
    bright: list[str] = []
    claimed_j = bound_j = 0.0
    place = (device.latitude_decidegrees, device.longitude_decidegrees)
    plane = (device.tilt_degrees, device.azimuth_degrees)
    for y in yields:
        fault = solar.interval_fault(y.energy_j, device.capacity_w, y.start_ms, y.end_ms, *place, *plane)
        if fault is not None:
            (dark if fault.is_night else bright).append(fault.complaint)
        light = solar.irradiance(solar.direction(solar.equatorial(y.mid_ms), y.mid_ms, *place), *plane)
        claimed_j += y.energy_j
        bound_j += light * device.capacity_w * (y.end_ms - y.start_ms) / 1e6
    span = (yields[0].start_ms, yields[-1].end_ms)
    if dark:
        sentence = f"{len(dark)} intervals of the day claim energy at night, the first: {dark[0]}"
        yield Finding("night", len(dark), 0, Cause.CLOCK, sentence, *span)
    if bright:
        sentence = f"{len(bright)} intervals of the day claim more than a clear sky gives, the first: {bright[0]}"
        yield Finding("clear sky", len(bright), 0, Cause.CAPACITY, sentence, *span)
    if bound_j >= device.capacity_w * DAY_LIGHT_MIN_S and claimed_j > bound_j * DAY_MAX:
        share = claimed_j / bound_j
        sentence = f"the day yields {share:.2f} of what a clear sky gives, at most {DAY_MAX:.2f} is likely"
        yield Finding("day", share, DAY_MAX, Cause.CAPACITY, sentence, *span)


def blocks(device: Device, yields: Iterable[Yield]) -> list[Block]:
    """Half hours for `window_findings`: by all mounts, and by the declared plane, which comes last."""
    plane = device.plane()
    known = mounts.MOUNTS if plane is None else (*mounts.MOUNTS, plane)
    place = (device.latitude_decidegrees, device.longitude_decidegrees)
    return mounts.blocks(yields, device.capacity_w, *place, known)


def window_findings(device: Device, days: Sequence[Sequence[Block]]) -> Iterator[Finding]:
    """What is wrong with up to 30 days of blocks: their amount, and the middle of their days."""
    window = [block for day in days for block in day]
    lit = [day for day in days if any(max(block.clear) >= mounts.CLEAR_MIN for block in day)]
    if len(window) < BLOCKS_MIN or len(lit) < WINDOW_DAYS_MIN:
        return
    span = (window[0].mid_ms, window[-1].mid_ms)
    fits = [fit for fit in mounts.fits(window, range(len(mounts.MOUNTS))) if fit.worth >= WORTH_MIN]
    fitted = min((fit.best for fit in fits if fit.misfit <= fits[0].misfit + mounts.MISFIT_TOLERANCE), default=0.0)
    if fitted > FITTED_MAX:
        sentence = (
            f"the best tenth of {len(window)} half hours yields {fitted:.2f} of what a mount that fits the shape of the"
            f" days gives under a clear sky, at most {FITTED_MAX:.2f} is likely"
        )
        yield Finding("window", fitted, FITTED_MAX, Cause.CAPACITY, sentence, *span)
    if device.plane() is None:
        return
    for fit in mounts.fits(window, [len(mounts.MOUNTS)]):
        if fit.best > PLANE_MAX:
            cause = Cause.CAPACITY if fitted > PLANE_MAX else Cause.ORIENTATION
            sentence = (
                f"the best tenth of {len(window)} half hours yields {fit.best:.2f} of what the declared plane gives"
                f" under a clear sky, at most {PLANE_MAX:.2f} is likely"
            )
            yield Finding("plane", fit.best, PLANE_MAX, cause, sentence, *span)
    yield from centre_findings(days, span)


def centre_findings(days: Sequence[Sequence[Block]], span: tuple[int, int]) -> Iterator[Finding]:
    """Where the energy of clear days is centred, beside the declared plane's: a wrong clock, or a wrong longitude."""
    centres: list[tuple[float, float]] = []  # share of a clear day, minutes late
    if max(block.clear[-1] for day in days for block in day) < CENTRE_CLEAR_MIN:
        return
    for day in days:
        said, could = sum(block.share for block in day), sum(block.clear[-1] for block in day)
        if said > 0 and could > 0:
            at_ms = sum(block.share * block.mid_ms for block in day) / said
            centres.append((said / could, (at_ms - sum(b.clear[-1] * b.mid_ms for b in day) / could) / 60_000))
    if not centres:
        return
    enough = CLEAR_DAY * mounts.best_tenth(share for share, _ in centres)
    late = [minutes for share, minutes in centres if share >= enough]
    minutes = median(late)
    if len(late) < CLEAR_DAYS_MIN or abs(minutes) <= CENTRE_MAX_MINUTES:
        return
    when, where = ("late", "west") if minutes > 0 else ("early", "east")
    sentence = (
        f"on {len(late)} clear days the energy comes {abs(minutes):.0f} minutes {when}, at most"
        f" {CENTRE_MAX_MINUTES:.0f} are likely: a clock off by an hour (daylight saving?), or a place"
        f" {abs(minutes) / MINUTES_PER_DEGREE:.0f} degrees {where} of the declared one"
    )
    yield Finding("centre", minutes, CENTRE_MAX_MINUTES, Cause.CLOCK, sentence, *span)


def wind_findings(device: Device, yields: Sequence[Yield]) -> Iterator[Finding]:
    """Turbines that know no calm."""
    covered_ms = sum(y.end_ms - y.start_ms for y in yields)
    share = sum(y.energy_j for y in yields) * 1000 / (device.capacity_w * covered_ms)
    if covered_ms >= WINDOW_DAYS_MIN * solar.DAY_MS and share > WIND_MAX:
        sentence = f"{share:.2f} of capacity x time over {covered_ms // solar.DAY_MS} days, {WIND_MAX:.2f} is likely"
        yield Finding("wind", share, WIND_MAX, Cause.CAPACITY, sentence, yields[0].start_ms, yields[-1].end_ms)


def round_trip_finding(round_trip_ms: float, declared: tuple[int, int], witness: tuple[int, int]) -> Finding | None:
    """Why a peer cannot be where it says: it answered too soon to a witness whose place is known.

    Places are (latitude, longitude) in tenths of a degree. Of several round trips the shortest says most; a slow one
    says nothing.
    """
    apart_km, bound_km = distance_km(declared, witness), round_trip_ms * SIGNAL_KM_PER_MS + PLACES_KM
    if apart_km <= bound_km:
        return None
    sentence = (
        f"it answers in {round_trip_ms:g} ms, so within {bound_km:.0f} km of a witness from which the declared place is"
        f" {apart_km:.0f} km away"
    )
    return Finding("round trip", apart_km, bound_km, Cause.PLACE, sentence)


def distance_km(a: tuple[int, int], b: tuple[int, int]) -> float:
    """The great circle between two places (latitude, longitude) in tenths of a degree, by the haversine formula."""
    latitude_a, longitude_a, latitude_b, longitude_b = (math.radians(angle / 10) for angle in (*a, *b))
    north = math.sin((latitude_b - latitude_a) / 2) ** 2
    east = math.cos(latitude_a) * math.cos(latitude_b) * math.sin((longitude_b - longitude_a) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(north + east))
