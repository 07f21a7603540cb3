"""A small real network: a node that sells, and one that only listens and knows no address but the first's."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.client import Client
from node.devnet.network import Member, Processes
from node.devnet.sites import NETWORK_TIME_MS, sites
from node.home.config import ApiConfig, Config, LinkConfig, MarketConfig
from node.home.home import Home
from node.home.identity import create_home
from protocol.genesis import Clock, Genesis
from protocol.identity import KeyPair, peer_id
from tests.builders import digest

SPEED = 400  # so that an advert's heartbeat is three seconds, and every second one an update


@dataclass(frozen=True, slots=True)
class Duo:
    seller: Member
    listener: Member
    genesis: Genesis
    processes: Processes

    def client(self, member: Member) -> Client:
        return Client.of_home(member.home)

    def address(self, member: Member) -> str:
        return str(json.loads(member.home.runtime_path.read_bytes())["addresses"][0])


@contextmanager
def duo(directory: Path) -> Iterator[Duo]:
    """Both nodes, running; they have met."""
    genesis = Genesis(
        name="interop",
        clock=Clock(unix_ms=time.time_ns() // 10**6, network_ms=NETWORK_TIME_MS, speed=SPEED),
        slot_ms=600_000,
        surplus_assurance_min=0,
        admission="devnet",
    )
    seller_seed, listener_seed = digest("interop seller"), digest("interop listener")
    port = free_port()
    bootstrap = f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id(KeyPair(seller_seed).public)}"
    seller = member(directory / "seller", genesis, seller_seed, port)
    listener = member(directory / "listener", genesis, listener_seed, 0, bootstrap, sells=False)
    processes = Processes([seller, listener], owned=True)
    processes.start()
    try:
        yield Duo(seller, listener, genesis, processes)
    finally:
        processes.stop()


def member(directory: Path, genesis: Genesis, seed: bytes, port: int, *bootstrap: str, sells: bool = True) -> Member:
    site = sites(1, 1)[0]
    home = Home(directory)
    config = Config(
        label=directory.name,
        api=ApiConfig(host="127.0.0.1", port=0),
        link=LinkConfig(listen=f"/ip4/127.0.0.1/tcp/{port}", data_host="127.0.0.1", data_port=0, bootstrap=bootstrap),
        energy=site.energy,
        market=MarketConfig(sells=sells),
    )
    create_home(home, config, genesis, seed)
    return Member(site, home, KeyPair(seed).public, 0)


def free_port() -> int:
    """Nobody's now, and the seller's also after its restart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
