"""Sites whose supply counts as metered, with or without a meter that signs, and an auditor in the network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from node.claims.approval import Approval
from node.devnet.sites import DEMO_SITES
from node.energy.supply import Forecast, MeterSignatures, Supply, SupplyReading
from node.energy.watched import Health
from node.events import DeviceDeclared
from node.sim.world import World, keypair_of
from protocol.devices import Device, counter_statement
from protocol.identity import KeyPair

from .worlds import world

AUDITOR_SITE = replace(DEMO_SITES[-1], name="auditor")
AUDITOR = AUDITOR_SITE.name
METER = KeyPair(b"meter".ljust(32, b"\0"))


class Metered:
    """A supply that says that it was metered; with `meter` its counters are signed for `owner`."""

    def __init__(self, supply: Supply, network: bytes, owner: bytes, meter: KeyPair | None, **changes: Any) -> None:
        self._supply = supply
        self._network = network
        self._owner = owner
        self._meter = meter
        self._changes = changes  # of every reading

    @property
    def health(self) -> tuple[Health, ...]:
        return ()

    def read(self, start_ms: int, end_ms: int) -> SupplyReading:
        modelled = self._supply.read(start_ms, end_ms)
        assert modelled is not None
        reading = replace(modelled, method="metered", **self._changes)
        if self._meter is None:
            return reading
        start = self._sign(reading, start_ms, reading.meter_start_j)
        end = self._sign(reading, end_ms, reading.meter_end_j)
        return replace(reading, signatures=MeterSignatures(self._meter.public, start, end))

    def _sign(self, reading: SupplyReading, at_ms: int, counter_j: int) -> bytes:
        assert self._meter is not None
        return self._meter.sign(counter_statement(self._network, self._owner, reading.device_id, at_ms, counter_j))

    def sample(self, now_ms: int) -> None:
        pass

    def forecast(self, first_slot: int, slots: int, slot_ms: int) -> Forecast:
        return self._supply.forecast(first_slot, slots, slot_ms)


def audited(**changes: Any) -> World:
    """The demo's five sites and an auditor that neither sells nor buys; A2 is demanded."""
    document = {"auditors": (keypair_of(AUDITOR_SITE).public,), "surplus_assurance_min": 2}
    fields: dict[str, Any] = {"sites": (*DEMO_SITES, AUDITOR_SITE), "buyers": [AUDITOR], "genesis": document}
    return world(**fields | changes)


def device_of(in_world: World, name: str, **changes: Any) -> Device:
    """What the operator of a site would declare."""
    energy = in_world.hosts[name].site.energy
    fields: dict[str, Any] = {
        "device_id": energy.device_id,
        "carrier": energy.carrier,
        "capacity_w": energy.capacity_w,
        "place": energy.place,
        "tilt_degrees": None,
        "azimuth_degrees": None,
        "storage_j": 0,
        "efficiency_permille": 1000,
        "key": None,
        "countersignatures": (),
    }
    return Device(**fields | changes)


def meter(in_world: World, name: str, key: KeyPair | None = None, **changes: Any) -> None:
    """From now on the site is metered."""
    host = in_world.hosts[name]
    host.source = Metered(host.source, in_world.genesis.network_id(), host.key, key, **changes)


def approve(in_world: World, name: str, device: Device, auditor: str = AUDITOR) -> None:
    """The auditor's operator has looked at a site's device."""
    host = in_world.hosts[auditor]
    host.approvals = (*host.approvals, Approval(owner=in_world.hosts[name].key, device=device))


def declare(in_world: World, name: str, device: Device) -> None:
    """The site's operator declares it, and all hear of it."""
    in_world.handle(name, DeviceDeclared(device))
    in_world.run(6_000)


def levels(in_world: World, name: str, at: str = AUDITOR) -> list[int]:
    """The assurance of a site's attestations, oldest first, as another node has them."""
    return [a.assurance for a in in_world.node(at).ledger.state.attestations_of[in_world.hosts[name].key]]
