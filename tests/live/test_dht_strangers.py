"""A raw peer misuses the Kademlia table: it is refused, believed in nothing, and everybody else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.exceptions import StreamFailure
from libp2p.host.ping import PingService
from libp2p.io.exceptions import IncompleteReadError
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.utils.varint import encode_uvarint, encode_varint_prefixed, read_varint_prefixed_bytes

from node.link import Link, LinkFailed
from node.link.finding import dht
from node.link.finding.dht import ASKED_MAX, BURST, SERVED_PER_PEER_MAX
from node.link.messages import PROTOCOL as MESSAGES
from protocol.discovery import BUCKET_PEERS_MAX, KAD_ANSWER_MAX_BYTES, kad_protocol
from protocol.hello import encode_hello
from protocol.identity import PEER_ID_PREFIX, peer_id
from tests.kad import GOOD, KEY, NETWORK, REFUSED, STRANGER, message, named, record

from .links import HELLO, Opener, as_raw_peer
from .test_dht import OTHER_KEY, found

PROTOCOL = TProtocol(kad_protocol(NETWORK))
Answering = Callable[[Message], bytes]


async def ask(host: IHost, target: ID, request: bytes) -> Message:
    """Raises when no answer comes."""
    stream = await host.new_stream(target, [PROTOCOL])
    await stream.write(encode_varint_prefixed(request))
    answer = Message.FromString(await read_varint_prefixed_bytes(stream))
    await stream.close()
    return answer


async def is_refused(stream: INetStream) -> bool:
    """Whether the stream ends without another byte."""
    try:
        with trio.fail_after(5):
            return await stream.read(1) == b""
    except StreamError:
        return True


async def test_malformed_requests_are_refused_and_harm_nobody(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(has_dht=True), await open_link(has_dht=True)
    frames = [encode_varint_prefixed(data) for data in REFUSED.values()]
    frames += [encode_uvarint(2**40), b"\xff" * 11]

    async def attack(host: IHost, target: ID) -> None:
        for frame in frames:
            stream = await host.new_stream(target, [PROTOCOL])
            await stream.write(frame)
            assert await is_refused(stream), frame
        await PingService(host).ping(target)

    await as_raw_peer(attack, a.addresses[0])

    await b.dial(a.addresses[0])
    await b.provide(KEY)
    assert await found(a) == {peer_id(b.public)}
    assert not any(isinstance(event, LinkFailed) for event in at_a.events + at_b.events)


async def test_good_requests_are_answered(open_link: Opener) -> None:
    a, _ = await open_link(has_dht=True)
    answers: list[Message] = []

    async def attack(host: IHost, target: ID) -> None:
        answers.extend([await ask(host, target, request) for request in GOOD])

    await as_raw_peer(attack, a.addresses[0])
    assert [answer.type for answer in answers] == [2, 3, 4, 5]
    assert [provider.id for provider in answers[1].providerPeers] == [PEER_ID_PREFIX + STRANGER.public]


async def test_who_is_not_admitted_is_not_heard(open_link: Opener) -> None:
    a, _ = await open_link(has_dht=True)

    async def attack(host: IHost, target: ID) -> None:
        early = await host.new_stream(target, [PROTOCOL])
        await early.write(encode_varint_prefixed(GOOD[0]))
        hello = encode_hello(HELLO.model_copy(update={"network": b"o" * 32}))
        stream = await host.new_stream(target, [MESSAGES])
        await stream.write(len(hello).to_bytes(4) + hello)
        assert await is_refused(early)

    await as_raw_peer(attack, a.addresses[0], greets=False)
    assert await found(a) == set()


async def test_more_requests_than_a_few_a_second_are_not_answered(open_link: Opener) -> None:
    a, _ = await open_link(has_dht=True)
    answered = 0

    async def attack(host: IHost, target: ID) -> None:
        nonlocal answered
        stream = await host.new_stream(target, [PROTOCOL])
        with suppress(IncompleteReadError, StreamError):  # one after the other: a reset drops answers that lie unread
            while answered < 1000:
                await stream.write(encode_varint_prefixed(message(type=5)))
                await read_varint_prefixed_bytes(stream)
                answered += 1

    await as_raw_peer(attack, a.addresses[0])
    assert BURST <= answered < 10 * BURST


async def test_silent_streams_are_few_and_end(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dht, "IDLE_TIMEOUT_S", 0.5)
    a, _ = await open_link(has_dht=True)

    async def attack(host: IHost, target: ID) -> None:
        silent = [await host.new_stream(target, [PROTOCOL]) for _ in range(SERVED_PER_PEER_MAX)]
        for stream in silent:
            await stream.write(b"\x7f")  # the rest never comes
        with pytest.raises((StreamFailure, IncompleteReadError, StreamError)):
            await ask(host, target, GOOD[0])
        for stream in silent:
            assert await is_refused(stream)
        await ask(host, target, GOOD[0])

    await as_raw_peer(attack, a.addresses[0])


# Answers.

FORGED = [named(record(number)) for number in range(1, BUCKET_PEERS_MAX + 1)]

ANSWERS: dict[str, Answering] = {
    "no protobuf": lambda asked: encode_varint_prefixed(b"\xff" * 40),
    "nothing": lambda asked: b"",
    "a length beyond the limit": lambda asked: encode_uvarint(KAD_ANSWER_MAX_BYTES + 1),
    "an endless varint": lambda asked: b"\xff" * 11,
    "another kind": lambda asked: answer(asked, type=5),
    "ten thousand providers": lambda asked: answer(asked, providerPeers=FORGED * 500),
    "peers without a record": lambda asked: answer(asked, closerPeers=[Message.Peer(id=b"x"), Message.Peer()] * 99),
    "another's record": lambda asked: answer(asked, providerPeers=[named(record(1), id=FORGED[1].id)]),
    "the asker itself, and a spoilt record": lambda asked: answer(
        asked, providerPeers=[named(record(1), signedRecord=b"\xff" * 50)], senderRecord=b"\xff"
    ),
}


def answer(asked: Message, **fields: object) -> bytes:
    return encode_varint_prefixed(message(**({"type": asked.type, "key": asked.key} | fields)))


async def look_beside(
    open_link: Opener, answering: Answering, then: Callable[[Link], Awaitable[None]]
) -> tuple[set[str], int]:
    """What a link finds that is connected with an honest provider and with one who answers so, and how often that one
    was asked; and do something more while both are there."""
    (a, at_a), (b, _) = await open_link(has_dht=True), await open_link(has_dht=True)
    await b.dial(a.addresses[0])
    await b.provide(KEY)
    asked: list[Message] = []
    seen: list[set[str]] = []
    loop = asyncio.get_running_loop()

    async def answer_so(stream: INetStream) -> None:
        asked.append(Message.FromString(await read_varint_prefixed_bytes(stream)))
        await stream.write(answering(asked[-1]))

    async def look() -> None:
        seen.append(await found(a, OTHER_KEY))
        await then(a)

    async def attack(host: IHost, target: ID) -> None:
        host.set_stream_handler(PROTOCOL, answer_so)
        await ask(host, target, message())
        looking = asyncio.run_coroutine_threadsafe(look(), loop)
        await trio.to_thread.run_sync(looking.result)

    await as_raw_peer(attack, a.addresses[0])
    assert not any(isinstance(event, LinkFailed) for event in at_a.events)
    return seen[0], len(asked)


async def nothing(link: Link) -> None: ...


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_false_answer_is_left_out(name: str, open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dht, "ASK_TIMEOUT_S", 1.0)

    async def the_honest_are_found(link: Link) -> None:
        assert len(await found(link, KEY)) == 1

    seen, asked = await look_beside(open_link, ANSWERS[name], the_honest_are_found)
    assert asked
    assert seen == set()


async def test_providers_made_up_in_an_answer_are_hints_and_not_handed_on(open_link: Opener) -> None:
    c, _ = await open_link(has_dht=True)

    async def others_do_not_hear_of_them(link: Link) -> None:
        await c.dial(link.addresses[0])
        assert await found(c, OTHER_KEY) == set()

    def forging(asked: Message) -> bytes:
        return answer(asked, providerPeers=FORGED)

    seen, _ = await look_beside(open_link, forging, others_do_not_hear_of_them)
    assert len(seen) == BUCKET_PEERS_MAX


async def test_a_look_up_ends_however_many_peers_are_named(open_link: Opener) -> None:
    numbers = iter(range(1, 10**6))

    def ever_new(asked: Message) -> bytes:
        return answer(asked, closerPeers=[named(record(next(numbers))) for _ in range(BUCKET_PEERS_MAX)])

    seen, asked = await look_beside(open_link, ever_new, nothing)
    assert seen == set()
    assert 0 < asked <= ASKED_MAX
