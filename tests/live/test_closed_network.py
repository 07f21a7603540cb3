"""A closed network: who is invited exchanges everything, and nothing passes to or from anybody else."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from libp2p import new_host
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from node.admission import refusal
from node.api.server import serve
from node.client import Client
from node.energy.supply import EnergyConfig
from node.home.config import ApiConfig, Config, LinkConfig
from node.home.home import Home
from node.home.identity import create_home
from node.home.invitations import Received, keep_invitation
from node.link import Link, LinkError, PeerConnected, PeerDisconnected, PeerRefused, Verdict
from node.link.messages import PROTOCOL
from node.running.runtime import Runtime
from protocol.errors import Unreachable
from protocol.genesis import Clock, Genesis
from protocol.hello import Hello
from protocol.identity import KeyPair, peer_id
from protocol.invitation import Invitation, seal
from tests.builders import NOW_MS, digest, genesis, keypair

from .links import ANY_PORT, HELLO, TOPIC, Inbox, hear_hello, say_hello
from .nodes import eventually

FOUNDER, GUEST, FRIEND = keypair(0), keypair(1), keypair(2)
RAW = KeyPair(b"r" * 32)
CLOSED = genesis(admission="closed", admitters=(FOUNDER.public,))
NETWORK = CLOSED.network_id()
HOUR_MS = 3_600_000
SITE = EnergyConfig(
    device_id="meter", zone="NO-NO5", latitude=60.4, longitude=5.3, carrier="hydro", capacity_w=400, own_g_per_kwh=24
)


def invitation(
    issuer: KeyPair = FOUNDER,
    holder: KeyPair = GUEST,
    network: bytes = NETWORK,
    from_ms: int = NOW_MS,
    until_ms: int = NOW_MS + HOUR_MS,
) -> bytes:
    body = Invitation(holder=holder.public, label="guest", issued_at_ms=from_ms, expires_at_ms=until_ms)
    return seal(issuer, network, body)


# --- links ------------------------------------------------------------------------------------------------------------


class Party:
    """Links of one closed network under one clock."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.links: list[Link] = []

    async def enter(
        self, who: KeyPair, shown: bytes = b"", allowed: frozenset[bytes] = frozenset()
    ) -> tuple[Link, Inbox]:
        def admit(peer: bytes, hello: Hello) -> str:
            return refusal(CLOSED, allowed, peer, hello.invitation, self.now_ms)

        inbox = Inbox()
        link = Link(
            seed=who.seed,
            listen=ANY_PORT,
            topics=[TOPIC],
            judge=lambda topic, data: Verdict.ACCEPT,
            deliver=inbox,
            network=NETWORK,
            invitation=shown,
            admit=admit,
            ping_interval_s=0.2,
        )
        await link.start()
        self.links.append(link)
        return link, inbox


@pytest.fixture
async def party() -> AsyncIterator[Party]:
    found = Party()
    yield found
    await asyncio.gather(*(link.stop() for link in found.links))


async def test_a_guest_and_its_host_hear_each_other(party: Party) -> None:
    (host, at_host), (guest, at_guest) = await party.enter(FOUNDER), await party.enter(GUEST, invitation())
    await guest.dial(host.addresses[0])
    await at_host.has(PeerConnected(GUEST.public))
    await guest.send(FOUNDER.public, b"thanks for having me")
    await host.send(GUEST.public, b"make yourself at home")
    await asyncio.gather(at_host.until_counts(messages=1, gossip=0), at_guest.until_counts(messages=1, gossip=0))


async def test_two_guests_let_each_other_in(party: Party) -> None:
    one, _ = await party.enter(GUEST, invitation())
    other, at_other = await party.enter(FRIEND, invitation(holder=FRIEND))
    await one.dial(other.addresses[0])
    await at_other.has(PeerConnected(GUEST.public))


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (b"", "the network is closed, and no invitation was shown"),
        (b"please", "check 1"),
        (invitation(from_ms=0, until_ms=NOW_MS), "check 10: the invitation expired"),
        (invitation(network=digest("another")), "check 4: an invitation to another network"),
        (invitation(holder=FRIEND), "check 8: the invitation is for"),
        (invitation(issuer=GUEST), "check 7: "),
        (invitation()[:-1] + bytes((invitation()[-1] ^ 1,)), "check 5: invalid signature"),
    ],
    ids=["none", "nonsense", "expired", "another network", "another key", "issued by itself", "forged"],
)
async def test_a_stranger_is_refused_with_the_reason_and_hears_nothing(party: Party, shown: bytes, reason: str) -> None:
    (host, at_host), (stranger, at_stranger) = await party.enter(FOUNDER), await party.enter(GUEST, shown)
    friend, at_friend = await party.enter(FRIEND, invitation(holder=FRIEND))
    await friend.dial(host.addresses[0])
    with pytest.raises(LinkError) as caught:
        await stranger.dial(host.addresses[0])
    assert reason in caught.value.cause
    await at_host.until(lambda: any(isinstance(e, PeerRefused) and reason in e.reason for e in at_host.events))

    with pytest.raises(LinkError, match="not connected"):
        await stranger.send(FOUNDER.public, b"let me in")
    arrived = asyncio.create_task(at_friend.until_counts(messages=0, gossip=1))
    while not arrived.done():  # the first are lost until the friend's subscription has come
        await host.publish(TOPIC, b"among friends")
        await asyncio.wait({arrived}, timeout=0.2)
    await arrived
    assert (at_stranger.gossip(), at_stranger.messages(), at_host.messages()) == ([], [], [])
    assert PeerConnected(GUEST.public) not in at_host.events


