"""Certified energy and devices, as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.commands.show import moment, rows, say
from protocol.units import J_PER_WH

LOTS = ("lot", "energy", "made in", "zone", "by", "g/kWh", "assurance")
FAVOURS = ("cancelled", "energy", "not matched yet", "made in", "zone")
DEVICES = ("device", "carrier", "capacity", "place", "looks", "store", "meter's key", "audited by")


def held(answer: Mapping[str, Any]) -> None:
    """What may be acted on."""
    if answer["lots"]:
        rows(LOTS, [_lot(lot) for lot in answer["lots"]])
    if answer["cancellations"]:
        rows(
            FAVOURS,
            [
                (
                    c["entry"][:12],
                    energy(c["energy_j"]),
                    energy(c["energy_j"] - c["allocated_j"]),
                    moment(c["start_ms"]),
                    c["zone"],
                )
                for c in answer["cancellations"]
            ],
        )
    if not answer["lots"] and not answer["cancellations"]:
        say("no certificates: make some with: heliotrope certificate issue ATTESTATION")


def acted(answer: Mapping[str, Any]) -> None:
    """What was signed, or would be."""
    if answer["entry"] is None:
        say(f"a {answer['kind']} of {energy(answer['energy_j'])} would count; nothing was signed")
        return
    say(f"{answer['kind']} {answer['entry'][:12]} of {energy(answer['energy_j'])}")
    if answer["lots"]:
        rows(LOTS, [_lot(lot) for lot in answer["lots"]])


def devices(answer: Mapping[str, Any]) -> None:
    """What this node has declared."""
    if answer["devices"]:
        rows(DEVICES, [_device(device) for device in answer["devices"]])
    else:
        say("no device is declared: heliotrope device declare")
    if answer["waiting"]:
        say(f"{answer['waiting']} declarations wait for auditors")
    if answer["unaudited"]:
        say(f"the newest attestation is not countersigned: {answer['unaudited']}")


def energy(joules: int) -> str:
    return f"{joules} J ({joules / J_PER_WH:.3g} Wh)"


def _lot(lot: Mapping[str, Any]) -> tuple[Any, ...]:
    name = lot["entry"][:12] + (f"/{lot['index']}" if lot["index"] else "")
    level = f"A{lot['assurance']}"
    made = (moment(lot["start_ms"]), lot["zone"], lot["producer"]["label"])
    return (name, energy(lot["energy_j"]), *made, lot["own_g_per_kwh"], level)


def _device(device: Mapping[str, Any]) -> tuple[Any, ...]:
    tilt = device["tilt_degrees"]
    looks = None if tilt is None else f"{tilt}° from level, to {device['azimuth_degrees']}°"
    held = device["held_j"]
    store = None if held is None else f"{held} of {device['storage_j']} J"
    return (
        device["device_id"],
        device["carrier"],
        f"{device['capacity_w']} W",
        f"{device['zone']} {device['latitude']}/{device['longitude']}",
        looks,
        store,
        None if device["key"] is None else device["key"][:12],
        ", ".join(auditor["label"] for auditor in device["auditors"]) or "nobody",
    )
