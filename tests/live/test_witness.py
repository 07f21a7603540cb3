"""Real nodes and a real witness: what it cosigned is confirmed everywhere, and nothing is while it is down."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from node.client import Client
from tests.live.nodes import devnet, eventually


def confirmations(client: Client) -> list[bool]:
    """Of all entries, in the order in which this node accepted them."""
    return [entry["confirmed"] for entry in client.entries()]


def confirms_more_than(client: Client, count: int) -> bool:
    return sum(confirmations(client)) > count


def has_unconfirmed(client: Client) -> bool:
    return not all(confirmations(client))


def test_entries_are_confirmed_while_the_witness_is_there(tmp_path: Path) -> None:
    with devnet(tmp_path, 2, witnesses=1) as (members, processes):
        clients: list[Any] = [Client.of_home(member.home) for member in members]
        for client in clients:
            eventually(partial(confirms_more_than, client, 3))
        processes.kill(members[2])
        for client in clients[:2]:
            eventually(partial(has_unconfirmed, client))  # each node attests once a slot of ten seconds
        before = sum(confirmations(clients[0]))
        processes.start([members[2]])
        for client in (*clients[:2], Client.of_home(members[2].home)):
            eventually(partial(confirms_more_than, client, before))