@pytest.mark.parametrize("is_invited", [False, True], ids=["silent stranger", "guest"])
async def test_who_subscribes_without_a_word_hears_nothing(party: Party, is_invited: bool) -> None:
    host, _ = await party.enter(FOUNDER)
    friend, at_friend = await party.enter(FRIEND, invitation(holder=FRIEND))
    await friend.dial(host.addresses[0])
    hello = HELLO.model_copy(update={"network": NETWORK, "invitation": invitation(holder=RAW)}) if is_invited else None
    async with eavesdropper(host.addresses[0], hello) as heard:
        arrived = asyncio.create_task(at_friend.until_counts(messages=0, gossip=1))
        async with asyncio.timeout(20):
            while not arrived.done() or (is_invited and b"among friends" not in b"".join(heard)):
                await host.publish(TOPIC, b"among friends")
                await asyncio.sleep(0.1)
        await arrived
    assert (b"among friends" in b"".join(heard)) is is_invited


async def test_a_host_that_dials_a_stranger_says_that_it_refused_it(party: Party) -> None:
    (host, _), (stranger, _) = await party.enter(FOUNDER), await party.enter(GUEST)
    with pytest.raises(LinkError, match="no invitation was shown"):
        await host.dial(stranger.addresses[0])


async def test_whom_an_operator_allows_needs_no_invitation_there_and_only_there(party: Party) -> None:
    host, at_host = await party.enter(FOUNDER, allowed=frozenset({GUEST.public}))
    friend, _ = await party.enter(FRIEND, invitation(holder=FRIEND))
    stranger, _ = await party.enter(GUEST)
    await stranger.dial(host.addresses[0])
    await at_host.has(PeerConnected(GUEST.public))
    with pytest.raises(LinkError, match="no invitation was shown"):
        await stranger.dial(friend.addresses[0])


async def test_a_connected_guest_is_cut_when_its_invitation_ends(party: Party) -> None:
    (host, at_host), (guest, at_guest) = await party.enter(FOUNDER), await party.enter(GUEST, invitation())
    await guest.dial(host.addresses[0])
    await at_host.has(PeerConnected(GUEST.public))
    party.now_ms += HOUR_MS
    cause = f"this node refuses {peer_id(GUEST.public)}: check 10: the invitation expired 0 ms ago"
    await at_host.has(PeerRefused(GUEST.public, cause))
    await asyncio.gather(at_host.has(PeerDisconnected(GUEST.public)), at_guest.has(PeerDisconnected(FOUNDER.public)))
    with pytest.raises(LinkError, match="the invitation expired"):
        await guest.dial(host.addresses[0])


@asynccontextmanager
async def eavesdropper(address: str, hello: Hello | None) -> AsyncIterator[list[bytes]]:
    """An unhardened libp2p host that asks for all gossip of the topic, and what it gets; it says this hello or none."""
    heard: list[bytes] = []
    subscribed, done = threading.Event(), threading.Event()

    async def keep(stream: INetStream) -> None:
        with suppress(StreamError, MuxedStreamError):  # the end of the stream
            while chunk := await stream.read(65536):
                heard.append(chunk)

    async def run() -> None:
        raw = new_host(key_pair=create_new_key_pair(RAW.seed))
        async with raw.run([Multiaddr(ANY_PORT)]):
            raw.set_stream_handler(PROTOCOL, hear_hello)
            raw.set_stream_handler(PROTOCOL_ID_V11, keep)
            target = info_from_p2p_addr(Multiaddr(address))
            await raw.connect(target)
            if hello is not None:
                await say_hello(raw, target.peer_id, hello)
            stream = await raw.new_stream(target.peer_id, [PROTOCOL_ID_V11])
            wanted = rpc_pb2.RPC.SubOpts(subscribe=True, topicid=TOPIC)
            graft = rpc_pb2.ControlMessage(graft=[rpc_pb2.ControlGraft(topicID=TOPIC)])
            asked = rpc_pb2.RPC(subscriptions=[wanted], control=graft)
            await stream.write(encode_varint_prefixed(asked.SerializeToString()))
            subscribed.set()
            await trio.to_thread.run_sync(done.wait)
            await raw.close()

    life = asyncio.create_task(asyncio.to_thread(trio.run, run))
    try:
        assert await asyncio.to_thread(subscribed.wait, 10)
        yield heard
    finally:
        done.set()
        await life


