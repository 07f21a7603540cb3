"""Links to test with: their inboxes, their processes, and what stands between them."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self

import trio
from libp2p import new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from node.link import GossipArrived, Link, LinkEvent, MessageArrived, PeersFound, ReachabilityChanged
from node.link.messages import PROTOCOL
from protocol.hello import Hello, encode_hello

ANY_PORT = "/ip4/127.0.0.1/tcp/0"
TOPIC = "heliotrope/1/test/adverts"


class Inbox:
    """Collects a link's events."""

    def __init__(self) -> None:
        self.events: list[LinkEvent] = []
        self.reachability: list[ReachabilityChanged] = []  # kept apart: it comes when peers have tried
        self._arrived = asyncio.Event()

    def __call__(self, event: LinkEvent) -> bool:
        if isinstance(event, ReachabilityChanged):
            self.reachability.append(event)
        else:
            self.events.append(event)
        self._arrived.set()
        return True

    async def until(self, is_enough: Callable[[], bool], timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not is_enough():
                self._arrived.clear()
                await self._arrived.wait()

    async def has(self, *events: LinkEvent) -> None:
        await self.until(lambda: all(event in self.events for event in events))

    async def until_counts(self, *, messages: int, gossip: int) -> None:
        await self.until(lambda: len(self.messages()) >= messages and len(self.gossip()) >= gossip)

    def messages(self) -> list[bytes]:
        return [event.data for event in self.events if isinstance(event, MessageArrived)]

    def found(self) -> list[PeersFound]:
        return [event for event in self.events if isinstance(event, PeersFound)]

    def gossip(self) -> list[bytes]:
        return [event.data for event in self.events if isinstance(event, GossipArrived)]


Opener = Callable[..., Awaitable[tuple[Link, Inbox]]]


CHILD = """
import asyncio, sys, time
from node.link import Link, MessageArrived, Verdict

answers = []

def deliver(event):
    if isinstance(event, MessageArrived):
        if event.data == b"busy":
            time.sleep(1)
        if event.data == b"stop":
            asyncio.ensure_future(stop())
            return
        answers.append(asyncio.ensure_future(link.send(event.peer, b"%d" % len(event.data))))

async def stop():
    await link.stop()
    print("stopped", flush=True)

async def main():
    await link.start()
    print(link.addresses[0], flush=True)
    if len(sys.argv) > 2:
        await link.dial(sys.argv[2])
    await asyncio.Event().wait()

link = Link(seed=b"c" * 32, listen="/ip4/127.0.0.1/tcp/0", topics=[sys.argv[1]],
            judge=lambda topic, data: Verdict.ACCEPT, deliver=deliver)
asyncio.run(main())
"""


@asynccontextmanager
async def child(*dials: str, stderr: int | None = None) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A link in a process of its own, and its address. It dials the address it is given, if any.

    It answers every message with the number of its bytes; after `busy` its loop does nothing else for a second. At
    `stop` it stops its link, says so, and stays.
    """
    command = (sys.executable, "-c", CHILD, TOPIC, *dials)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=stderr)
    try:
        assert process.stdout is not None
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Proxy:
    """Leads to a link's address; holds what comes through until it is released, and cuts it when asked."""

    def __init__(self, target: str) -> None:
        _, _, self._host, _, self._port, _, self._peer = target.split("/")
        self._writers: list[asyncio.StreamWriter] = []
        self.accepted, self.released = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"/ip4/127.0.0.1/tcp/{self._server.sockets[0].getsockname()[1]}/p2p/{self._peer}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.set()
        onward_reader, onward_writer = await asyncio.open_connection(self._host, int(self._port))
        self._writers += [writer, onward_writer]
        await self.released.wait()
        await asyncio.gather(self._pump(reader, onward_writer), self._pump(onward_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


RAW_SEED = b"r" * 32
HELLO = Hello(version=1, network=bytes(32), session=bytes(16), agent="raw", observed="", invitation=b"")


async def hear_hello(stream: INetStream) -> None:
    """The raw peer's side of a message stream: the hello is taken, and nothing after it."""
    await stream.read(4096)
    await stream.write((1).to_bytes(8))


async def say_hello(host: IHost, target: ID, hello: Hello = HELLO) -> INetStream:
    """A stream to send messages on, once the hello was taken."""
    stream = await host.new_stream(target, [PROTOCOL])
    data = encode_hello(hello)
    await stream.write(len(data).to_bytes(4) + data)
    assert await stream.read(8) == (1).to_bytes(8)
    return stream


def as_raw_peer(
    attack: Callable[[IHost, ID], Awaitable[None]],
    address: str,
    *,
    takes_hello: Callable[[INetStream], Awaitable[None]] = hear_hello,
    greets: bool = True,
    **options: object,
) -> Awaitable[None]:
    """Run an attack from an unhardened libp2p host, connected to the address, on a thread. `takes_hello` handles our
    message stream to it; `greets`: its own hello was taken first, so that it is admitted."""

    async def run() -> None:
        host = new_host(key_pair=create_new_key_pair(RAW_SEED), **options)  # type: ignore[arg-type]
        async with host.run([Multiaddr(ANY_PORT)]):
            target = info_from_p2p_addr(Multiaddr(address))
            host.set_stream_handler(PROTOCOL, takes_hello)
            with trio.fail_after(20):
                await host.connect(target)
                if greets:
                    await say_hello(host, target.peer_id)
                await attack(host, target.peer_id)
            await host.close()

    return asyncio.to_thread(trio.run, run)


FRAMES_MUTATED = 60


def frames_like(frame: bytes) -> list[bytes]:
    """What a hostile peer may send in the place of a frame that begins with its length: the frame itself, cut short,
    with bytes changed by chance (seeded), and with lengths that lie."""
    chance = random.Random(8471)
    frames = [frame, b"", b"\x00", frame[:1], frame[:-1], b"\xff" * 11, b"\xff\xff\xff\xff\x0f" + frame]
    frames += [encode_varint_prefixed(garbage) for garbage in (b"\xff" * 40, bytes(4096), bytes(4097))]
    for _ in range(FRAMES_MUTATED):
        changed = bytearray(frame)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        frames.append(bytes(changed))
    return frames
