"""Blobs over streams of the link, for peers that nobody can dial by HTTPS: the same tickets, checks and quota."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from libp2p.abc import IHost
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamError

from node.data.client import DataClient
from node.data.roads import Https, Streams
from node.data.stream_server import Lent, StreamServer
from node.data.traffic import RoadName, Traffic
from node.link import Link, LinkError, PeerDisconnected, Verdict
from node.link import blobs as link_blobs
from node.link.blobs import CHUNK_BYTES, CHUNKS_WAITING_MAX, PROTOCOL, BlobHead
from node.training.blobs import BlobStore
from protocol.errors import LocalError
from protocol.identity import KeyPair
from protocol.messages import Blob
from tests.builders import NOW_MS
from tests.data.scene import HOLDER, SERVER, STRANGER, admission_of, proof, speaking, ticket, until

from .links import ANY_PORT, TOPIC, Inbox, Proxy, as_raw_peer

CONTENT = bytes(range(256)) * 16 * 1024  # 4 MiB: more than a yamux window and all that waits for the loop
BLOB = Blob(sha256=hashlib.sha256(CONTENT).digest(), size_bytes=len(CONTENT))
TICKET = ticket(blob=BLOB)  # its HTTPS address leads nowhere


class Scene:
    """A server with the blob and its link, the holder's link, and the holder's client."""

    def __init__(self, directory: Path) -> None:
        self.stored = BlobStore(directory / "server", 2**26)
        self.stored.put(CONTENT)
        self.admission = admission_of(self.stored)
        self.inbox, self.at_server = Inbox(), Inbox()
        self.server = link(SERVER, self.at_server, serve=StreamServer(self.admission))
        self.holder = link(HOLDER, self.inbox)
        self.traffic = Traffic()
        roads = (Https(10), Streams(self.holder.fetch_blob))
        self.client = DataClient(HOLDER, roads, self.traffic, stall_timeout_s=10, backoff_s=0.001)
        self.blobs = BlobStore(directory / "holder", 2**26)


def link(keypair: KeyPair, inbox: Inbox, serve: StreamServer | None = None) -> Link:
    options = {} if serve is None else {"serve_blob": serve.serve}
    return Link(
        seed=keypair.seed,
        listen=ANY_PORT,
        topics=[TOPIC],
        judge=lambda topic, data: Verdict.ACCEPT,
        deliver=inbox,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path)
    await scene.server.start()
    await scene.holder.start()
    yield scene
    await asyncio.gather(scene.server.stop(), scene.holder.stop())


async def idle(scene: Scene) -> None:
    await until(lambda: not scene.admission._quota.under_way)


async def test_a_blob_comes_by_a_stream_where_its_address_leads_nowhere(scene: Scene) -> None:
    await scene.holder.dial(scene.server.addresses[0])
    path = await scene.client.fetch(TICKET, scene.blobs)
    assert path.read_bytes() == CONTENT
    assert scene.traffic.fetched_bytes == {RoadName.STREAM: len(CONTENT)}
    await idle(scene)
    assert scene.admission.traffic.sent_bytes == {RoadName.STREAM: len(CONTENT)}


async def test_a_blob_comes_by_a_stream_where_whoever_is_at_its_address_hangs_up(scene: Scene, tmp_path: Path) -> None:
    async def hang_up(question: bytes, writer: asyncio.StreamWriter) -> None:
        pass

    await scene.holder.dial(scene.server.addresses[0])
    async with speaking(tmp_path, hang_up) as other:
        path = await scene.client.fetch(other.ticket(blob=BLOB), scene.blobs)
    assert path.read_bytes() == CONTENT


async def test_a_server_that_is_no_connected_peer_is_reached_by_neither_road(scene: Scene) -> None:
    with pytest.raises(LocalError, match="the transfer failed"):
        await scene.client.fetch(TICKET, scene.blobs)
    assert list(scene.blobs._directory.iterdir()) == []


async def test_the_road_that_worked_is_taken_first_the_next_time(scene: Scene) -> None:
    await scene.holder.dial(scene.server.addresses[0])
    assert [road.name for road in scene.client._in_order(SERVER.public)] == [RoadName.HTTPS, RoadName.STREAM]
    await scene.client.fetch(TICKET, scene.blobs)
    assert [road.name for road in scene.client._in_order(SERVER.public)] == [RoadName.STREAM, RoadName.HTTPS]


async def test_a_stream_that_broke_goes_on_where_it_stopped(scene: Scene) -> None:
    async with Proxy(scene.server.addresses[0]) as proxy:
        proxy.released.set()
        await scene.holder.dial(proxy.address)
        scene.client._backoff_s = 0.1
        fetching = asyncio.create_task(scene.client.fetch(TICKET, scene.blobs))
        await until(lambda: scene.traffic.fetched_bytes[RoadName.STREAM] > 0)
        proxy.cut()
        await scene.inbox.has(PeerDisconnected(SERVER.public))
        await scene.holder.dial(scene.server.addresses[0])
        assert (await fetching).read_bytes() == CONTENT
    assert scene.traffic.fetched_bytes == {RoadName.STREAM: len(CONTENT)}  # no byte came twice


async def asked(scene: Scene, authorization: str, first_byte: int = 0) -> tuple[BlobHead, bytes]:
    async with scene.holder.fetch_blob(SERVER.public, authorization, first_byte) as (head, chunks):
        return head, b"".join([chunk async for chunk in chunks])


async def test_the_same_is_refused_as_by_https(scene: Scene) -> None:
    await scene.holder.dial(scene.server.addresses[0])
    others = ticket(blob=BLOB, holder=STRANGER.public)
    gone = ticket()
    wrong = {
        proof(TICKET, STRANGER): (403, "check 4: the request does not prove the holder's key"),
        proof(others, STRANGER): (403, "the ticket is for another peer"),
        proof(gone): (404, "no such blob here any more"),
        "": (403, "check 1: not a Heliotrope ticket"),
        "é" * 3000: (403, "check 1: not a Heliotrope ticket"),
    }
    for authorization, refusal in wrong.items():
        head, content = await asked(scene, authorization)
        assert (head.status, head.reason, content) == (*refusal, b"")
    assert (await asked(scene, proof(TICKET), len(CONTENT)))[0].status == 416
    assert (await asked(scene, proof(TICKET), 2**64 - 1))[0].status == 416
    assert scene.admission.traffic.refused == {"ticket": 4, "gone": 1, "range": 2}


async def test_both_roads_draw_on_one_quota(scene: Scene) -> None:
    await scene.holder.dial(scene.server.addresses[0])
    for _ in range(3):
        grant = scene.admission.admit(proof(TICKET), 0, sha256=BLOB.sha256)
        grant.sent(grant.unsent_bytes)
        grant.close()
    assert (await asked(scene, proof(TICKET)))[1] == CONTENT  # the slack
    head, _ = await asked(scene, proof(TICKET))
    assert (head.status, head.retry_after_s) == (429, 900)


async def test_who_does_not_read_is_sent_no_more_than_buffers_take(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    read = Lent.read

    def counting(lent: Lent, size_bytes: int) -> bytes:
        sizes.append(size_bytes)
        return read(lent, size_bytes)

    monkeypatch.setattr(Lent, "read", counting)
    await scene.holder.dial(scene.server.addresses[0])
    async with scene.holder.fetch_blob(SERVER.public, proof(TICKET), 0):
        await until(lambda: sum(sizes) > CHUNKS_WAITING_MAX * CHUNK_BYTES)  # what waits for the loop is full
        await scene.holder.send(SERVER.public, b"a message gets through all the same")
        assert sum(sizes) <= len(CONTENT) // 2
        assert scene.admission._quota.under_way.total() == 1
    await idle(scene)  # the server has learned that nothing more is wanted


async def test_a_cancelled_fetch_ends_the_transfer(scene: Scene) -> None:
    await scene.holder.dial(scene.server.addresses[0])
    fetching = asyncio.create_task(scene.client.fetch(TICKET, scene.blobs))
    await until(lambda: scene.traffic.fetched_bytes[RoadName.STREAM] > 0)
    fetching.cancel()
    await asyncio.wait({fetching})
    await idle(scene)
    assert list(scene.blobs._directory.iterdir()) == []
    assert (await asked(scene, proof(TICKET), len(CONTENT) - 5))[1] == CONTENT[-5:]


async def test_what_is_granted_too_late_is_given_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is busy for longer than a question may take."""

    def slow_clock() -> int:
        time.sleep(0.5)
        return NOW_MS

    monkeypatch.setattr(link_blobs, "QUESTION_TIMEOUT_S", 0.2)
    await scene.holder.dial(scene.server.addresses[0])
    scene.admission._network_ms = slow_clock
    with pytest.raises(LinkError, match="broke off"):
        await asked(scene, proof(TICKET))
    await idle(scene)
    assert [account.sent_bytes for account in scene.admission._quota.accounts.values()] == [0]


