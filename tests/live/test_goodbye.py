"""A node that is told to stop says so: peers forget its advert at once, and one that is killed when that expires."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

from node.client import Client
from node.devnet.network import Member, running_pid
from protocol.identity import peer_id
from tests.live.nodes import devnet, eventually


def has_advert_of(client: Client, member: Member) -> bool:
    """Whether a node holds an advert of this one that is fresh."""
    return any(
        peer["identity"]["peer_id"] == peer_id(member.key) and peer["advert_fresh"] for peer in client.peers()["peers"]
    )


def test_who_stops_in_order_is_forgotten_and_who_is_killed_is_not(tmp_path: Path) -> None:
    with devnet(tmp_path, 3) as (members, processes):
        watcher, stopped, killed = members
        client = Client.of_home(watcher.home)
        for member in (stopped, killed):
            eventually(partial(has_advert_of, client, member))
        processes.kill(killed)
        pid = running_pid(stopped.home.runtime_path)
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not has_advert_of(client, stopped))
        assert has_advert_of(client, killed)
