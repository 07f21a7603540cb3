"""Who a node is and what it may touch: its network, its key, its token, its database. Secrets stand in 0600 files."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pydantic import ValidationError

from node.home.config import Config, LedgerConfig, render
from node.home.home import Home
from node.home.secret import read_secret, write_secret
from protocol.adverts import first_fault
from protocol.errors import LocalError, Refused
from protocol.genesis import Genesis
from protocol.identity import KeyPair

DEVNET_KEY_PREFIX = "devnet:"
NO_HOME = "Make a node with: heliotrope init, or name it with --home."
DSN_VARIABLE = "HELIOTROPE_LEDGER_DSN"


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


def create_home(
    home: Home, config: Config, genesis: Genesis, seed: bytes | None = None, *, is_public: bool = False
) -> None:
    """Write a new node's files, with a fresh key unless a `seed` is given, into a directory that is new or empty: a
    directory of anybody else's is not closed to its users. `is_public`: anybody can compute the seed, as a devnet's;
    the file says so. Raises LocalError."""
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(home.path.iterdir()):
            raise LocalError(
                "HEL-CONFIG-003",
                f"{home.path} holds a node already, or other files",
                "Start it with: heliotrope up, or choose another --home. A node's key is its identity: keep it.",
            )
        home.path.chmod(0o700)
        key = (DEVNET_KEY_PREFIX if is_public else "") + (seed or secrets.token_bytes(32)).hex()
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
