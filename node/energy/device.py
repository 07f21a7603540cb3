"""The device behind a node's meter, as its configuration declares it to the ledger. Pure."""

from __future__ import annotations

from node.energy.sources.meter import SigningMeter
from node.energy.supply import EnergyConfig
from protocol.devices import Device


def device_of(config: EnergyConfig) -> Device:
    """What `heliotrope device declare` signs. The key is that of the meter which `[energy.generation]` reads, if it has
    one."""
    generation = config.generation
    return Device(
        device_id=config.device_id,
        carrier=config.carrier,
        capacity_w=config.capacity_w,
        place=config.place,
        tilt_degrees=config.tilt_degrees,
        azimuth_degrees=config.azimuth_degrees,
        storage_j=0,
        efficiency_permille=1000,
        key=bytes.fromhex(generation.key) if isinstance(generation, SigningMeter) else None,
        countersignatures=(),
    )
