"""Five nodes as processes, each at a loopback address of its own; what can befall them; and two probes, links of this
process, that time what travels through them: one at the first node, the other at the last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from node.client import Client
from node.devnet.network import LOOPBACK, Member, Processes, make, running_pid
from node.home.config import load_config
from node.home.identity import load_genesis
from node.link import GossipArrived, Link, LinkEvent, PeerConnected, Verdict
from protocol.envelope import Head
from protocol.gossip import Topics, encode_announcement
from tests.builders import digest
from tests.live.nodes import SEED, eventually, has_peers

NODES = 5
HEAL_TIMEOUT_S = 60
PROBE_HOSTS = ("127.0.0.101", "127.0.0.102")
OTHER_HOSTS = ("127.0.0.103", "127.0.0.104")
ATTACKER_HOST = "127.0.0.105"
GARBAGE = (
    b"",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff" * 100,
    b"\x13/multistream/1.0.0\n" + b"\xff" * 8,
    b"\x16\x03\x01\x02\x00" + bytes(512),  # the beginning of TLS
    bytes(range(256)) * 64,
)


def host_of(index: int) -> str:
    return f"127.0.0.{11 + index}"


@dataclass(frozen=True, slots=True)
class Five:
    """The nodes, and how to reach each."""

    members: list[Member]
    processes: Processes
    starter: ThreadPoolExecutor  # the kernel ends an owned process with the thread that started it: this one stays

    def client(self, index: int) -> Client:
        return Client.of_home(self.members[index].home)

    def address(self, index: int) -> str:
        """Where peers reach a node."""
        return str(self.client(index).node()["addresses"][0])

    def ports(self, index: int) -> list[tuple[str, int]]:
        """All that a node listens on: the link, the data, the API."""
        config = load_config(self.members[index].home)
        link = int(config.link.listen.rpartition("/")[2])
        return [(host_of(index), link), (host_of(index), config.link.data_port), (LOOPBACK, config.api.port)]

    def pid(self, index: int) -> int:
        pid = running_pid(self.members[index].home.runtime_path)
        assert pid is not None
        return pid

    def kill(self, index: int) -> None:
        """SIGKILL."""
        self.processes.kill(self.members[index])

    def start(self, *indexes: int) -> None:
        """Those that have ended."""
        self.starter.submit(self.processes.start, [self.members[index] for index in indexes]).result()

    @contextmanager
    def paused(self, index: int) -> Iterator[None]:
        pid = self.pid(index)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def partitioned(self, side: Sequence[int]) -> Iterator[None]:
        """Those of one side and the others deny each other's addresses."""
        sides = [list(side), [index for index in range(NODES) if index not in side]]
        try:
            for one, other in (sides, reversed(sides)):
                for index in one:
                    self.client(index).deny({host_of(each): None for each in other})
            yield
        finally:
            for index in range(NODES):
                self.client(index).deny({})

    def heads(self) -> set[str]:
        """The different fingerprints of all ledgers: one, where they agree."""
        return {str(self.client(index).heads()["fingerprint"]) for index in range(NODES)}

    def expect_converged(self) -> None:
        """All have met, hold the same entries, and find no fault in them."""
        for index in range(NODES):
            eventually(partial(has_peers, self.client(index), NODES - 1), HEAL_TIMEOUT_S)
        eventually(lambda: len(self.heads()) == 1, HEAL_TIMEOUT_S)
        for index in range(NODES):
            assert self.client(index).verify()["ok"]


@contextmanager
def five(directory: Path) -> Iterator[Five]:
    """Five running nodes that have all met."""
    members = make(directory, NODES, SEED)
    moves = {load_config(m.home).link.listen: host_of(index) for index, m in enumerate(members)}
    for index, member in enumerate(members):
        path = member.home.config_path
        text = path.read_text()
        for listen, host in moves.items():
            text = text.replace(listen, listen.replace(LOOPBACK, host))
        path.write_text(text.replace(f'data_host = "{LOOPBACK}"', f'data_host = "{host_of(index)}"'))
    with ThreadPoolExecutor(max_workers=1) as starter:
        nodes = Five(members, Processes(members, owned=True), starter)
        nodes.start(*range(NODES))
        try:
            nodes.expect_converged()
            yield nodes
        finally:
            nodes.processes.stop()


