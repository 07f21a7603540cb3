"""A node as its operator meets it: a process that is started, killed, started again, and fed with nonsense."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ledger.audit import violations
from ledger.ledger import replay
from ledger.store.sqlite import SqliteStore
from node.client import Client
from node.devnet.network import Member, make, running_pid
from node.home.config import load_config
from node.home.identity import load_genesis
from protocol.envelope import Entry, open_entry
from tests.live.nodes import SEED, devnet, eventually, has_peers


def test_node_killed_at_any_time_restarts_with_its_ledger_whole_and_reuses_no_seq(tmp_path: Path) -> None:
    with devnet(tmp_path, 2) as (members, processes):
        witness = Client.of_home(members[1].home)
        for _ in range(3):
            pid = running_pid(members[0].home.runtime_path)
            assert pid is not None
            processes.kill(members[0])
            stored = feed(members[0])
            assert [entry.seq for entry in stored] == list(range(len(stored)))
            processes.start([members[0]])
            mine = Client.of_home(members[0].home)
            eventually(partial(has_peers, mine, 1))
            eventually(partial(agree, mine, witness))
            assert mine.verify()["ok"]
            assert witness.heads()["forked"] == []


def agree(one: Client, other: Client) -> bool:
    """Whether two nodes have the same heads."""
    return bool(one.heads()["fingerprint"] == other.heads()["fingerprint"])


def feed(member: Member) -> list[Entry]:
    """The node's own entries as they lie on its disk, every signature verified."""
    genesis = load_genesis(member.home.genesis_path)
    store = SqliteStore(member.home.ledger_path, genesis.network_id())
    try:
        ledger = replay(genesis, (raw for _, raw in store.replay()))
        assert violations(ledger.state) == []
        return [open_entry(raw, ledger.network) for raw in store.feed(member.key, 0, 1000)]
    finally:
        store.close()


def test_garbage_on_the_peer_port_leaves_the_node_alive(tmp_path: Path) -> None:
    with devnet(tmp_path, 2) as (members, _):
        client = Client.of_home(members[0].home)
        port = int(client.node()["addresses"][0].split("/")[4])
        for garbage in (b"\x00" * 4096, b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 64, b"\xff" * 70_000):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(garbage)
        before = client.node()["ledger_entries"]
        eventually(lambda: client.node()["ledger_entries"] > before)
        assert client.node()["peers_connected"] == 1


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("api port", "HEL-API"),
        ("peer port", "HEL-LINK"),
        ("data port", "HEL-DATA-001"),
        ("loose key", "chmod 600"),
        ("foreign ledger", "belongs to network"),
        ("no ledger", "cannot be read as a ledger"),
        ("unknown key in config", "nearest known is capacity_w"),
    ],
)
def test_node_that_cannot_start_names_the_cause_and_the_remedy(tmp_path: Path, fault: str, named: str) -> None:
    member = make(tmp_path, 1, SEED)[0]
    home = member.home
    occupied = socket.socket()
    if fault.endswith("port"):
        config = load_config(home)
        ports = {
            "api port": config.api.port,
            "peer port": int(config.link.listen.rpartition("/")[2]),
            "data port": config.link.data_port,
        }
        occupied.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        occupied.bind(("127.0.0.1", ports[fault]))
        occupied.listen()
    elif fault == "loose key":
        home.key_path.chmod(0o644)
    elif fault == "foreign ledger":
        SqliteStore(home.ledger_path, bytes(32)).close()
    elif fault == "no ledger":
        home.ledger_path.write_bytes(b"this is a letter to my aunt" * 100)
    else:
        home.config_path.write_text(home.config_path.read_text().replace("capacity_w", "capacity_v"))
    with occupied:
        ended = subprocess.run(
            [sys.executable, "-m", "node.daemon", str(home.path), str(os.getpid())],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert named.lower() in ended.stderr.lower()
    assert "remedy" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_node_ends_in_order_on_sigterm(tmp_path: Path) -> None:
    with devnet(tmp_path, 1) as (members, processes):
        pid = running_pid(members[0].home.runtime_path)
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: running_pid(members[0].home.runtime_path) is None)
        processes.stop()
        assert not members[0].home.runtime_path.exists()
