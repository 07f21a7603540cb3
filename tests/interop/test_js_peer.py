"""A second implementation, by the documents alone and on js-libp2p, is a peer of a network of real nodes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from node.client import Client
from protocol.identity import KeyPair
from protocol.regions import COUNTRIES, region_of
from tests.builders import digest

from .js import JsError, JsPeer, eventually, js_peer, require_js
from .nodes import Duo, duo

pytestmark = pytest.mark.asyncio(loop_scope="module")
REGION = "europe"  # of the seller, and of the peer in another language
KEY = KeyPair(digest("js"))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duo]:
    require_js()
    with duo(tmp_path_factory.mktemp("interop")) as nodes:
        yield nodes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def js(network: Duo) -> AsyncIterator[JsPeer]:
    async with joined(network, KEY) as peer:
        yield peer


@asynccontextmanager
async def joined(network: Duo, key: KeyPair) -> AsyncIterator[JsPeer]:
    """Connected to the seller, and to nobody else."""
    async with js_peer(network.seller.home.genesis_path, key.seed) as peer:
        await peer.do("subscribe", region=REGION)
        await peer.do("dial", address=network.address(network.seller))
        yield peer


def known(network: Duo, key: KeyPair) -> dict[str, Any] | None:
    """What the seller says of a peer."""
    peers = network.client(network.seller).peers()["peers"]
    return next((peer for peer in peers if peer["identity"]["key"] == key.public.hex()), None)


def offers(network: Duo, key: KeyPair) -> list[dict[str, Any]]:
    """What each node says of a peer's offer: the seller, then the listener."""
    return [
        offer
        for member in (network.seller, network.listener)
        for offer in network.client(member).offers()["offers"]
        if offer["identity"]["key"] == key.public.hex()
    ]


# --- joining ------------------------------------------------------------------------------------------------------


async def test_it_joins_and_both_sides_acknowledge(js: JsPeer, network: Duo) -> None:
    await eventually(lambda: (known(network, KEY) or {}).get("connected") is True)
    seller = network.seller.peer
    assert (await js.do("ping", peer=seller))["nonce"] == 4711
    assert (await js.do("acknowledged", peer=seller))["taken"] >= 2  # its hello and its ping
    await js.says("message", type="summary")


async def test_what_comes_with_js_libp2p_does_no_harm(js: JsPeer, network: Duo) -> None:
    """It offers gossipsub 1.2 first, pushes its identity, and opens more streams than an honest peer needs."""
    seller = network.seller.peer
    seen = await js.do("protocols", peer=seller)
    assert "/meshsub/1.1.0" in seen["known"]
    assert "/meshsub/1.2.0" not in seen["known"]
    assert "/meshsub/1.1.0" in seen["streams"]
    await js.do("streams", count=20)
    await js.do("ping", peer=seller)
    assert (await js.do("rtt", address=network.address(network.seller)))["rtt_ms"] >= 0


async def test_it_is_refused_in_another_network_with_the_reason(network: Duo, tmp_path: Path) -> None:
    """It would not mind itself: of two that refuse each other, one may cut before the other has said why."""
    path, key = tmp_path / "genesis.json", KeyPair(digest("stranger"))
    path.write_text(json.dumps(json.loads(network.seller.home.genesis_path.read_bytes()) | {"name": "elsewhere"}))
    async with js_peer(path, key.seed) as stranger:
        await stranger.do("judge_hellos", reason="")
        with pytest.raises(JsError, match=r"another network: yours is \w+, this is \w+"):
            await stranger.do("dial", address=network.address(network.seller))
        await stranger.says("disconnected", peer=network.seller.peer)
    assert known(network, key) is None


async def test_it_knows_the_region_of_every_country_and_of_other_zones(js: JsPeer) -> None:
    zones = [*" ".join(COUNTRIES.values()).split(), "US-CAL-CISO", "XX", "DE1"]
    assert (await js.do("regions", zones=zones))["regions"] == list(map(region_of, zones))


# --- hearing ------------------------------------------------------------------------------------------------------


async def test_it_verifies_adverts_and_applies_updates_to_their_base(js: JsPeer, network: Duo) -> None:
    """Whoever has no base asks for it."""
    full = await js.says("advert", change="full", label="seller")
    assert (full["region"], full["zone"], full["device"]) == (REGION, "ES", "cpu")
    async with joined(network, KeyPair(digest("forgetful"))) as forgetful:
        await forgetful.do("miss")
        for peer, seen in ((js, len(js.events)), (forgetful, len(forgetful.events))):
            update = await peer.says("advert", after=seen, change="updated", label="seller")
            assert update["number"] > full["number"]
            assert not [event for event in peer.events if event["event"] == "faulty"]
        await forgetful.says("message", type="adverts")


