"""Devices as their owners declare them, valid by default."""

from __future__ import annotations

from typing import Any

from protocol.devices import Device
from protocol.messages import Place

PLACE = Place(zone="DE", latitude_decidegrees=525, longitude_decidegrees=134)


def device(**changes: Any) -> Device:
    """Half a kilowatt of water power, the source of `tests.builders.attestation`."""
    fields: dict[str, Any] = {
        "device_id": "inverter",
        "carrier": "hydro",
        "capacity_w": 500,
        "place": PLACE,
        "tilt_degrees": None,
        "azimuth_degrees": None,
        "storage_j": 0,
        "efficiency_permille": 1000,
        "key": None,
        "countersignatures": (),
    }
    return Device(**fields | changes)


def panels(**changes: Any) -> Device:
    """Half a kilowatt of solar panels, which look south."""
    return device(**{"carrier": "solar", "tilt_degrees": 30, "azimuth_degrees": 180} | changes)


def battery(**changes: Any) -> Device:
    """A store of twenty kilojoules that gives back nine tenths."""
    fields: dict[str, Any] = {
        "device_id": "battery",
        "carrier": "storage",
        "storage_j": 20_000,
        "efficiency_permille": 900,
    }
    return device(**fields | changes)
