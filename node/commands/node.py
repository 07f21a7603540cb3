"""`init`, `up`, `witness`, `status`, `peers`: one's own node."""

from __future__ import annotations

import platform
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from node.commands.options import HomeOption, JsonOption, client_of, home_of, print_json
from protocol.errors import LocalError, Refused, Unreachable

if TYPE_CHECKING:
    from node.energy.supply import EnergyConfig
    from node.home.config import MachineConfig
    from protocol.genesis import Genesis
    from protocol.identity import KeyPair

LABEL_MAX_CHARACTERS = 32
NEW_NETWORK_SLOT_MS = 300_000  # five minutes, the step of most grid data

# A node that does not say where it stands counts as standing on the world's average grid, and has nothing of its own.
WORLD_G_PER_KWH = 436  # of the year 2022: Ember, Global Electricity Review 2023


def init(
    *,
    home: HomeOption = None,
    label: Annotated[str | None, Parameter(help="What to call the node; else the machine's name.")] = None,
    zone: Annotated[str | None, Parameter(help="Grid zone as Electricity Maps spells it: ES, DK-DK1.")] = None,
    latitude: Annotated[float | None, Parameter(help="Degrees north.")] = None,
    longitude: Annotated[float | None, Parameter(help="Degrees east.")] = None,
    carrier: Annotated[str, Parameter(help="Own source behind the meter: solar, wind, hydro; grid for none.")] = "grid",
    capacity_w: Annotated[int, Parameter(help="Peak power of that source, in watts.")] = 0,
    device: Annotated[
        str | None, Parameter(help="What it computes with, as its driver calls it; else a CPU core.")
    ] = None,
    genesis: Annotated[Path | None, Parameter(help="The network's genesis file; else a new network is made.")] = None,
    mode: Annotated[
        Literal["open", "closed", "hybrid"] | None,
        Parameter(help="Of the new network: open to all who have its genesis file, or closed to the uninvited."),
    ] = None,
    witness: Annotated[
        list[str] | None, Parameter(help="Peer id of a witness of the new network; once for each.", negative=())
    ] = None,
    auditor: Annotated[
        list[str] | None, Parameter(help="Peer id of an auditor of the new network; once for each.", negative=())
    ] = None,
) -> None:
    """Make a node: its key, its token and its configuration."""
    from node.home.config import Config
    from node.home.identity import create_home, load_genesis
    from protocol.identity import KeyPair, peer_id

    place = home_of(home)
    name = (label or platform.node() or "node")[:LABEL_MAX_CHARACTERS]
    keypair = KeyPair(secrets.token_bytes(32))
    config = Config(label=name, energy=_site(zone, latitude, longitude, carrier, capacity_w), machine=_machine(device))
    if genesis:
        network = load_genesis(genesis)
        for option, given, settled in (
            ("witness", witness, f"names {len(network.witnesses)} witnesses"),
            ("auditor", auditor, f"names {len(network.auditors)} auditors"),
            ("mode", mode, f"is {network.admission}"),
        ):
            if given:
                raise LocalError(
                    "HEL-CLI-003",
                    f"--{option} goes with a new network: {genesis} {settled} already",
                    f"Leave out one of --genesis and --{option}.",
                )
    else:
        network = _new_network(name, _keys("witness", witness), _keys("auditor", auditor), _admitters(mode, keypair))
    create_home(place, config, network, keypair.seed)
    print(f"{name} is {peer_id(keypair.public)}, in {place.path}")
    new = "" if genesis else " (new)"
    print(f"network  {network.name} {network.network_id().hex()[:16]}, {network.admission}{new}")
    if network.admission == "closed":
        ours = "you let others in with: heliotrope invite PEER_ID --out FILE"
        theirs = f"an admitter lets this node in with: heliotrope invite {peer_id(keypair.public)} --out FILE"
        print(f"         {ours if keypair.public in network.admitters else theirs}")
    if witness or auditor:
        print(f"         its witnesses and auditors start with {place.genesis_path} in place of their own")
    print(f"power    {carrier} of {capacity_w} W in zone {config.energy.zone}")
    print(f"machine  {config.machine.device} of {config.machine.idle_w} to {config.machine.peak_w} W, as declared")
    if carrier != "grid" and not capacity_w:
        print("A source of 0 W never yields: set capacity_w below [energy] in config.toml.", file=sys.stderr)
    if zone is None:
        print("Without --zone it counts as the world's average grid; set [energy] in config.toml.", file=sys.stderr)
    print(f"Edit {place.config_path}, then start it with: heliotrope up" + (f" --home {home}" if home else ""))


def up(
    *,
    home: HomeOption = None,
    trust_ledger: Annotated[
        bool, Parameter(help="This ledger holds all that the node ever signed: do not ask peers first.", negative=())
    ] = False,
) -> None:
    """Run the node until Ctrl-C or SIGTERM."""
    from node.daemon import run
    from node.home.config import load_config

    place = home_of(home)
    load_config(place)  # a home that is none is named before a log is begun in it
    run(place, trusts_ledger=trust_ledger)


