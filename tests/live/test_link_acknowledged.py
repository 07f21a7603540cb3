"""What `send` promises: it returns when the peer's loop has taken the message, and fails for its own peer alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from libp2p.abc import IHost, INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID

from node.link import LinkError, LinkEvent, MessageArrived, PeerConnected
from node.link import link as link_module
from node.link.guard import conduct
from node.link.messages import UNACKNOWLEDGED_MAX
from protocol.identity import KeyPair

from .links import RAW_SEED, Inbox, Opener, as_raw_peer, hear_hello

RAW = KeyPair(RAW_SEED).public


class Picky(Inbox):
    """Takes no message that begins with `no`."""

    def __call__(self, event: LinkEvent) -> bool:
        if isinstance(event, MessageArrived) and event.data.startswith(b"no"):
            return False
        return super().__call__(event)


async def test_a_message_that_the_receiver_does_not_take_is_told_to_its_sender(open_link: Opener) -> None:
    picky = Picky()
    (a, _), (b, _) = await open_link(), await open_link(deliver=picky)
    await a.dial(b.addresses[0])
    await a.send(b.public, b"one")
    with pytest.raises(LinkError, match="did not take it"):
        await a.send(b.public, b"no")
    await a.send(b.public, b"two")
    assert picky.messages() == [b"one", b"two"], "taken before `send` returned"


async def test_of_many_at_once_exactly_those_are_delivered_whose_send_returned(open_link: Opener) -> None:
    picky = Picky()
    (a, _), (b, _) = await open_link(), await open_link(deliver=picky)
    await a.dial(b.addresses[0])
    messages = [b"no" if number % 7 == 3 else b"%d" % number for number in range(60)]
    answers = await asyncio.gather(*(a.send(b.public, data) for data in messages), return_exceptions=True)
    returned = [data for data, answer in zip(messages, answers, strict=True) if answer is None]
    assert b"no" not in returned
    assert set(returned) <= set(picky.messages())
    assert len(picky.messages()) == len(set(picky.messages()))


async def test_a_receiver_that_fails_took_nothing(open_link: Opener) -> None:
    def deliver(event: LinkEvent) -> None:
        if isinstance(event, MessageArrived):
            raise ValueError("a fault of this program")

    (a, _), (b, _) = await open_link(), await open_link(deliver=deliver)
    await a.dial(b.addresses[0])
    with pytest.raises(LinkError, match="did not take it"):
        await a.send(b.public, b"one")


async def test_whoever_sends_what_finds_no_room_is_not_blamed_for_the_streams_that_this_takes(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conduct, "STREAMS_BURST", 6.0)
    (a, _), (b, _) = await open_link(), await open_link(deliver=Picky())
    await a.dial(b.addresses[0])
    for _ in range(12):
        with pytest.raises(LinkError):
            await a.send(b.public, b"no")
    assert b.losses["streams_over_rate"] == 0
    assert not b.scores().get(a.public), "a message that finds no room costs no points"


async def read_all(stream: INetStream) -> None:
    """Takes our hello and everything after it, and acknowledges nothing."""
    await hear_hello(stream)
    with suppress(BaseLibp2pError):  # at its end
        while await stream.read(65_536):
            pass


async def read_nothing(stream: INetStream) -> None:
    await hear_hello(stream)
    await trio.sleep_forever()


async def acknowledge_too_much(stream: INetStream) -> None:
    await hear_hello(stream)
    await stream.read(4096)
    await stream.write((1_000).to_bytes(8))
    await trio.sleep_forever()


@asynccontextmanager
async def raw_peer(address: str, takes_hello: object) -> AsyncIterator[None]:
    """Such a peer, until the end of the block."""
    is_over = threading.Event()

    async def stay(host: IHost, target: ID) -> None:
        await trio.to_thread.run_sync(is_over.wait, abandon_on_cancel=True)  # type: ignore[call-arg]

    running = asyncio.ensure_future(as_raw_peer(stay, address, takes_hello=takes_hello))  # type: ignore[arg-type]
    try:
        yield
    finally:
        is_over.set()
        await running


async def test_an_acknowledgement_that_never_comes_fails_its_own_peer_alone(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "ACKNOWLEDGE_TIMEOUT_S", 0.3)
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    await a.dial(b.addresses[0])
    async with raw_peer(a.addresses[0], read_all):
        await at_a.has(PeerConnected(RAW))
        for _ in range(2):  # the second on a stream of its own
            slow = asyncio.gather(*(a.send(RAW, b"hello") for _ in range(3)), return_exceptions=True)
            await a.send(b.public, b"quick")
            answers = await slow
            assert [type(answer) for answer in answers] == [LinkError] * 3
            assert "not acknowledged within 0.3 s" in str(answers[0])
    assert at_b.messages() == [b"quick", b"quick"]


async def test_a_peer_that_acknowledges_what_was_not_sent_is_not_believed(open_link: Opener) -> None:
    a, at_a = await open_link()
    async with raw_peer(a.addresses[0], acknowledge_too_much):
        await at_a.has(PeerConnected(RAW))
        with pytest.raises(LinkError, match="the connection was lost, or the peer did not take it"):
            await a.send(RAW, b"hello")


@pytest.mark.parametrize("takes_hello", [read_all, read_nothing])
async def test_a_peer_that_answers_nothing_does_not_hold_what_is_sent_to_others(
    open_link: Opener, takes_hello: object
) -> None:
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    await a.dial(b.addresses[0])
    count = 2 * UNACKNOWLEDGED_MAX
    async with raw_peer(a.addresses[0], takes_hello):
        await at_a.has(PeerConnected(RAW))
        stuck = asyncio.gather(*(a.send(RAW, bytes(100_000)) for _ in range(count)), return_exceptions=True)
        for number in range(count):
            await a.send(b.public, bytes([number % 256]))
        assert not stuck.done()
    assert len(at_b.messages()) == count
    assert {type(answer) for answer in await stuck} == {LinkError}
