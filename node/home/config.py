"""A node's home: one directory with its configuration, key, ledger and blobs, and how each file is read and made.

config.toml   what the operator says          genesis.json  the network it belongs to
key           Ed25519 seed, 0600              token         for the local API, 0600
ledger.db     entries                         blobs/        data, parameters, deltas, checkpoints
fresh         there until the key first signs
peers.json    addresses to dial again         runtime.json  where the running node listens
rules.json    when the node pauses, by its operator's rules
ledger.dsn    where entries rest instead of ledger.db, if in PostgreSQL; 0600
approvals.json  devices that this node, as an auditor, may vouch for; 0600
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ledger.settlement import DRIVERS
from node.energy.machines import PUE_PERMILLE
from node.energy.power import PowerName
from node.energy.rules import Rule, parse_rules
from node.energy.supply import EnergyConfig
from node.home.secret import read_secret, write_private, write_secret
from node.home.toml_file import load
from node.market.credit import Terms
from protocol.adverts import first_fault
from protocol.errors import LocalError, Refused
from protocol.genesis import Genesis
from protocol.identity import KeyPair, peer_id, public_key
from protocol.messages import Count, Name, Offer, Positive, Tenant

DEVNET_KEY_PREFIX = "devnet:"
NO_HOME = "Make a node with: heliotrope init, or name it with --home."
DSN_VARIABLE = "HELIOTROPE_LEDGER_DSN"


@dataclass(frozen=True, slots=True)
class Home:
    """The directory of one node, 0700."""

    path: Path

    @property
    def config_path(self) -> Path:
        return self.path / "config.toml"

    @property
    def genesis_path(self) -> Path:
        return self.path / "genesis.json"

    @property
    def key_path(self) -> Path:
        return self.path / "key"

    @property
    def fresh_path(self) -> Path:
        """There as long as the key has signed nothing."""
        return self.path / "fresh"

    @property
    def token_path(self) -> Path:
        return self.path / "token"

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger.db"

    @property
    def dsn_path(self) -> Path:
        return self.path / "ledger.dsn"

    @property
    def approvals_path(self) -> Path:
        return self.path / "approvals.json"

    @property
    def blobs_path(self) -> Path:
        return self.path / "blobs"

    @property
    def work_path(self) -> Path:
        return self.path / "work"

    @property
    def peers_path(self) -> Path:
        return self.path / "peers.json"

    @property
    def rules_path(self) -> Path:
        return self.path / "rules.json"

    @property
    def runtime_path(self) -> Path:
        return self.path / "runtime.json"

    @property
    def log_path(self) -> Path:
        return self.path / "node.log"


def default_home() -> Home:
    """`HELIOTROPE_HOME`, else the platform's place for a user's data."""
    named = os.environ.get("HELIOTROPE_HOME")
    if named:
        return Home(Path(named))
    import platformdirs

    return Home(platformdirs.user_data_path("heliotrope"))


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ApiConfig(_Section):
    """Where the node's own user reaches it. Loopback: a public address would need TLS, which this API has not."""

    host: Annotated[str, Field(pattern=r"^(127\.0\.0\.1|::1)$")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8470  # 0: any free port


class LinkConfig(_Section):
    """Where peers reach the node: libp2p, and the HTTPS listener that serves blobs, both on the address of `listen`.

    `data_host` is that listener's as peers see it, for a node behind a translated address; None: as in `listen`.
    """

    listen: Annotated[str, Field(pattern=r"^/ip[46]/[0-9a-fA-F.:]+/tcp/\d{1,5}$")] = "/ip4/0.0.0.0/tcp/8471"
    data_host: Annotated[str, Field(pattern=r"^[0-9A-Za-z.:-]{1,180}$")] | None = None
    data_port: Annotated[int, Field(ge=0, le=65_535)] = 8472
    bootstrap: tuple[Annotated[str, Field(pattern=r"^/.{1,254}$")], ...] = ()

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


def load_genesis(path: Path) -> Genesis:
    """Raises LocalError where the file is missing or describes no network."""
    try:
        return Genesis.model_validate_json(path.read_bytes())
    except OSError as error:
        cause = f"{path} cannot be read: {error.strerror}"
    except ValidationError as error:
        cause = f"{path} is no genesis document: {first_fault(error)}"
    raise LocalError("HEL-CONFIG-002", cause, "Ask whoever runs the network for its genesis file.")


def load_keypair(home: Home, genesis: Genesis) -> KeyPair:
    """The node's key. Raises Refused if others could have read it, or can compute it: then it may not be this node's
    alone; LocalError if there is none. Devnet keys can be computed by anyone, and serve on a devnet only."""
    raw = read_secret(home.key_path, NO_HOME).strip()
    if raw.startswith(DEVNET_KEY_PREFIX) and genesis.admission != "devnet":
        raise Refused(
            "HEL-KEY-004",
            f"{home.key_path} holds a devnet key, which anyone can compute; network {genesis.name!r} is no devnet",
            "Make a node with a key of its own: heliotrope init --home DIR",
        )
    try:
        return KeyPair(bytes.fromhex(raw.removeprefix(DEVNET_KEY_PREFIX)))
    except ValueError:
        raise LocalError(
            "HEL-KEY-002",
            f"{home.key_path} holds no key: 64 hexadecimal digits are expected",
            "Restore it from a backup. A new key is a new identity: its feed starts empty.",
        ) from None


def load_token(home: Home) -> str:
    """The bearer token of the local API. Raises Refused if others could have read it, LocalError if it is none: an
    empty one, left by a full disk, would let everybody in."""
    token = read_secret(home.token_path, NO_HOME).strip()
    if not token or not token.isascii() or not token.isprintable():
        raise LocalError(
            "HEL-KEY-005",
            f"{home.token_path} holds no token: it is empty, or not printable ASCII",
            f"Write a new one, while the node is down: (umask 077; openssl rand -hex 32 > {home.token_path})",
        )
    return token


def load_dsn(home: Home, config: LedgerConfig) -> str | None:
    """The address of the ledger's database, from the environment or the home; None if entries rest in a file. Raises
    Refused if others could have read it, LocalError if it is nowhere."""
    if config.store == "sqlite":
        return None
    dsn = os.environ.get(DSN_VARIABLE) or (read_secret(home.dsn_path, NO_HOME) if home.dsn_path.exists() else "")
    if not dsn.strip():
        raise LocalError(
            "HEL-CONFIG-005",
            f"the ledger is to rest in PostgreSQL, and neither {DSN_VARIABLE} nor {home.dsn_path} says where",
            f"Write its address there, as in: (umask 077; echo 'host=... dbname=... user=...' > {home.dsn_path})",
        )
    return dsn.strip()


def create_home(home: Home, config: Config, genesis: Genesis, devnet_seed: bytes | None = None) -> None:
    """Write a new node's files, with a fresh key unless it is a devnet's, into a directory that is new or empty: a
    directory of anybody else's is not closed to its users. Raises LocalError."""
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(home.path.iterdir()):
            raise LocalError(
                "HEL-CONFIG-003",
                f"{home.path} holds a node already, or other files",
                "Start it with: heliotrope up, or choose another --home. A node's key is its identity: keep it.",
            )
        home.path.chmod(0o700)
        key = secrets.token_hex(32) if devnet_seed is None else DEVNET_KEY_PREFIX + devnet_seed.hex()
        home.genesis_path.write_text(genesis.model_dump_json(indent=2) + "\n", encoding="utf-8")
        write_secret(home.key_path, key)
        home.fresh_path.touch()
        write_secret(home.token_path, secrets.token_urlsafe(32))
        home.config_path.write_text(render(config), encoding="utf-8")
    except OSError as error:
        raise LocalError(
            "HEL-CONFIG-004",
            f"no node can be made in {home.path}: {error.strerror}",
            "Let this user write there, or choose another --home.",
        ) from None


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


def load_peers(home: Home) -> tuple[str, ...]:
    """Addresses of the last run; none if there was none or the file is damaged: the bootstrap list remains."""
    try:
        stored = json.loads(home.peers_path.read_bytes())
    except (OSError, ValueError):
        return ()
    return tuple(a for a in stored if isinstance(a, str) and len(a) <= 256) if isinstance(stored, list) else ()


def load_rules(home: Home) -> tuple[Rule, ...]:
    """The operator's rules; none if there is no file. Raises LocalError for one that cannot be read: to go on without
    would be to work when it was told not to."""
    try:
        stored = json.loads(home.rules_path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        stored, why = None, f": {error}"
    else:
        why = ""
    if not isinstance(stored, list) or not all(isinstance(text, str) for text in stored):
        raise LocalError(
            "HEL-RULE-003",
            f"{home.rules_path} holds no list of rules{why}",
            "Remove it, and say the rules again: heliotrope energy rule add 'carbon > 300 => pause'",
        )
    return parse_rules(stored)


def keep_rules(home: Home, rules: Sequence[str]) -> None:
    """Write them down for the next start. Raises OSError."""
    write_private(home.rules_path, json.dumps(rules, indent=2))


def write_runtime_file(home: Home, **facts: object) -> None:
    """Say that this process runs the node, and where it listens: `api` above all."""
    write_private(home.runtime_path, json.dumps({"pid": os.getpid(), **facts}, indent=2))
