"""The link with js-libp2p at the other end: large messages, many, and none at all."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from node.link import Link, LinkError, PeerConnected, PeerDisconnected, PeerRefused, Verdict
from node.link import thread as link_thread
from node.link.guard.standing import BANNED_BELOW
from protocol.genesis import Clock, Genesis
from protocol.identity import KeyPair, peer_id
from tests.builders import digest
from tests.live.links import ANY_PORT, Inbox

from .js import JsError, JsPeer, js_peer, require_js

pytestmark = pytest.mark.asyncio(loop_scope="module")
GENESIS = Genesis(name="interop link", clock=Clock(unix_ms=0, network_ms=0, speed=1), slot_ms=1000)
TOPICS = [f"heliotrope/1/interop/{number}" for number in range(5)]
KEY = KeyPair(digest("js link"))
SIZE_BYTES = 3 * 2**20
GOSSIP = 1000
PAUSE_MS = 5  # of one peer we hear 600 messages at once, 300 of a topic, and then 150 a second, 50 of a topic


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def js(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JsPeer]:
    require_js()
    path = tmp_path_factory.mktemp("link") / "genesis.json"
    path.write_text(GENESIS.model_dump_json())
    async with js_peer(path, KEY.seed) as peer:
        for topic in TOPICS:
            await peer.do("subscribe", topic=topic)
        yield peer


@pytest_asyncio.fixture(loop_scope="module")
async def alone(js: JsPeer, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Link, Inbox]]:
    """A link of its own for each test, which the peer knows nothing of."""
    inbox = Inbox()
    link = Link(
        seed=digest(request.node.name),
        listen=ANY_PORT,
        topics=TOPICS,
        judge=lambda topic, data: Verdict.REJECT if data == b"bad" else Verdict.ACCEPT,
        deliver=inbox,
        network=GENESIS.network_id(),
    )
    await link.start()
    yield link, inbox
    await link.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def ours(js: JsPeer, alone: tuple[Link, Inbox]) -> tuple[Link, Inbox]:
    """A link that the peer has joined."""
    link, inbox = alone
    await js.do("dial", address=link.addresses[0])
    await inbox.has(PeerConnected(KEY.public))
    return alone


async def test_we_hear_why_it_refuses_us(js: JsPeer, alone: tuple[Link, Inbox]) -> None:
    link, inbox = alone
    await js.do("judge_hellos", reason="the house is full")
    dialling = asyncio.create_task(js.do("dial", address=link.addresses[0]))
    await inbox.until(lambda: any(isinstance(event, PeerRefused) for event in inbox.events))
    refused = next(event for event in inbox.events if isinstance(event, PeerRefused))
    assert refused.peer == KEY.public
    assert "the house is full" in refused.reason
    assert PeerConnected(KEY.public) not in inbox.events
    await js.do("judge_hellos", reason=None)
    await asyncio.wait({dialling})


async def test_large_messages_go_both_ways_at_once(js: JsPeer, ours: tuple[Link, Inbox]) -> None:
    link, inbox = ours
    await js.do("echo")
    data, us = random.Random(1).randbytes(SIZE_BYTES), peer_id(link.public)
    _, sent = await asyncio.gather(link.send(KEY.public, data), js.do("raw", peer=us, size=SIZE_BYTES))
    await js.says("raw", sha256=hashlib.sha256(data).hexdigest(), size=SIZE_BYTES)
    await inbox.until_counts(messages=2, gossip=0)
    heard = {hashlib.sha256(data).hexdigest() for data in inbox.messages()}
    assert heard == {sent["sha256"], hashlib.sha256(data).hexdigest()}


async def test_it_is_blamed_for_what_we_reject_and_banned_for_much_of_it(js: JsPeer, ours: tuple[Link, Inbox]) -> None:
    link, inbox = ours
    for text in ("bad", "good"):
        await js.do("gossip", topic=TOPICS[0], text=text)
    await inbox.until_counts(messages=0, gossip=1)
    assert inbox.gossip() == [b"good"]
    assert BANNED_BELOW < link.scores()[KEY.public] < 0
    for _ in range(9):
        await js.do("gossip", topic=TOPICS[0], text="bad")
    await inbox.has(PeerDisconnected(KEY.public))
    await js.says("disconnected", peer=peer_id(link.public))
    with pytest.raises(JsError, match=r"banned for .*: .*rejected gossip messages"):
        await js.do("dial", address=link.addresses[0])


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """We publish as fast as a peer may: else a thousand messages take twenty seconds."""
    monkeypatch.setattr(link_thread, "PUBLISH_RATE_PER_S", 1000 / PAUSE_MS)


@pytest.mark.usefixtures("brisk")
async def test_a_thousand_gossip_messages_go_both_ways_without_loss(js: JsPeer, ours: tuple[Link, Inbox]) -> None:
    link, inbox = ours
    flood = asyncio.create_task(js.do("flood", topics=TOPICS, count=GOSSIP, pause_ms=PAUSE_MS))
    for number in range(GOSSIP):
        await inbox.until_counts(messages=0, gossip=number + 1)
        await link.publish(TOPICS[number % len(TOPICS)], b"ours %d" % number)
    await flood
    await js.until_gossip(GOSSIP)
    assert inbox.gossip() == [b"js %d" % number for number in range(GOSSIP)]
    assert js.gossip() == [f"ours {number}" for number in range(GOSSIP)]
    assert not link.losses


async def test_a_connection_cut_in_the_middle_fails_what_was_under_way_and_nothing_after(
    js: JsPeer, ours: tuple[Link, Inbox]
) -> None:
    link, inbox = ours
    await js.do("cut_after", bytes=SIZE_BYTES // 3)
    with pytest.raises(LinkError, match="failed"):
        await link.send(KEY.public, bytes(SIZE_BYTES))
    await inbox.has(PeerDisconnected(KEY.public))
    await js.do("echo")
    await js.do("dial", address=link.addresses[0])
    await inbox.until(lambda: inbox.events.count(PeerConnected(KEY.public)) == 2)
    await link.send(KEY.public, b"again")
    await inbox.until_counts(messages=1, gossip=0)
    assert inbox.messages() == [b"again"]
    await js.do("raw", peer=peer_id(link.public), size=1)


async def test_our_end_in_the_middle_fails_what_it_had_under_way(js: JsPeer, ours: tuple[Link, Inbox]) -> None:
    link, _ = ours
    with pytest.raises(JsError):
        await asyncio.gather(js.do("raw", peer=peer_id(link.public), size=SIZE_BYTES), link.stop())
    await js.says("disconnected", peer=peer_id(link.public))
