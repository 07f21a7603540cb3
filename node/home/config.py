"""`config.toml`: what an operator says of a node."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ledger.settlement import DRIVERS
from node.energy.machines import PUE_PERMILLE
from node.energy.power import PowerName
from node.energy.supply import EnergyConfig
from node.home.home import Home
from node.home.toml_file import load
from node.market.credit import Terms
from protocol.errors import LocalError, Refused
from protocol.genesis import Genesis
from protocol.identity import peer_id, public_key
from protocol.messages import Count, Name, Offer, Positive, Tenant
from protocol.regions import REGIONS, region_of

PEER_ADDRESS = (
    r"^/(ip4/[0-9.]{7,15}|ip6/[0-9a-fA-F.:]{2,45}|dns[46]/[0-9A-Za-z_-]{1,63}(\.[0-9A-Za-z_-]{1,63}){0,7})"
    r"/tcp/[0-9]{1,5}/p2p/[1-9A-Za-z]{52}(/p2p-circuit/p2p/[1-9A-Za-z]{52})?$"
)


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ApiConfig(_Section):
    """Where the node's own user reaches it. Loopback: a public address would need TLS, which this API has not."""

    host: Annotated[str, Field(pattern=r"^(127\.0\.0\.1|::1)$")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8470  # 0: any free port


class LinkConfig(_Section):
    """Where peers reach the node: libp2p, and the HTTPS listener that serves blobs, both on the address of `listen`.

    `allow` names, by peer id, whom this node lets into a closed network without an invitation; other nodes need not.
    `dht`: announce to the network what this node offers, and look for others. `mdns`: the interface, by name or IPv4
    address, on which peers of the same wire find each other; "" for none.
    `data_host` is that listener's as peers see it, for a node behind a translated address; None: as in `listen`.
    `relay`: carry connections between peers that cannot dial each other, each of at most `relay_circuit_mib` (both
    directions together) and `relay_circuit_s`, `relay_circuits_per_peer` at once; `relay_reservations` peers may be
    reached through this node.
    `bootstrap`: addresses of other nodes; a name (`/dns4/`, `/dns6/`) is resolved anew at every dial.
    `connections_per_address`: incoming ones from one IPv4 address, or one /64 of IPv6. `deny`: networks as in
    `192.0.2.0/24` with which there is never a connection.
    `regions`: whose adverts the node listens to, and so where it looks for providers before they bid.
    """

    listen: Annotated[str, Field(pattern=r"^/ip[46]/[0-9a-fA-F.:]+/tcp/\d{1,5}$")] = "/ip4/0.0.0.0/tcp/8471"
    data_host: Annotated[str, Field(pattern=r"^[0-9A-Za-z.:-]{1,180}$")] | None = None
    data_port: Annotated[int, Field(ge=0, le=65_535)] = 8472
    bootstrap: tuple[Annotated[str, Field(pattern=PEER_ADDRESS)], ...] = ()
    allow: tuple[str, ...] = ()
    connections_per_address: Annotated[int, Field(ge=1, le=256)] = 16
    deny: tuple[Annotated[str, Field(pattern=r"^[0-9a-fA-F.:/]{2,49}$")], ...] = ()
    regions: tuple[str, ...] = REGIONS
    relay: bool = False
    relay_reservations: Annotated[int, Field(ge=1, le=1024)] = 64
    relay_circuits_per_peer: Annotated[int, Field(ge=1, le=32)] = 8
    relay_circuit_mib: Annotated[int, Field(ge=1, le=1_048_576)] = 256
    relay_circuit_s: Annotated[int, Field(ge=60, le=86_400)] = 3600
    dht: bool = True
    mdns: Annotated[str, Field(pattern=r"^[0-9A-Za-z_.:@-]{0,64}$")] = ""

    @field_validator("bootstrap")
    @classmethod
    def _with_a_port_and_a_peer_id(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            _, kind, host, _, port, *_ = address.split("/")
            if kind in ("ip4", "ip6"):
                ip_address(host)
            if not 0 < int(port) < 65_536:
                raise ValueError(f"port {port} is not from 1 to 65,535")
            for peer in address.split("/p2p/")[1:]:
                public_key(peer.removesuffix("/p2p-circuit"))
        return addresses

    @field_validator("allow")
    @classmethod
    def _named_by_peer_id(cls, peers: tuple[str, ...]) -> tuple[str, ...]:
        for peer in peers:
            public_key(peer)
        return peers

    @field_validator("regions")
    @classmethod
    def _known(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [region for region in regions if region not in REGIONS]:
            raise ValueError(f"no region is called {unknown[0]!r}; there are {', '.join(REGIONS)}")
        return regions

    @property
    def bind_host(self) -> str:
        """The address of `listen`."""
        return self.listen.split("/")[2]


class MachineConfig(_Section):
    """The hardware on offer; fields as in an Offer. Watts and rates are the operator's declaration.

    `power`, no part of the offer, tells a round's draw; the declared watts stay the floor and the bid.
    """

    power: PowerName = "declared"
    device: Name = "cpu"
    units: Annotated[int, Field(ge=1, le=65_536)] = 1
    memory_mb: Positive = 2048
    rate_tps: Positive = 20_000
    idle_w: Count = 6
    peak_w: Positive = 18
    pue_permille: Annotated[int, Field(ge=1000, le=10_000)] = PUE_PERMILLE["small"]
    embodied_ug_per_unit_hour: Count = 700_000
    bandwidth_mbps: Positive = 100


class MarketConfig(_Section):
    """What the node asks, and from whom. `sells` false: a node that only submits jobs; neither `sells` nor `buys`: one
    that keeps the ledger, as a witness does."""

    sells: bool = True
    buys: bool = True
    price_microcredits_per_unit_hour: Count = 50_000
    tenant: Tenant = ""


class LedgerConfig(_Section):
    """Where entries rest. The address of a database may hold its password, so it is no part of this file: see
    `load_dsn`."""

    store: Literal["sqlite", "postgres"] = "sqlite"


class SettlementConfig(_Section):
    """How the node settles. With `mutual-credit` it works for others up to what they may owe it, and signs IOUs for
    what it owes. `limits_microcredits` names, by peer id, those who may owe more or less than the rest."""

    driver: Literal["none", "mutual-credit"] = "none"
    limit_microcredits: Count = 0
    limits_microcredits: dict[str, Count] = {}

    @field_validator("limits_microcredits")
    @classmethod
    def _named_by_peer_id(cls, limits: dict[str, int]) -> dict[str, int]:
        for peer in limits:
            public_key(peer)
        return limits


class Config(_Section):
    """`config.toml`."""

    label: Annotated[str, Field(min_length=1, max_length=32)]
    api: ApiConfig = ApiConfig()
    link: LinkConfig = LinkConfig()
    energy: EnergyConfig
    machine: MachineConfig = MachineConfig()
    market: MarketConfig = MarketConfig()
    ledger: LedgerConfig = LedgerConfig()
    settlement: SettlementConfig = SettlementConfig()

    def offer(self) -> Offer | None:
        """What this node declares to the network; None if it only buys."""
        if not self.market.sells:
            return None
        return Offer(
            **self.machine.model_dump(exclude={"power"}),
            price_microcredits_per_unit_hour=self.market.price_microcredits_per_unit_hour,
            tenant=self.market.tenant,
            place=self.energy.place,
            carrier=self.energy.carrier,
            capacity_w=self.energy.capacity_w,
            own_g_per_kwh=self.energy.own_g_per_kwh,
        )

    def regions(self) -> frozenset[str]:
        """Whose adverts the node hears: its own region's too, where it sells."""
        wanted = frozenset(self.link.regions)
        return wanted | {region_of(self.energy.place.zone)} if self.market.sells else wanted

    def terms(self) -> Terms:
        """How this node settles, and what others may owe it."""
        settlement = self.settlement
        limits = {public_key(peer): limit for peer, limit in settlement.limits_microcredits.items()}
        return Terms(DRIVERS[settlement.driver], settlement.limit_microcredits, limits)


def load_config(home: Home) -> Config:
    """Raises LocalError with file, line and field."""
    if not home.config_path.exists():
        raise LocalError(
            "HEL-CONFIG-001",
            f"there is no node in {home.path}: {home.config_path.name} is missing",
            "Make one with: heliotrope init, or name its directory with --home.",
        )
    return load(home.config_path, Config)


def as_witness(config: Config, genesis: Genesis, key: bytes) -> Config:
    """The same node as a witness and nothing else: it sells and buys nothing. Raises Refused if the network's genesis
    does not name its key: nobody would count its cosignatures."""
    if key not in genesis.witnesses:
        raise Refused(
            "HEL-CONFIG-006",
            f"network {genesis.name!r} names {len(genesis.witnesses)} witnesses, and {peer_id(key)} is none of them",
            "A network's witnesses are named when it is made: heliotrope init --witness PEER_ID, for each. Put that"
            " network's genesis.json into this home before its first start.",
        )
    return as_keeper(config)


def as_keeper(config: Config) -> Config:
    """The same node, selling and buying nothing: it keeps the ledger, and is a witness or an auditor."""
    market = config.market.model_copy(update={"sells": False, "buys": False})
    return config.model_copy(update={"market": market})


def render(config: Config) -> str:
    """The configuration as TOML; `load_config` reads back the same."""
    lines = []
    for name, value in config.model_dump(exclude_none=True).items():
        if isinstance(value, dict):
            lines += ["", f"[{name}]", *(f"{key} = {_toml_value(item)}" for key, item in value.items())]
        else:
            lines.append(f"{name} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    """Strings, numbers, booleans and arrays look in TOML as they do in JSON, but for one character."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_value(key)} = {_toml_value(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
