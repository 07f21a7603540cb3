"""Neighbours over HTTP: whom the operator keeps out, and what the node says of it."""

from __future__ import annotations

import asyncio
from math import inf
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from node.api.metrics import exposition
from node.api.problems import PROBLEM_TYPE
from node.client import Client
from node.documents import Invalid
from node.home.bans import KeptOut, keep_bans, load_bans
from node.home.home import Home
from node.link import Ban, Verdict
from node.running.guarding import Guarding, LinkFacts
from protocol.errors import LocalError
from tests.api.host import Host
from tests.builders import keypair

PEER = keypair(1).public


async def test_a_banned_peer_is_listed_until_the_ban_is_lifted(host: Host, client: Client) -> None:
    answer = await asyncio.to_thread(client.ban, PEER.hex(), 3600, "a bad neighbour")
    (banned,) = answer["banned"]
    assert banned["identity"]["key"] == PEER.hex()
    assert (banned["seconds_left"], banned["reason"], banned["by_operator"]) == (3600, "a bad neighbour", True)
    assert (await asyncio.to_thread(client.peers))["banned"] == answer["banned"]

    assert (await asyncio.to_thread(client.unban, PEER.hex()))["banned"] == []


async def test_refuse_to_ban_the_node_itself(host: Host, client: Client) -> None:
    with pytest.raises(Invalid, match="this node's own"):
        await asyncio.to_thread(client.ban, host.keypair.public.hex(), None, "why not")


async def test_denied_networks_are_replaced_and_those_of_the_configuration_stay(client: Client) -> None:
    await asyncio.to_thread(client.deny, {"198.51.100.0/24": None})
    answer = await asyncio.to_thread(client.deny, {"203.0.113.7": 60})
    assert answer["denied"] == [
        {"network": "192.0.2.0/24", "seconds_left": None, "configured": True},
        {"network": "203.0.113.7/32", "seconds_left": 60, "configured": False},
    ]


@pytest.mark.parametrize("network", ["nowhere", "192.0.2.1/24", "192.0.2.0/33", "0.0.0.0/0/0"])
async def test_refuse_to_deny_what_is_no_network(client: Client, network: str) -> None:
    with pytest.raises(Invalid, match="is no network"):
        await asyncio.to_thread(client.deny, {network: None})


@pytest.mark.parametrize("seconds", [0, -1, 1.5, "60"])
async def test_refuse_a_ban_of_no_time(http: aiohttp.ClientSession, seconds: object) -> None:
    async with http.put(f"/v1/peers/{PEER.hex()}/ban", json={"seconds": seconds}) as response:
        assert (response.status, response.content_type) == (422, PROBLEM_TYPE)


async def test_bans_outlast_the_node_and_not_their_time(host: Host, tmp_path: Path) -> None:
    guarding = host.guarding
    await guarding.ban(PEER, None, "for good")
    await guarding.ban(keypair(2).public, 3600, "for an hour")
    await guarding.deny({"198.51.100.0/24": 3600})

    await guarding.unban(PEER)
    later = Host(tmp_path / "later").guarding
    later._home = guarding._home  # another start in the same home
    await later.restore()

    assert set(later.facts().bans) == {keypair(2).public}
    assert 3590 < later.facts().bans[keypair(2).public].left_s <= 3600
    assert set(later.facts().denied) == {"192.0.2.0/24", "198.51.100.0/24"}


async def test_a_ban_that_is_over_is_not_restored(tmp_path: Path) -> None:
    home = Home(tmp_path)
    over = {"until_unix_ms": 1, "reason": "long ago", "by_operator": False, "bans": 1.0}
    keep_bans(home, KeptOut.model_validate({"peers": {PEER.hex(): over}, "networks": {"192.0.2.0/24": 1}}))
    guarding = Guarding(Host(tmp_path / "host").guarding._link, home)
    await guarding.restore()
    assert (guarding.facts().bans, guarding.facts().denied) == ({}, {})


@pytest.mark.parametrize("text", ["", "[]", '{"peers": {"x": 1}}', '{"networks": {"192.0.2.0/24": "never"}}'])
def test_refuse_a_damaged_file_of_bans(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    home.bans_path.write_text(text)
    with pytest.raises(LocalError, match=r"bans\.json cannot be read") as refusal:
        load_bans(home)
    assert "peer ban" in refusal.value.remedy


def test_metrics_tell_gossip_by_verdict_losses_by_cause_and_bans(host: Host) -> None:
    facts = LinkFacts(
        connections=3,
        scores={},
        bans={PEER: Ban(inf, "", True)},
        denied={"192.0.2.0/24": inf},
        configured=set(),
        losses={"gossip_over_rate": 7},
        results={("t/adverts", Verdict.ACCEPT): 5, ("t/adverts", Verdict.REJECT): 2},
    )
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposition(host.node, facts, host.traffic, host.clock_ms))
        for sample in family.samples
    }
    assert samples["heliotrope_link_connections",] == 3
    assert samples["heliotrope_link_peers_banned",] == 1
    assert samples["heliotrope_link_networks_denied",] == 1
    assert samples["heliotrope_gossip_messages_total", "t/adverts", "accept"] == 5
    assert samples["heliotrope_gossip_messages_total", "t/adverts", "reject"] == 2
    assert samples["heliotrope_link_losses_total", "gossip_over_rate"] == 7
