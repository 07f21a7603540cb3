"""The multiplexer between honest peers: with itself, and with the stock library on either side."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.io.exceptions import IOException
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamError, MuxedStreamReset

from node.link.mux import streams
from node.link.mux.muxer import STREAMS_INBOUND_MAX
from node.link.mux.streams import GO_AWAY, WINDOW_BYTES

from .ends import Make, Raw, Relayed, ours, read_all, run, stock, until

PAIRS = [
    pytest.param(ours, ours, id="ours-ours"),
    pytest.param(ours, stock, id="ours-stock"),
    pytest.param(stock, ours, id="stock-ours"),
]
with_whom = pytest.mark.parametrize(("near", "far"), PAIRS)


def blob(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("way", [lambda stream: stream, Relayed], ids=["socket", "relayed"])
@with_whom
def test_large_streams_arrive_whole_in_both_directions_at_once(near: Make, far: Make, way: Any) -> None:
    there, back = blob(1, 20_000_000), blob(2, 20_000_000)
    digests: dict[str, str] = {}

    async def read(name: str, stream: Any) -> None:
        digests[name] = hashlib.sha256(await read_all(stream)).hexdigest()

    async def write(stream: Any, data: bytes) -> None:
        await stream.write(data)
        await stream.close()

    async def scene(a: Any, b: Any) -> None:
        out = await a.open_stream()
        into = await b.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, out, there)
            nursery.start_soon(write, into, back)
            nursery.start_soon(read, "there", into)
            nursery.start_soon(read, "back", out)

    run(near, far, scene, way=way)
    assert digests == {"there": hashlib.sha256(there).hexdigest(), "back": hashlib.sha256(back).hexdigest()}


@with_whom
def test_many_streams_at_once_are_not_mixed_up(near: Make, far: Make) -> None:
    count, size = 50, 300_000
    answered: list[bool] = []

    async def echo(stream: Any) -> None:
        await stream.write(await read_all(stream))
        await stream.close()

    async def ask(end: Any, number: int) -> None:
        stream = await end.open_stream()
        await stream.write(blob(number, size + number))
        await stream.close()
        answered.append(await read_all(stream) == blob(number, size + number))

    async def serve(end: Any, nursery: trio.Nursery) -> None:
        for _ in range(count):
            nursery.start_soon(echo, await end.accept_stream())

    async def scene(a: Any, b: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, b, nursery)
            for number in range(count):
                nursery.start_soon(ask, a, number)

    run(near, far, scene)
    assert answered == [True] * count


@with_whom
def test_a_closed_direction_leaves_the_other_open(near: Make, far: Make) -> None:
    async def scene(a: Any, b: Any) -> None:
        out = await a.open_stream()
        await out.write(b"question")
        await out.close()
        into = await b.accept_stream()
        assert await read_all(into) == b"question"
        with pytest.raises(MuxedStreamError):
            await out.write(b"more")
        await into.write(b"answer")
        await into.close()
        assert await read_all(out) == b"answer"

    run(near, far, scene)


@with_whom
def test_a_reset_reaches_a_waiting_reader(near: Make, far: Make) -> None:
    async def scene(a: Any, b: Any) -> None:
        out = await a.open_stream()
        into = await b.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_reset, into)
            await trio.testing.wait_all_tasks_blocked()
            await out.reset()

    run(near, far, scene)


async def expect_reset(stream: Any) -> None:
    with pytest.raises(MuxedStreamError):
        await stream.read(1)


@with_whom
def test_many_streams_one_after_the_other_leave_nothing_behind(near: Make, far: Make) -> None:
    async def scene(a: Any, b: Any) -> None:
        for number in range(2 * STREAMS_INBOUND_MAX):
            out = await a.open_stream()
            await out.write(b"%d" % number)
            await out.close()
            into = await b.accept_stream()
            assert await read_all(into) == b"%d" % number
            await into.close()
            assert await read_all(out) == b""
        assert not a.streams
        assert not b.streams

    run(near, far, scene)


def test_unread_data_holds_the_writer_back_until_it_is_read() -> None:
    async def scene(a: Any, b: Any) -> None:
        out = await a.open_stream()
        into = await b.accept_stream()
        data = blob(3, 3 * WINDOW_BYTES)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(out.write, data)
            await until(lambda: b.unread_bytes >= WINDOW_BYTES)
            assert b.unread_bytes == WINDOW_BYTES
            assert not out.try_write(b"overtaking")
            got = b""
            while len(got) < len(data):
                got += await into.read()
        assert got == data
        assert b.unread_bytes == 0

    run(ours, ours, scene)


def test_a_reader_that_never_reads_ends_the_write_and_not_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "WINDOW_TIMEOUT_S", 0.1)

    async def scene(a: Any, b: Any) -> None:
        stuck, other = await a.open_stream(), await a.open_stream()
        with pytest.raises(MuxedStreamError, match="took nothing"):
            await stuck.write(bytes(2 * WINDOW_BYTES))
        await other.write(b"still here")
        await b.accept_stream()
        assert await (await b.accept_stream()).read() == b"still here"

    run(ours, ours, scene)


@with_whom
def test_a_connection_lost_in_the_middle_ends_both_sides(near: Make, far: Make) -> None:
    async def scene(a: Any, b: Any) -> None:
        out = await a.open_stream()
        into = await b.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken_write, out)
            assert await into.read(1)
            await (a if near is ours else b).secured_conn.close()
            with pytest.raises(MuxedStreamError):
                await read_for_ever(into)
        await a.event_closed.wait()
        await b.event_closed.wait()
        with pytest.raises(MuxedStreamError):
            await a.open_stream()

    run(near, far, scene)


async def expect_broken_write(stream: Any) -> None:
    with pytest.raises((MuxedStreamError, IOException)):
        await write_for_ever(stream)


async def write_for_ever(stream: Any) -> None:
    while True:
        await stream.write(bytes(100_000))


async def read_for_ever(stream: Any) -> None:
    while True:
        await stream.read(65536)


def test_closing_says_goodbye_and_waits_for_nobody() -> None:
    async def scene(a: Any, b: Raw) -> None:
        await a.close()
        assert (await b.until_closed())[-1] == (0, GO_AWAY, 0, 0, 0)
        assert a.is_closed

    run(ours, Raw, scene)


def test_what_came_before_the_end_of_the_connection_can_be_read() -> None:
    async def scene(a: Any, b: Any) -> None:
        out = await a.open_stream()
        await out.write(b"last words")
        into = await b.accept_stream()
        await a.close()
        await b.event_closed.wait()
        assert await into.read() == b"last words"
        with pytest.raises(MuxedStreamReset):
            await into.read()

    run(ours, ours, scene)


def test_writing_to_a_closed_stream_says_so() -> None:
    async def scene(a: Any, b: Any) -> None:
        stream = await a.open_stream()
        await stream.close()
        with pytest.raises(MuxedStreamClosed):
            stream.try_write(b"x")

    run(ours, ours, scene)


def test_data_is_handed_over_as_it_comes_and_a_failure_resets_only_that_stream() -> None:
    got: list[bytes] = []

    def take(data: bytes) -> float:
        got.append(data)
        if data == b"bad":
            raise ValueError("bad")
        return 0.0

    async def scene(a: Any, b: Any) -> None:
        out, other = await a.open_stream(), await a.open_stream()
        await out.write(b"first")
        into = await b.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_delivery_to_fail, into, take)
            await trio.testing.wait_all_tasks_blocked()
            assert out.try_write(b"second")
            await until(lambda: len(got) == 2)
            assert out.try_write(b"bad")
        await expect_reset(out)
        await other.write(b"fine")
        assert await (await b.accept_stream()).read() == b"fine"

    run(ours, ours, scene)
    assert got == [b"first", b"second", b"bad"]


async def expect_delivery_to_fail(stream: Any, take: Any) -> None:
    with pytest.raises(ValueError, match="bad"):
        await stream.deliver_to(take)


def test_a_peer_that_is_held_back_sends_its_window_and_no_more_until_then() -> None:
    got: list[int] = []

    def take(data: bytes) -> float:
        got.append(len(data))
        return 3600.0

    async def scene(a: Any, b: Any) -> None:
        out = await a.open_stream()
        into = await b.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_reset, into.deliver_to, take)
            nursery.start_soon(until_reset, out.write, bytes(2 * WINDOW_BYTES))
            await until(lambda: sum(got) == WINDOW_BYTES)
            await trio.testing.wait_all_tasks_blocked()
            assert sum(got) == WINDOW_BYTES
            await out.reset()  # whoever is held back can leave

    run(ours, ours, scene)


async def until_reset(act: Callable[..., Awaitable[None]], *args: Any) -> None:
    with pytest.raises(MuxedStreamReset):
        await act(*args)


def test_after_a_pause_all_of_it_comes() -> None:
    got: list[int] = []

    def take(data: bytes) -> float:
        got.append(len(data))
        return 0.02

    async def scene(a: Any, b: Any) -> None:
        out = await a.open_stream()
        into = await b.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(into.deliver_to, take)
            await out.write(bytes(3 * WINDOW_BYTES))
            await out.close()

    run(ours, ours, scene)
    assert sum(got) == 3 * WINDOW_BYTES


def test_a_goodbye_lets_the_peer_read_all_that_was_said_before() -> None:
    data = blob(5, 3 * WINDOW_BYTES // 4)

    async def scene(a: Any, b: Any) -> None:
        out = await a.open_stream()
        await out.write(data)
        await a.say_goodbye()
        into = await b.accept_stream()
        await b.event_closed.wait()
        got = b""
        while len(got) < len(data):
            got += await into.read()
        assert got == data

    run(ours, ours, scene)
