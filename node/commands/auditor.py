"""`heliotrope auditor`: run the node as an auditor, and say which devices it may vouch for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from node.commands.options import HomeOption, JsonOption, home_of, print_json
from protocol.errors import LocalError

if TYPE_CHECKING:
    from node.claims.approval import Approval

app = App(name="auditor", help="Vouch for other peers' meters: run as an auditor, approve devices.")

OwnerArgument = Annotated[str, Parameter(help="The device's owner: peer id or key.")]
DeviceArgument = Annotated[str, Parameter(help="The device's id, as it is declared.")]


@app.default
def run(*, home: HomeOption = None) -> None:
    """Run the node as an auditor, and nothing else, until Ctrl-C or SIGTERM."""
    from node.daemon import run
    from node.home.config import as_keeper, load_config
    from node.home.identity import load_genesis, load_keypair
    from protocol.identity import peer_id

    place = home_of(home)
    config, genesis = load_config(place), load_genesis(place.genesis_path)
    key = load_keypair(place, genesis).public
    if key not in genesis.auditors:
        count = len(genesis.auditors)
        print(
            f"Network {genesis.name!r} names {count} auditors, and {peer_id(key)} is none of them: its signatures count"
            " only for jobs that name it.",
            file=sys.stderr,
        )
    run(place, config=as_keeper(config))


@app.command
def approve(
    owner: OwnerArgument,
    device_id: DeviceArgument,
    /,
    *,
    carrier: Annotated[
        Literal["solar", "wind", "hydro", "grid", "storage"], Parameter(help="What it makes or stores.")
    ] = "solar",
    capacity_w: Annotated[int, Parameter(help="Watts that it can give at most: what its type plate says.")],
    zone: Annotated[str, Parameter(help="Its grid zone, as in: ES, DK-DK1.")],
    latitude: Annotated[float, Parameter(help="Degrees north.")],
    longitude: Annotated[float, Parameter(help="Degrees east.")],
    tilt_degrees: Annotated[int | None, Parameter(help="Of panels, from level.")] = None,
    azimuth_degrees: Annotated[int | None, Parameter(help="Where panels look: 0 north, 90 east, 180 south.")] = None,
    storage_j: Annotated[int, Parameter(help="Joules that a store holds at most.")] = 0,
    efficiency_permille: Annotated[int, Parameter(help="Of what is charged, what comes out again.")] = 1000,
    key: Annotated[str | None, Parameter(help="The meter's public key; then readings must be signed with it.")] = None,
    home: HomeOption = None,
) -> None:
    """Let this auditor countersign a device and its readings, after you have looked at it. A running auditor heeds it
    at once; the last approval of a device counts."""
    from pydantic import ValidationError

    from ledger.places import describe_far, far_from_zone
    from node.claims.approval import APPROVALS_MAX, Approval, Approvals
    from node.documents import faults_of, invalid
    from node.home.approvals import read_approvals, write_approvals
    from node.home.config import load_config
    from node.home.keys import key_of
    from protocol.devices import Device

    load_config(home_of(home))  # a home that is none is named before anything is written into it
    path = home_of(home).approvals_path
    place = {
        "zone": zone,
        "latitude_decidegrees": round(latitude * 10),
        "longitude_decidegrees": round(longitude * 10),
    }
    fields = {
        "device_id": device_id,
        "carrier": carrier,
        "capacity_w": capacity_w,
        "place": place,
        "tilt_degrees": tilt_degrees,
        "azimuth_degrees": azimuth_degrees,
        "storage_j": storage_j,
        "efficiency_permille": efficiency_permille,
        "key": None if key is None else key_of(key),
        "countersignatures": (),
    }
    try:
        approval = Approval(owner=key_of(owner), device=Device.model_validate(fields))
    except ValidationError as error:
        raise invalid("the device", list(faults_of(error, Device).values())) from None
    if far_from_zone(approval.device.place):  # every peer would hold its readings void
        raise LocalError("HEL-AUDITOR-004", describe_far(approval.device.place), "Correct the place or the zone.")
    kept = tuple(each for each in read_approvals(path).approvals if each.name != approval.name)
    if len(kept) >= APPROVALS_MAX:
        raise LocalError(
            "HEL-AUDITOR-003", f"{len(kept)} devices are approved, {APPROVALS_MAX} at most", "Withdraw some first."
        )
    write_approvals(path, Approvals(approvals=(*kept, approval)))
    print(f"approved: {_line(approval)}")


@app.command
def withdraw(owner: OwnerArgument, device_id: DeviceArgument, /, *, home: HomeOption = None) -> None:
    """Countersign a device no more. What was signed stands."""
    from ledger.assurance import comparable
    from node.claims.approval import Approvals
    from node.home.approvals import read_approvals, write_approvals
    from node.home.keys import key_of

    path, name = home_of(home).approvals_path, (key_of(owner), comparable(device_id))
    approved = read_approvals(path).approvals
    kept = tuple(each for each in approved if each.name != name)
    if len(kept) == len(approved):
        raise LocalError(
            "HEL-AUDITOR-002", f"device {device_id!r} of {owner} is not approved", "See: heliotrope auditor list"
        )
    write_approvals(path, Approvals(approvals=kept))
    print(f"withdrawn: {device_id} of {owner}")


@app.command(name="list")
def list_approvals(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every device that is approved."""
    from node.home.approvals import read_approvals

    approvals = read_approvals(home_of(home).approvals_path)
    if as_json:
        print_json(approvals.model_dump(mode="json")["approvals"])
        return
    for approval in approvals.approvals:
        print(_line(approval))
    if not approvals.approvals:
        print("No device is approved: nothing is countersigned.")


def _line(approval: Approval) -> str:
    from protocol.identity import peer_id

    d = approval.device
    looks = "" if d.tilt_degrees is None else f", tilt {d.tilt_degrees}°, azimuth {d.azimuth_degrees}°"
    holds = f", holds {d.storage_j} J at {d.efficiency_permille} permille" if d.storage_j else ""
    signs = "" if d.key is None else f", meter key {d.key.hex()}"
    where = f"{d.place.zone} {d.place.latitude_decidegrees / 10:.1f}/{d.place.longitude_decidegrees / 10:.1f}"
    return f"{d.device_id} of {peer_id(approval.owner)}: {d.carrier}, {d.capacity_w} W, {where}{looks}{holds}{signs}"
