"""The node and its neighbours as the API shows them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ledger.forecasts import UNPROVEN_PERMILLE
from node.api.problems import Problem
from node.client import Client
from node.events import (
    DialFailed,
    GossipReceived,
    MeterFailed,
    PeerConnected,
)
from protocol import adverts
from protocol.adverts import Advert
from protocol.errors import Refused, Unreachable
from protocol.gossip import encode_batch
from protocol.identity import peer_id
from tests.api.host import TOKEN, Host, seller, served
from tests.api.requests import job_request
from tests.builders import NOW_MS, SLOT_MS, keypair, offer


def hear_advert(host: Host, number: int = 1, **changes: Any) -> None:
    """Peer `number` advertises a machine on a German grid, with some sun."""
    fields: dict[str, Any] = {
        "number": NOW_MS,
        "expires_at_ms": NOW_MS + 600_000,
        "label": f"peer-{number}",
        "offer": offer(rate_tps=20_000),
        "free_units": 4,
        "first_slot": NOW_MS // SLOT_MS,
        "surplus_s50_j": (12_000,) * 20,
        "surplus_s20_j": (9000,) * 20,
        "grid_g_per_kwh": (360,) * 20,
        "attestations": (),
        "addresses": (f"/ip4/127.0.0.1/tcp/1/p2p/{peer_id(keypair(number).public)}",),
    }
    raw = adverts.seal(keypair(number), host.genesis.network_id(), Advert(**fields | changes))
    topic = host.node.identity.topics.adverts("europe")
    host.turn(GossipReceived(topic, keypair(number).public, encode_batch([raw])))


async def reasons(client: Client) -> str:
    with pytest.raises(Unreachable) as caught:
        await asyncio.to_thread(client.ready)
    return caught.value.cause


async def test_the_node_says_who_and_where_it_is(host: Host, client: Client) -> None:
    node = await asyncio.to_thread(client.node)
    assert node["identity"] == {
        "key": host.keypair.public.hex(),
        "peer_id": peer_id(host.keypair.public),
        "label": "lead",
    }
    assert node["network"] == host.genesis.network_id().hex()
    assert (node["now_ms"], node["slot"]) == (NOW_MS, NOW_MS // SLOT_MS)
    assert node["ledger_entries"] == 2  # its offer and its first attestation
    assert node["power"] == {
        "carrier": "hydro",
        "zone": "DE",
        "surplus_w": 200,
        "grid_g_per_kwh": node["power"]["grid_g_per_kwh"],
        "attested_until_ms": NOW_MS,
        "method": "modelled",
        "assurance": 0,
        "unattested": "",
        "unaudited": "",
        "paused_by": "",
    }


async def test_a_node_with_power_and_nobody_to_reach_is_ready(client: Client) -> None:
    await asyncio.to_thread(client.ready)


async def test_not_ready_while_no_configured_peer_answers(tmp_path: Path) -> None:
    host = Host(tmp_path, sells=seller(), bootstrap=(f"/ip4/10.0.0.1/tcp/1/p2p/{peer_id(keypair(1).public)}",))
    host.start()
    host.turn(DialFailed(host.node.dialling.bootstrap[0], "connection refused"))
    async with served(host) as url:
        cause = await reasons(Client(url, TOKEN))
        assert cause == (
            "not ready: peers: none of 1 configured or remembered addresses is connected;"
            " the last attempts: connection refused"
        )
        host.turn(PeerConnected(keypair(1).public))
        await asyncio.to_thread(Client(url, TOKEN).ready)


async def test_not_ready_without_a_forecast(tmp_path: Path) -> None:
    host = Host(tmp_path, sells=seller())
    async with served(host) as url:
        assert "energy: the energy source gives no forecast" in await reasons(Client(url, TOKEN))


async def test_not_ready_while_the_energy_source_fails(host: Host, client: Client) -> None:
    host.turn(MeterFailed("no answer"))
    assert "energy: no answer: power counts as grid" in await reasons(client)


async def test_not_ready_while_no_reading_comes(host: Host, client: Client) -> None:
    host.clock_ms += 4 * SLOT_MS
    assert "energy: the energy source gave no reading for 4 slots" in await reasons(client)


async def test_not_ready_with_a_clock_behind_its_peers(host: Host, client: Client) -> None:
    hear_advert(host, number=1)
    host.turn(PeerConnected(keypair(1).public))
    await asyncio.to_thread(client.ready)
    host.clock_ms -= 5000
    assert "clock: peers are 5000 ms of network time ahead" in await reasons(client)


async def test_not_ready_with_a_clock_for_which_all_adverts_have_expired(host: Host, client: Client) -> None:
    hear_advert(host, number=1, expires_at_ms=NOW_MS + 1000)
    host.turn(PeerConnected(keypair(1).public))
    host.clock_ms += 2000
    assert "clock: the adverts of all 1 connected peers have expired" in await reasons(client)


async def test_readiness_names_each_concern_in_a_problem(tmp_path: Path) -> None:
    host = Host(tmp_path, sells=seller())
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        served(host) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/readyz", headers=headers) as answer,
    ):
        problem = Problem.model_validate_json(await answer.read())
    assert (answer.status, [error.field for error in problem.errors]) == (503, ["energy"])


async def test_peers_are_those_connected_and_those_who_advertise(host: Host, client: Client) -> None:
    hear_advert(host, number=1)
    host.turn(PeerConnected(keypair(2).public))
    found = {p["identity"]["label"]: p for p in (await asyncio.to_thread(client.peers))["peers"]}
    assert found["peer-1"]["connected"] is False
    assert (found["peer-1"]["zone"], found["peer-1"]["carrier"]) == ("DE", "solar")
    assert found[peer_id(keypair(2).public)[-8:]]["connected"] is True
    assert len(found) == 2


async def test_offers_are_our_own_and_the_fresh_ones(host: Host, client: Client) -> None:
    hear_advert(host, number=1)
    hear_advert(host, number=2, expires_at_ms=NOW_MS + 10)
    host.clock_ms += 20
    offers = (await asyncio.to_thread(client.offers))["offers"]
    assert [(o["identity"]["label"], o["own"]) for o in offers] == [("lead", True), ("peer-1", False)]
    assert (offers[0]["method"], offers[0]["assurance"]) == ("modelled", 0)
    assert (offers[1]["method"], offers[1]["assurance"]) == (None, None)  # it named no attestation
    assert [offer["reliability_permille"] for offer in offers] == [UNPROVEN_PERMILLE] * 2


async def test_a_node_that_may_not_sign_says_so_first_and_how_it_ends(tmp_path: Path) -> None:
    host = Host(tmp_path, sells=seller(), may_sign=False)
    host.start()
    async with served(host) as url:
        client = Client(url, TOKEN)
        cause = await reasons(client)
        assert cause.startswith("not ready: own feed: unconfirmed: nothing is signed until a peer has said")
        assert "heliotrope up --trust-ledger" in cause
        with pytest.raises(Refused, match="signs nothing now: its own feed is unconfirmed") as refusal:
            await asyncio.to_thread(client.submit, json.dumps(job_request()))
        assert refusal.value.code == "HEL-KEY-006"
        assert (await asyncio.to_thread(client.node))["ledger_entries"] == 0