# --- nodes ------------------------------------------------------------------------------------------------------------


def living_network() -> Genesis:
    """Closed, and on the world's own time: nodes have a clock of their own."""
    now_ms = time.time_ns() // 10**6
    clock = Clock(unix_ms=now_ms, network_ms=now_ms, speed=1)
    return genesis(admission="closed", admitters=(FOUNDER.public,), clock=clock, surplus_assurance_min=0)


def make(path: Path, who: KeyPair, network: Genesis) -> Home:
    home, link = Home(path), LinkConfig(listen=ANY_PORT, data_port=0)
    create_home(home, Config(label=path.name, api=ApiConfig(port=0), link=link, energy=SITE), network, who.seed)
    return home


@asynccontextmanager
async def running(home: Home) -> AsyncIterator[Runtime]:
    runtime, is_up = Runtime(home), asyncio.Event()
    life = asyncio.create_task(runtime.run(serve, is_up.set))
    try:
        async with asyncio.timeout(20):
            await is_up.wait()
        yield runtime
    finally:
        runtime.stopping.set()
        await life


def operator(runtime: Runtime) -> Client:
    """Blocks while it is answered: for threads other than the node's."""
    return Client(runtime.api_url, runtime.token)


def known(client: Client) -> set[str]:
    """The keys of who has advertised."""
    return {each["identity"]["key"] for each in client.peers()["peers"] if each["advert_age_ms"] is not None}


def authors(client: Client) -> set[str]:
    return {head["author"]["key"] for head in client.heads()["heads"]}


def why_not_ready(client: Client) -> str:
    try:
        client.ready()
    except Unreachable as error:
        return error.cause
    return ""


async def test_a_guest_gets_adverts_and_entries_and_a_stranger_gets_neither_and_knows_why(tmp_path: Path) -> None:
    network = living_network()
    host_home, guest_home, stranger_home = (
        make(tmp_path / name, who, network) for name, who in (("host", FOUNDER), ("guest", GUEST), ("stranger", FRIEND))
    )
    async with running(host_home) as host:
        now_ms = host.now_ms()
        raw = invitation(network=network.network_id(), from_ms=now_ms, until_ms=now_ms + HOUR_MS)
        keep_invitation(guest_home, Received(network, raw, host.addresses), now_ms)
        stranger_home.peers_path.write_text(json.dumps([(address, now_ms) for address in host.addresses]))
        async with running(guest_home) as guest, running(stranger_home) as stranger:
            await asyncio.to_thread(members_share_all, operator(host), operator(guest))
            await asyncio.to_thread(stranger_knows_why, operator(stranger))
            await asyncio.to_thread(stranger_is_unknown, operator(host), operator(guest))
            shown = await asyncio.to_thread(operator(guest).node)
        (refused, *_) = [event.data for event in host.log.since(0) if event.kind == "peer refused"]
    assert refused["peer"] == peer_id(FRIEND.public)
    assert "no invitation was shown" in refused["reason"]
    assert (shown["admission"], shown["admitter"], shown["admitted_until_ms"]) == ("closed", False, now_ms + HOUR_MS)
    assert shown["admission_warning"].startswith("the invitation ends in less than a day: ask an admitter")


def members_share_all(host: Client, guest: Client) -> None:
    members = {FOUNDER.public.hex(), GUEST.public.hex()}
    eventually(lambda: GUEST.public.hex() in known(host) and FOUNDER.public.hex() in known(guest))
    eventually(lambda: authors(host) == members and host.heads()["fingerprint"] == guest.heads()["fingerprint"])


def stranger_knows_why(stranger: Client) -> None:
    eventually(lambda: "refuses this node: 'the network is closed, and no invitation" in why_not_ready(stranger))
    remedy = f"ask an admitter for: heliotrope invite {peer_id(FRIEND.public)}"
    assert f"admission: the network is closed, and no invitation was shown; {remedy}" in why_not_ready(stranger)
    assert known(stranger) == set()
    assert authors(stranger) <= {FRIEND.public.hex()}


def stranger_is_unknown(*members: Client) -> None:
    for member in members:
        assert FRIEND.public.hex() not in known(member) | authors(member)
