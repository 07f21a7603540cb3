"""A node's home: one directory with its configuration, key, ledger and blobs.

config.toml   what the operator says          genesis.json  the network it belongs to
key           Ed25519 seed, 0600              token         for the local API, 0600
ledger.db     entries                         blobs/        data, parameters, deltas, checkpoints
fresh         there until the key first signs
invitation    what lets it into a closed network
peers.json    addresses to dial again         runtime.json  where the running node listens
rules.json    when the node pauses, by its operator's rules
bans.json     peers and networks that it keeps out; 0600
ledger.dsn    where entries rest instead of ledger.db, if in PostgreSQL; 0600
approvals.json  devices that this node, as an auditor, may vouch for; 0600
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


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
    def invitation_path(self) -> Path:
        return self.path / "invitation"

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
    def bans_path(self) -> Path:
        return self.path / "bans.json"

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
