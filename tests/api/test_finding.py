"""Whom the API finds in the Kademlia table."""

from __future__ import annotations

import asyncio

import pytest

from node.client import Client
from node.documents import Invalid
from node.home.config import LinkConfig
from protocol.errors import Refused
from tests.api.host import Host

ADDRESS = "/ip4/192.0.2.1/tcp/8471/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"


async def test_who_offers_a_device_in_a_region_is_found(host: Host, client: Client) -> None:
    host.found["europe", "cuda"] = (ADDRESS,)
    assert await asyncio.to_thread(client.find_peers, "europe", "cuda") == {
        "region": "europe",
        "device": "cuda",
        "addresses": [ADDRESS],
    }
    assert (await asyncio.to_thread(client.find_peers, "asia", "cuda"))["addresses"] == []


async def test_a_region_that_is_none_is_refused(client: Client) -> None:
    with pytest.raises(Invalid, match="region"):
        await asyncio.to_thread(client.find_peers, "atlantis", "cpu")


async def test_a_node_without_the_table_says_so(host: Host, client: Client) -> None:
    host.config.link = LinkConfig(dht=False)
    with pytest.raises(Refused, match="no part in the Kademlia table"):
        await asyncio.to_thread(client.find_peers, "europe", "cpu")
