"""`heliotrope device`: what this node's meter measures, declared to all; and stores, declared and charged."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from node.commands.certificate import DryRunOption, EnergyOption
from node.commands.options import HomeOption, JsonOption, client_of, home_of, print_json
from protocol.errors import LocalError

AUDITORS_ANSWER_S = 5.0
POLL_S = 0.2

app = App(name="device", help="Declare what the meter measures, for auditors and everybody else to check.")


@app.command
def show(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every device that this node has declared, and who countersigned it."""
    from node.commands import show_certificates

    answer = client_of(home).devices()
    if as_json:
        print_json(answer)
    else:
        show_certificates.devices(answer)


@app.command
def declare(
    *,
    store: Annotated[str | None, Parameter(help="Id of a battery to declare, instead of the plant.")] = None,
    storage_j: Annotated[int | None, Parameter(help="Joules that the battery holds at most.")] = None,
    capacity_w: Annotated[int | None, Parameter(help="Watts that the battery gives at most.")] = None,
    efficiency_permille: Annotated[int, Parameter(help="Of what is charged, what comes out again.")] = 900,
    dry_run: DryRunOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Declare the device that config.toml describes: capacity, place, orientation, and the meter's key. The auditors
    who are there are asked to countersign it. With --store a battery at the same place."""
    from node.energy.device import device_of
    from node.home.config import load_config

    config = load_config(home_of(home)).energy
    device = device_of(config)
    asked: dict[str, Any] = {
        "device_id": device.device_id,
        "carrier": device.carrier,
        "capacity_w": device.capacity_w,
        "zone": config.zone,
        "latitude": config.latitude,
        "longitude": config.longitude,
        "dry_run": dry_run,
    }
    if store is not None:
        if storage_j is None or capacity_w is None:
            cause = "a battery is declared with what it holds and gives"
            raise LocalError("HEL-DEVICE-001", cause, "Add --storage-j and --capacity-w.")
        asked |= {"device_id": store, "carrier": "storage", "capacity_w": capacity_w, "storage_j": storage_j}
        asked["efficiency_permille"] = efficiency_permille
    else:
        asked |= {"tilt_degrees": device.tilt_degrees, "azimuth_degrees": device.azimuth_degrees}
        asked["key"] = None if device.key is None else device.key.hex()
    _sign("/v1/devices", asked, home, as_json)


@app.command
def charge(
    store: Annotated[str, Parameter(help="Id of a battery that this node has declared.")],
    /,
    *,
    attestation: Annotated[str | None, Parameter(help="An attestation of this node's, whose energy went in.")] = None,
    lot: Annotated[str | None, Parameter(help="Or a lot that this node holds.")] = None,
    energy_j: EnergyOption = None,
    dry_run: DryRunOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that attested energy went into a battery: it can be claimed again when it comes out."""
    from node.commands import show_certificates
    from node.commands.certificate import lot_of

    if (attestation is None) == (lot is None):
        cause = "a battery is charged from either an attestation or a lot"
        raise LocalError("HEL-DEVICE-002", cause, "Give one of --attestation and --lot.")
    asked: dict[str, Any] = {"device_id": store, "dry_run": dry_run}
    if lot is not None:
        named = lot_of(lot)
        asked |= {"lot": named["entry"], "index": named["index"]}
    else:
        asked["attestation"] = attestation
    if energy_j is not None:
        asked["energy_j"] = energy_j
    answer = client_of(home).act("/v1/stores/charge", asked)
    if as_json:
        print_json(answer)
    else:
        show_certificates.acted(answer)


@app.command
def discharge(
    store: Annotated[str, Parameter(help="Id of a battery that this node has declared.")],
    counter_j: Annotated[int, Parameter(help="Where its counter of what came out stands now, in joules.")],
    /,
    *,
    seconds: Annotated[int | None, Parameter(help="In how long it rose so far; else since the last time.")] = None,
    energy_j: Annotated[int | None, Parameter(help="How much of it was free for training; else all.")] = None,
    dry_run: DryRunOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Attest what came out of a battery: no more than was charged, and as dirty as that. Once an hour at least."""
    asked = {"device_id": store, "counter_j": counter_j, "seconds": seconds, "energy_j": energy_j, "dry_run": dry_run}
    _sign("/v1/stores/discharge", asked, home, as_json)


def _sign(path: str, asked: Mapping[str, Any], home: Path | None, as_json: bool) -> None:
    """Ask the node to sign something of a device; wait until its auditors have answered."""
    from node.commands import show_certificates

    client = client_of(home)
    answer = client.act(path, {name: value for name, value in asked.items() if value is not None})
    gives_up_at_s = time.monotonic() + AUDITORS_ANSWER_S
    while answer["waiting"] and time.monotonic() < gives_up_at_s:
        time.sleep(POLL_S)
        answer = client.devices()
    if as_json:
        print_json(answer)
    else:
        show_certificates.devices(answer)