# --- strangers ------------------------------------------------------------------------------------------------------


QUESTIONS = {
    "nothing": b"",
    "a length alone": b"\xff\xff",
    "too long": b"\xff\xff" + bytes(70_000),
    "half": b"\x00\x10half",
    "garbage": bytes(range(256)) * 40,
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
async def test_a_malformed_question_costs_its_stream_only(
    question: bytes, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_blobs, "QUESTION_TIMEOUT_S", 0.3)

    async def attack(host: IHost, target: ID) -> None:
        stream = await host.new_stream(target, [PROTOCOL])
        with trio.fail_after(10):
            try:
                await stream.write(question)
                answer = await stream.read(1000)
            except BaseLibp2pError:
                return
        assert answer[:2] == (403).to_bytes(2, "big")

    await raw_peer(attack, scene)
    monkeypatch.undo()
    await scene.holder.dial(scene.server.addresses[0])
    assert (await asked(scene, proof(TICKET), len(CONTENT) - 5))[1] == CONTENT[-5:]


async def test_one_peer_has_few_streams_at_once(scene: Scene) -> None:
    async def hold(host: IHost, target: ID) -> None:
        """Begin one question more than may be asked at once, and end none. Which of them is refused is chance."""
        streams = [await host.new_stream(target, [PROTOCOL]) for _ in range(link_blobs.SERVED_PER_PEER_MAX + 1)]
        while True:
            for stream in streams:
                await stream.write(b"\x10")
            await trio.sleep(0.01)

    async def attack(host: IHost, target: ID) -> None:
        with pytest.raises((BaseLibp2pError, MuxedStreamError)), trio.fail_after(10):
            await hold(host, target)

    await raw_peer(attack, scene)


LIES = {
    "another size": BlobHead(200, len(CONTENT) + 1),
    "a huge size": BlobHead(206, 2**64 - 1),
    "a strange status": BlobHead(65535),
    "short": BlobHead(200, len(CONTENT)),
}


class Liar:
    deadline_s = 10.0

    def __init__(self, head: BlobHead) -> None:
        self.head, self.left = head, 3

    def serve(self, *_: object) -> Liar:
        return self

    def read(self, size_bytes: int) -> bytes:
        self.left -= 1
        return bytes(size_bytes) if self.left > 0 else b""

    def close(self, sent_bytes: int) -> None:
        pass


@pytest.mark.parametrize("lie", LIES)
async def test_a_liar_leaves_nothing_behind(lie: str, scene: Scene) -> None:
    liar = link(STRANGER, Inbox(), serve=Liar(LIES[lie]))  # type: ignore[arg-type]
    await liar.start()
    await scene.holder.dial(liar.addresses[0])
    with pytest.raises(LocalError) as failure:
        await scene.client.fetch(TICKET.model_copy(update={"server": STRANGER.public}), scene.blobs)
    assert failure.value.code == "HEL-DATA-002"
    assert list(scene.blobs._directory.iterdir()) == []
    await liar.stop()


async def raw_peer(attack: Callable[[IHost, ID], Awaitable[None]], scene: Scene) -> None:
    await as_raw_peer(attack, scene.server.addresses[0])
