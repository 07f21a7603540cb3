"""Where the sun stands, and how much a plant can yield there at most: what refutes a claim without trusting anybody.

Verdicts change what all peers hold, so all of this is integers and comes out the same on every machine: angles in 10^-8
degree, sines and directions in parts per 10^9, irradiance in W/m². Divisions round down, which moves nothing by more
than the margins that are left in the claimant's favour.

The sun: the low-precision formulas of the Astronomical Almanac (section C; 0.01 degree from 1950 to 2050), turned with
the earth by mean sidereal time (section B). No refraction, no parallax.

The clear sky: two rational functions of the sine of the sun's elevation, near to the simplified Solis model (Ineichen
2008) for clean dry air at 1,830 m, brighter than nearly everywhere that people live; with CLEAR_SKY_PERMILLE they
enclose it up to 2,500 m. A plant yields at most its capacity per 1000 W/m² on its plane.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from protocol.devices import Device
from protocol.messages import Attestation
from protocol.units import ceil_div

STEP = 10_000_000  # of the table of sines: 0.1 degree, in 10^-8 degree
STEPS = 3600  # of a turn
ONE = 10**9  # the sine of a right angle
DAY_MS = 86_400_000
J2000_MS = 946_728_000_000  # 2000-01-01 12:00 UTC; terrestrial time, a minute later, moves the sun by 0.001 degree

PART_MS = 1_200_000  # of an interval, each counted as its brighter end: the sun climbs by up to 5 degrees meanwhile
# Light begins with the sun at -1 degree: refraction, the dip of the horizon, places told to 0.1 degree. 953,000 of it
# are what the sun can stand above both ends of a part in between.
DAWN_SINE = 18_406_000
TWILIGHT_W_PER_M2 = 5  # counts as light at any time, night too: a meter's offset, a counter's rounding
CLEAR_SKY_PERMILLE = 1100  # of the clear sky's yield: cold, altitude, an understated nameplate
ORIENTED_PERMILLE = 1300  # the same where the orientation is declared: clouds and snow add more to what one plane sees
ORIENTED_W_PER_M2 = 50  # then counts as light by day: orientations are rounded, and a roof is not quite plane
ALBEDO_PERMILLE = 200  # of the ground before a tilted plane


def _sines(steps: int) -> tuple[int, ...]:
    """Sines of 0, 0.1, … degrees, rounded to the nearest. None is nearer to a tie than 0.0003, and no machine's floats
    are wrong by more than 0.000001: the table is the same on all."""
    quarter = [round(ONE * math.sin(math.radians(step / 10))) for step in range(STEPS // 4 + 1)]
    half = quarter + quarter[-2::-1]
    turn = half + [-sine for sine in half[1:-1]]
    return tuple(turn[step % STEPS] for step in range(steps))


SINES: Final = _sines(STEPS + STEPS // 4 + 2)  # a turn and a quarter: the cosine of a step is the sine a quarter later
QUARTER: Final = STEPS // 4
OBLIQUITY_SINE, OBLIQUITY_COSINE = 397724454, 917504909  # 23.436 degrees, as in 2024; 0.007 degree in 50 years


# Towards the sun, in parts per 10^9: east, north, up, as a place sees it; up is the sine of the elevation. Or seen from
# the earth's centre: to the vernal equinox, a quarter of the equator east of it, and to the north pole.
Direction = tuple[int, int, int]


class Fault(NamedTuple):
    """What is wrong with a claim."""

    bound_j: int  # what could have been claimed
    is_night: bool  # or it is more than a clear sky gives
    complaint: str


def sine_and_cosine(angle: int) -> tuple[int, int]:
    """Of an angle in 10^-8 degree, in parts per 10^9: a table of tenths of a degree, and lines between (4 · 10^-7)."""
    step, rest = divmod(angle, STEP)
    step %= STEPS
    sine, cosine = SINES[step], SINES[step + QUARTER]
    return (
        sine + (SINES[step + 1] - sine) * rest // STEP,
        cosine + (SINES[step + QUARTER + 1] - cosine) * rest // STEP,
    )


def equatorial(at_ms: int) -> Direction:
    """Where the sun stands, seen from the earth's centre."""
    since_ms = at_ms - J2000_MS
    sine, cosine = sine_and_cosine(35_752_800_000 + 98_560_030 * since_ms // DAY_MS)  # of the mean anomaly
    longitude = 28_046_000_000 + 98_564_740 * since_ms // DAY_MS
    longitude += (191_500_000 * sine + 4_000_000 * sine * cosine // ONE) // ONE
    sine, cosine = sine_and_cosine(longitude)
    return cosine, sine * OBLIQUITY_COSINE // ONE, sine * OBLIQUITY_SINE // ONE


def direction(sun: Direction, at_ms: int, latitude_decidegrees: int, longitude_decidegrees: int) -> Direction:
    """What is `equatorial` at about this moment, seen from a place; in an hour the sun itself moves by 0.04 degree."""
    sidereal = 28_046_062_000 + 36_098_564_737 * (at_ms - J2000_MS) // DAY_MS + longitude_decidegrees * STEP
    sine, cosine = sine_and_cosine(sidereal)
    equinox, quarter, pole = sun
    meridian = (equinox * cosine + quarter * sine) // ONE
    latitude = latitude_decidegrees % STEPS
    north, up = SINES[latitude], SINES[latitude + QUARTER]
    return (
        (quarter * cosine - equinox * sine) // ONE,
        (pole * up - meridian * north) // ONE,
        (pole * north + meridian * up) // ONE,
    )


def clear_sky(up: int) -> tuple[int, int]:
    """W/m² of a cloudless sky: from the sun itself on a plane that faces it, and from the sky on level ground."""
    height = up + DAWN_SINE
    if height <= 0:
        return 0, 0
    return 1200 * height // (height + 120_000_000), 130 * height // (height + 200_000_000)


def irradiance(sun: Direction, tilt_degrees: int | None, azimuth_degrees: int | None) -> int:
    """W/m² of the clear sky on a plane, or on level ground if that is more; on a plane that follows the sun if unknown.

    Tilt is 0 (level) to 90, azimuth 0 (north) to 359, clockwise.
    """
    east, north, up = sun
    direct, diffuse = clear_sky(up)
    if tilt_degrees is None or azimuth_degrees is None:
        return direct + diffuse
    level = direct * max(up, 0) // ONE + diffuse
    tilt, azimuth = tilt_degrees * 10, azimuth_degrees * 10
    lean, rise = SINES[tilt], SINES[tilt + QUARTER]
    ahead = (east * SINES[azimuth] + north * SINES[azimuth + QUARTER]) // ONE
    incidence = max((ahead * lean + up * rise) // ONE, 0)
    ground = level * ALBEDO_PERMILLE // 1000
    plane = (2 * direct * incidence + diffuse * (ONE + rise) + ground * (ONE - rise)) // (2 * ONE)
    return max(plane, level)


def attestation_fault(attestation: Attestation, device: Device | None) -> Fault | None:
    """Why nobody can have yielded what is attested; None if somebody can, or it is not from the sun. `device`: as it is
    declared, if it is."""
    a = attestation
    if a.carrier != "solar":
        return None
    return interval_fault(
        a.energy_j,
        a.capacity_w,
        a.start_ms,
        a.end_ms,
        a.place.latitude_decidegrees,
        a.place.longitude_decidegrees,
        device.tilt_degrees if device is not None else None,
        device.azimuth_degrees if device is not None else None,
    )


def interval_fault(
    energy_j: int,
    capacity_w: int,
    start_ms: int,
    end_ms: int,
    latitude_decidegrees: int,
    longitude_decidegrees: int,
    tilt_degrees: int | None = None,
    azimuth_degrees: int | None = None,
) -> Fault | None:
    """Why nobody can have yielded this from the sun there and then; None if somebody can.

    While the sun stays below -1 degree a plant yields nothing that counts. By day it yields at most what a clear sky
    gives, on the declared plane, or on one that follows the sun. The interval, of 1 ms to an hour, is cut into equal
    parts of at most PART_MS, and each counts as its brighter end.
    """
    duration_ms = end_ms - start_ms
    rated = capacity_w * duration_ms
    if energy_j * 10**6 <= rated * TWILIGHT_W_PER_M2:
        return None
    oriented = tilt_degrees is not None and azimuth_degrees is not None
    margin_permille = ORIENTED_PERMILLE if oriented else CLEAR_SKY_PERMILLE
    sun = equatorial(start_ms + duration_ms // 2)
    parts = ceil_div(duration_ms, PART_MS)
    lights = [0] * (parts + 1)
    light = bound_j = 0
    for part in (0, parts, *range(1, parts)):  # the ends first: they suffice for nearly all that are honest
        at = direction(sun, start_ms + duration_ms * part // parts, latitude_decidegrees, longitude_decidegrees)
        lights[part] = irradiance(at, tilt_degrees, azimuth_degrees)
        if part:
            light = sum(map(max, lights, lights[1:]))
            extra = parts * (ORIENTED_W_PER_M2 if oriented and light else TWILIGHT_W_PER_M2)
            bound_j = ceil_div(
                rated * (light * margin_permille + extra * 1000), 10**9 * parts
            )  # W/m² of 1000, ms, permille
            if energy_j <= bound_j:
                return None
    if not light:
        place = f"latitude {latitude_decidegrees} and longitude {longitude_decidegrees} decidegrees"
        night = f"the sun stays below -1 degree at {place} (is the clock or the place wrong?)"
        return Fault(bound_j, True, f"energy_j {energy_j} exceeds {bound_j}: {night}")
    day = f"all that {capacity_w} W yield under a clear sky (is the capacity, the clock or the place wrong?)"
    return Fault(bound_j, False, f"energy_j {energy_j} exceeds {bound_j}, {day}")
