"""Processes that die, stop or fail, and the link that survives them."""

from __future__ import annotations

import asyncio
import signal

import pytest

from node.link import Link, LinkError, LinkFailed, MessageArrived, PeerConnected, PeerDisconnected, Verdict

from .links import TOPIC, Opener, child


async def test_a_killed_process_is_reported_once(open_link: Opener) -> None:
    a, inbox = await open_link()
    async with child(a.addresses[0]) as (process, address):
        peer = await a.dial(address)  # both dial: there may be two connections
        await a.send(peer, b"hello")
        await inbox.has(MessageArrived(peer, b"5"))
        process.kill()
        await inbox.has(PeerDisconnected(peer))
    with pytest.raises(LinkError, match="not connected"):
        await a.send(peer, b"hello")
    assert inbox.events == [PeerConnected(peer), MessageArrived(peer, b"5"), PeerDisconnected(peer)]


async def test_a_stopped_process_is_found_by_ping(open_link: Opener) -> None:
    a, inbox = await open_link(ping_interval_s=0.2, ping_timeout_s=0.4)
    async with child() as (process, address):
        peer = await a.dial(address)
        process.send_signal(signal.SIGSTOP)
        await inbox.until(lambda: PeerDisconnected(peer) in inbox.events, timeout_s=3)
    assert inbox.events == [PeerConnected(peer), PeerDisconnected(peer)]


async def test_a_peer_that_answers_pings_stays(open_link: Opener) -> None:
    (a, at_a), (b, _) = await open_link(ping_interval_s=0.02, ping_timeout_s=0.4), await open_link()
    await a.dial(b.addresses[0])
    await asyncio.sleep(0.5)  # some twenty pings: there is no event for what does not happen
    assert at_a.events == [PeerConnected(b.public)]


async def test_the_thread_that_dies_is_reported_and_comes_back_on_its_port(open_link: Opener) -> None:
    faults = [SystemExit("forced")]  # no Exception: nothing contains it

    def judge(topic: str, data: bytes) -> Verdict:
        if faults:
            raise faults.pop()
        return Verdict.ACCEPT

    a, at_a = await open_link()
    b, at_b = await open_link(judge=judge)
    address = b.addresses[0]
    await a.dial(address)
    await a.publish(TOPIC, b"fatal")

    await at_b.has(LinkFailed("SystemExit forced"))
    assert at_b.events == [PeerConnected(a.public), PeerDisconnected(a.public), LinkFailed("SystemExit forced")]
    with pytest.raises(LinkError, match="thread is down"):
        await b.dial(a.addresses[0])
    await at_a.has(PeerDisconnected(b.public))

    await redial(a, address)
    assert b.addresses == (address,)
    await a.send(b.public, b"back")
    await at_b.until(lambda: at_b.messages() == [b"back"])
    await b.send(a.public, b"welcome")
    await at_a.until(lambda: at_a.messages() == [b"welcome"])


async def test_stop_takes_less_than_a_second_and_ends_all_events(open_link: Opener) -> None:
    (a, at_a), (b, at_b), (c, _) = await open_link(), await open_link(), await open_link()
    await a.dial(b.addresses[0])
    await a.dial(c.addresses[0])
    await at_b.has(PeerConnected(a.public))
    before = list(at_a.events)
    async with asyncio.timeout(1):
        await a.stop()
    await at_b.has(PeerDisconnected(a.public))
    assert at_a.events == before


async def redial(link: Link, address: str) -> None:
    """Dial until it works: what every caller of `dial` does."""
    async with asyncio.timeout(10):
        while True:
            try:
                await link.dial(address)
                return
            except LinkError:
                await asyncio.sleep(0.05)