async def test_a_newcomer_is_told_all_adverts(js: JsPeer, network: Duo) -> None:
    await js.says("advert", label="seller")
    told = await js.do("want_adverts", peer=network.seller.peer, regions=[REGION])
    assert told["adverts"][0] == {"author": network.seller.peer, "label": "seller", "is_update": False}
    assert (await js.do("want_adverts", peer=network.seller.peer, regions=["oceania"]))["adverts"] == []


async def test_it_fetches_the_heads_and_all_entries_behind_them(js: JsPeer, network: Duo) -> None:
    """At first it has nothing, then it lacks what is new."""
    for seq_min in (1, 2):
        await eventually(partial(has_grown, network, seq_min))
        shown = {head["author"]["key"]: head["id"] for head in network.client(network.seller).heads()["heads"]}
        await js.do("sync", peer=network.seller.peer)
        await js.until_feeds(partial(has_all, shown))


def has_grown(network: Duo, seq_min: int) -> bool:
    """Whether the seller's feed has."""
    feed = network.client(network.seller).entries(author=network.seller.key.hex())
    return any(entry["seq"] >= seq_min for entry in feed)


def has_all(heads: dict[str, str], ids: dict[str, list[str]]) -> bool:
    return all(head in ids.get(author, []) for author, head in heads.items())


async def test_it_fetches_a_range_of_one_author(js: JsPeer, network: Duo) -> None:
    author = network.seller.key.hex()
    entries = list(network.client(network.seller).entries(author=author))
    wanted = await js.do("want", peer=network.seller.peer, author=author, start=1)
    assert wanted["ids"][: len(entries) - 1] == [entry["id"] for entry in entries[1:]]


# --- speaking -----------------------------------------------------------------------------------------------------


async def test_our_nodes_accept_its_advert_forward_it_and_let_it_go(js: JsPeer, network: Duo) -> None:
    await js.do("say", what="advert", region=REGION, changes={"label": "from js"})
    await eventually(lambda: len(offers(network, KEY)) == 2)
    for offer in offers(network, KEY):
        assert offer["identity"]["label"] == "from js"
        assert (offer["offer"]["device"], offer["free_units"]) == ("abacus", 3)
    assert (known(network, KEY) or {})["device"] == "abacus"
    await js.do("say", what="update", region=REGION)
    await eventually(lambda: [offer["free_units"] for offer in offers(network, KEY)] == [2, 2])
    assert offers(network, KEY)[0]["grid_g_per_kwh"] == [201, 202, 203]
    await js.do("say", what="goodbye", region=REGION)
    await eventually(lambda: offers(network, KEY) == [])


async def test_our_node_asks_it_for_the_advert_that_its_update_changes(js: JsPeer, network: Duo) -> None:
    """The listener would ask the seller, perhaps before that has it, and then only after a while again."""
    await js.do("whisper", what="advert", changes={"label": "late"})
    await js.do("say", what="update", region=REGION)
    await eventually(lambda: [offer["identity"]["label"] for offer in offers(network, KEY)][:1] == ["late"])
    assert offers(network, KEY)[0]["free_units"] == 2


async def test_our_nodes_fetch_the_entry_that_it_writes(js: JsPeer, network: Duo) -> None:
    await js.do("write")
    await eventually(lambda: entries(network.client(network.seller), KEY) == ["offer"])
    await eventually(lambda: entries(network.client(network.listener), KEY) == ["offer"])


def entries(client: Client, key: KeyPair) -> list[str]:
    """The kinds of an author's entries that are not void."""
    return [entry["kind"] for entry in client.entries(author=key.public.hex()) if entry["void"] is None]


@pytest.mark.parametrize(("region", "forged"), [(REGION, "signature"), ("oceania", "topic"), (REGION, "size")], ids=str)
async def test_what_it_forges_is_refused_and_not_forwarded(network: Duo, region: str, forged: str) -> None:
    """It is dated ahead: whoever had taken it would take nothing older for news."""
    key = KeyPair(digest(f"forger {region} {forged}"))
    async with joined(network, key) as js:
        await js.do("say", what="advert", region=region, forged=forged, ahead_ms=300_000, changes={"label": "forged"})
        await js.do("say", what="advert", region=REGION, changes={"label": "honest"})
        await eventually(lambda: len(offers(network, key)) == 2)
        assert {offer["identity"]["label"] for offer in offers(network, key)} == {"honest"}


# --- lasting ------------------------------------------------------------------------------------------------------


async def test_it_survives_our_restart(js: JsPeer, network: Duo) -> None:
    before = await js.says("advert", label="seller")
    network.processes.kill(network.seller)
    await js.says("disconnected", peer=network.seller.peer)
    seen = len(js.events)
    network.processes.start([network.seller])
    await js.do("dial", address=network.address(network.seller))
    after = await js.says("advert", after=seen, label="seller")
    assert after["number"] > before["number"]
    await js.says("message", after=seen, type="want_head")
    await js.do("ping", peer=network.seller.peer)