def witness(*, home: HomeOption = None) -> None:
    """Run the node as a witness of its network, and nothing else, until Ctrl-C or SIGTERM."""
    from node.daemon import run
    from node.home.config import as_witness, load_config
    from node.home.identity import load_genesis, load_keypair

    place = home_of(home)
    config, genesis = load_config(place), load_genesis(place.genesis_path)
    run(place, config=as_witness(config, genesis, load_keypair(place, genesis).public))


def status(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What the node is doing, or why it is idle."""
    from node.commands import show

    client = client_of(home)
    node = client.node()
    try:
        client.ready()
        faults = ""
    except Unreachable as error:
        faults = error.cause
    if as_json:
        print_json({**node, "ready": not faults, "not_ready": faults})
    else:
        show.status(node, faults)


def peers(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Who else is there, and which addresses do not answer."""
    from node.commands import show

    answer: dict[str, Any] = client_of(home).peers()
    if as_json:
        print_json(answer)
    else:
        show.peers(answer)


def _site(
    zone: str | None, latitude: float | None, longitude: float | None, carrier: str, capacity_w: int
) -> EnergyConfig:
    """Raises Invalid for a site that cannot be: every fault at once."""
    from pydantic import ValidationError

    from node.documents import Fault, faults_of, invalid
    from node.energy.fuels import own_g_per_kwh
    from node.energy.supply import UNKNOWN_ZONE, EnergyConfig
    from node.energy.zones import GRIDS

    placed = [value is not None for value in (zone, latitude, longitude)]
    if any(placed) != all(placed):
        raise invalid("the site", [Fault("--zone", "goes together with --latitude and --longitude: where it stands")])
    if carrier == "solar" and not all(placed):
        raise invalid(
            "the site", [Fault("--carrier", "solar needs --zone, --latitude and --longitude: where the sun is")]
        )
    grid = GRIDS.get(zone or UNKNOWN_ZONE)
    grid_g_per_kwh = WORLD_G_PER_KWH if grid is None else grid.mean_g_per_kwh
    try:
        return EnergyConfig.model_validate(
            {
                "device_id": "meter",
                "zone": zone or UNKNOWN_ZONE,
                "latitude": latitude or 0.0,
                "longitude": longitude or 0.0,
                "carrier": carrier,
                "capacity_w": capacity_w,
                "own_g_per_kwh": own_g_per_kwh(carrier, grid_g_per_kwh),
                "grid_g_per_kwh": None if zone else WORLD_G_PER_KWH,
            }
        )
    except ValidationError as error:
        raise invalid("the site", list(faults_of(error, EnergyConfig).values())) from None


def _machine(device: str | None) -> MachineConfig:
    """What is on offer: at the maker's watts where they are embedded, else at those of a CPU core."""
    from difflib import get_close_matches

    from node.energy.machines import TDP_W, idle_w
    from node.home.config import MachineConfig

    if device is None:
        return MachineConfig()
    if device in TDP_W:
        return MachineConfig(device=device, idle_w=idle_w(TDP_W[device]), peak_w=TDP_W[device])
    near = ", ".join(get_close_matches(device, TDP_W, n=3, cutoff=0.4)) or "none is like it"
    print(f"No watts are embedded for {device} ({near}): set them under [machine] in config.toml.", file=sys.stderr)
    return MachineConfig(device=device)


def _keys(option: str, peer_ids: list[str] | None) -> tuple[bytes, ...]:
    from protocol.identity import public_key

    try:
        return tuple(dict.fromkeys(map(public_key, peer_ids or ())))
    except ValueError as error:
        cause = f"--{option}: {error}"
        raise LocalError("HEL-CLI-004", cause, "Ask its operator: `heliotrope init` said it.") from None


def _admitters(mode: str | None, keypair: KeyPair) -> tuple[bytes, ...]:
    """Who invites to the new network; nobody, if it is open. Raises Refused: no network is hybrid."""
    if mode == "hybrid":
        raise Refused(
            "HEL-CLI-005",
            "hybrid is a mode of jobs, not of networks: such a job uses its tenant's own pool and the open one, while a"
            " network lets the uninvited in or does not",
            'Leave --mode out; then set tenant = "NAME" below [market] in config.toml, and mode = "hybrid" and the same'
            " tenant in the job.",
        )
    return (keypair.public,) if mode == "closed" else ()


def _new_network(
    label: str, witnesses: tuple[bytes, ...], auditors: tuple[bytes, ...], admitters: tuple[bytes, ...]
) -> Genesis:
    """A network of one, at the world's own pace; whoever gets its genesis file can join, and is invited if it is
    closed."""
    from protocol.genesis import Clock, Genesis

    now_ms = time.time_ns() // 10**6
    return Genesis(
        name=f"{label}-network",
        clock=Clock(unix_ms=now_ms, network_ms=now_ms, speed=1),
        slot_ms=NEW_NETWORK_SLOT_MS,
        witnesses=witnesses,
        auditors=auditors,
        admission="closed" if admitters else "open",
        admitters=admitters,
    )