@dataclass(slots=True)
class Probe:
    """Times what one end publishes and the other hears: `left_s` and `heard_s` by message."""

    near: Link
    far: Link
    topic: str
    author: bytes
    left_s: dict[bytes, float] = field(default_factory=dict)
    heard_s: dict[bytes, float] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)  # something was heard

    async def publish(self) -> None:
        """Announce an entry that everybody has: nobody asks for it."""
        data = encode_announcement([Head(self.author, 0, digest(f"probe {len(self.left_s)}"))])
        self.left_s[data] = time.monotonic()
        await self.near.publish(self.topic, data)

    async def publish_many(self, count: int, per_s: float) -> None:
        for _ in range(count):
            await self.publish()
            await asyncio.sleep(1 / per_s)

    async def all_heard(self, timeout_s: float = 30) -> None:
        async with asyncio.timeout(timeout_s):
            while self.left_s.keys() - self.heard_s.keys():
                self.news.clear()
                await self.news.wait()

    def delays_s(self) -> list[float]:
        """Of all that was heard, sorted."""
        return sorted(self.heard_s[data] - self.left_s[data] for data in self.heard_s.keys() & self.left_s.keys())

    def forget(self) -> None:
        self.left_s.clear()
        self.heard_s.clear()


@asynccontextmanager
async def probe(
    nodes: Five, near: int = 0, far: int = NODES - 1, hosts: Sequence[str] = PROBE_HOSTS
) -> AsyncIterator[Probe]:
    """Two links, each connected to one node, each with a key and an address of its own."""
    genesis = load_genesis(nodes.members[0].home.genesis_path)
    topic = Topics.of(genesis.network_id()).entries
    met = [asyncio.Event(), asyncio.Event()]
    heard_s: dict[bytes, float] = {}
    news = asyncio.Event()

    def deliver(side: int, event: LinkEvent) -> None:
        if isinstance(event, PeerConnected):
            met[side].set()
        elif isinstance(event, GossipArrived) and side == 1:
            heard_s.setdefault(event.data, time.monotonic())
            news.set()

    links = [
        Link(
            seed=digest(host),
            listen=f"/ip4/{host}/tcp/0",
            topics=[topic],
            judge=lambda topic, data: Verdict.ACCEPT,
            deliver=partial(deliver, side),
            network=genesis.network_id(),
        )
        for side, host in enumerate(hosts)
    ]
    try:
        for link, index, event in zip(links, (near, far), met, strict=True):
            await link.start()
            await link.dial(await asyncio.to_thread(nodes.address, index))
            await asyncio.wait_for(event.wait(), 10)
        made = Probe(links[0], links[1], topic, nodes.members[0].key, heard_s=heard_s, news=news)
        async with asyncio.timeout(30):  # until the mesh has taken both in; what was published before may be lost
            while not made.left_s.keys() & made.heard_s.keys():
                await made.publish()
                await asyncio.sleep(0.1)
        made.forget()
        yield made
    finally:
        for link in links:
            await link.stop()


def throw_garbage(nodes: Five) -> None:
    """At every port of every node."""
    for index in range(NODES):
        for host, port in nodes.ports(index):
            for garbage in GARBAGE:
                with suppress(OSError), socket.create_connection((host, port), timeout=5) as connection:
                    connection.sendall(garbage)


@contextmanager
def held_connections(nodes: Five, index: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections to the link of a node, from one address, that say nothing."""
    host, port = nodes.ports(index)[0]
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            with suppress(OSError):
                held.append(socket.create_connection((host, port), timeout=5, source_address=(ATTACKER_HOST, 0)))
        yield held
    finally:
        for connection in held:
            connection.close()


@contextmanager
def flooded(nodes: Five, index: int, rate_per_s: int) -> Iterator[subprocess.Popen[bytes]]:
    """A peer of one node that sends it valid gossip at this rate; it goes on when it is cut, if it can."""
    genesis = load_genesis(nodes.members[0].home.genesis_path)
    network = genesis.network_id()
    arguments = (nodes.address(index), network.hex(), Topics.of(network).entries, str(rate_per_s))
    flooder = subprocess.Popen([sys.executable, "-m", "tests.live.flooder", *arguments], stdout=subprocess.PIPE)
    try:
        assert flooder.stdout is not None
        assert flooder.stdout.readline() == b"flooding\n"
        yield flooder
    finally:
        flooder.kill()
        flooder.communicate()
