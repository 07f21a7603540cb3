"""The multiplexer: with itself, with the stock library on either side, and with peers that break its rules."""

from __future__ import annotations

import hashlib
import random
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.io.exceptions import IOException
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamError, MuxedStreamReset

from node.link import streams
from node.link.muxer import STREAMS_INBOUND_MAX, UNREAD_MAX_BYTES
from node.link.sealed import DROWNED_BYTES
from node.link.streams import ACK, DATA, FIN, GO_AWAY, PING, RST, SYN, WINDOW_BYTES, WINDOW_UPDATE

from .ends import Make, Raw, ours, read_all, run, stock, until

PAIRS = [
    pytest.param(ours, ours, id="ours-ours"),
    pytest.param(ours, stock, id="ours-stock"),
    pytest.param(stock, ours, id="stock-ours"),
]
with_whom = pytest.mark.parametrize(("near", "far"), PAIRS)


def blob(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


# --- between honest peers -------------------------------------------------------------------------------------------


@with_whom
def test_large_streams_arrive_whole_in_both_directions_at_once(near: Make, far: Make) -> None:
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

    run(near, far, scene)
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

    def take(data: bytes) -> None:
        got.append(data)
        if data == b"bad":
            raise ValueError

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
    with pytest.raises(MuxedStreamReset):
        await stream.deliver_to(take)


# --- what no honest peer sends ----------------------------------------------------------------------------------------

CUT = {
    "another version": (PING, SYN, 0, 0, b"", 1),
    "an unknown type": (4, 0, 0, 0),
    "a stream with our number": (WINDOW_UPDATE, SYN, 1, 0),
    "a stream without a number": (WINDOW_UPDATE, SYN, 0, 0),
    "more than an unknown stream may hold": (DATA, 0, 8, 2**32 - 1),
    "more than a new stream may hold": (DATA, SYN, 2, WINDOW_BYTES + 1),
}


@pytest.mark.parametrize("frame", CUT.values(), ids=CUT)
def test_a_frame_against_the_rules_ends_the_connection(frame: tuple[Any, ...]) -> None:
    async def scene(a: Any, b: Raw) -> None:
        await b.write(*frame)
        assert (await b.until_closed())[-1] == (0, GO_AWAY, 0, 0, 1)
        await a.event_closed.wait()

    run(ours, Raw, scene)


def test_a_stream_opened_twice_ends_the_connection() -> None:
    async def scene(a: Any, b: Raw) -> None:
        await b.write(WINDOW_UPDATE, SYN, 2, 0)
        await b.write(WINDOW_UPDATE, SYN, 2, 0)
        assert (await b.until_closed())[-1] == (0, GO_AWAY, 0, 0, 1)

    run(ours, Raw, scene)


def test_more_than_the_window_ends_the_connection() -> None:
    async def scene(a: Any, b: Raw) -> None:
        await b.write(DATA, SYN, 2, WINDOW_BYTES, bytes(WINDOW_BYTES))
        await b.write(DATA, 0, 2, 1, b"x")
        assert (await b.until_closed())[-1] == (0, GO_AWAY, 0, 0, 1)
        assert a.unread_bytes == WINDOW_BYTES

    run(ours, Raw, scene)


@pytest.mark.parametrize("flags", [0, FIN, RST, ACK, 0xFFF0])
@pytest.mark.parametrize("kind", [DATA, WINDOW_UPDATE])
def test_frames_for_unknown_streams_change_nothing(kind: int, flags: int) -> None:
    async def scene(a: Any, b: Raw) -> None:
        await b.write(kind, flags, 77, 3 if kind == WINDOW_UPDATE else 5, b"" if kind == WINDOW_UPDATE else b"stray")
        await b.write(PING, SYN, 0, 42)
        assert await b.read() == (0, PING, ACK, 0, 42)
        assert not a.streams

    run(ours, Raw, scene)


def test_a_flood_of_streams_is_reset_beyond_the_bound() -> None:
    async def scene(a: Any, b: Raw) -> None:
        asked = STREAMS_INBOUND_MAX + 200
        for number in range(1, asked + 1):
            await b.write(WINDOW_UPDATE, SYN, 2 * number, 0)
        answers = [await b.read() for _ in range(asked)]
        assert [flags for _, _, flags, _, _ in answers] == [ACK] * STREAMS_INBOUND_MAX + [RST] * 200
        assert len(a.streams) == STREAMS_INBOUND_MAX

    run(ours, Raw, scene)


def test_streams_that_were_reset_make_room_again() -> None:
    async def scene(a: Any, b: Raw) -> None:
        for number in range(1, 3 * STREAMS_INBOUND_MAX):
            await b.write(WINDOW_UPDATE, SYN, 2 * number, 0)
            assert (await b.read())[2] == ACK
            await a.accept_stream()
            await b.write(WINDOW_UPDATE, RST, 2 * number, 0)
        await b.write(PING, SYN, 0, 1)
        assert (await b.read())[1] == PING
        assert not a.streams

    run(ours, Raw, scene)


def test_what_many_streams_hold_together_is_bounded() -> None:
    async def scene(a: Any, b: Raw) -> None:
        streams_that_fit = UNREAD_MAX_BYTES // WINDOW_BYTES
        assert streams_that_fit == STREAMS_INBOUND_MAX  # so that honest first windows never break the bound
        for number in range(1, streams_that_fit + 1):
            await b.write(DATA, SYN, 2 * number, WINDOW_BYTES, bytes(WINDOW_BYTES))
        await until(lambda: a.unread_bytes == UNREAD_MAX_BYTES)
        assert a.is_established

    run(ours, Raw, scene)


def test_windows_beyond_all_bounds_are_only_a_window() -> None:
    async def scene(a: Any, b: Raw) -> None:
        stream = await a.open_stream()
        assert (await b.read())[2] == SYN
        for _ in range(3):
            await b.write(WINDOW_UPDATE, 0, 1, 2**32 - 1)
        await b.write(PING, SYN, 0, 1)
        assert (await b.read())[1] == PING
        assert stream.send_window == streams.SEND_WINDOW_MAX_BYTES

    run(ours, Raw, scene)


def test_pings_nobody_reads_the_answers_of_stop_the_reading_and_not_the_memory() -> None:
    async def scene(a: Any, b: Raw) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, b)
            await until(lambda: len(a._sealed._outgoing) >= DROWNED_BYTES)
            await trio.testing.wait_all_tasks_blocked()
            assert len(a._sealed._outgoing) < 2 * DROWNED_BYTES
            nursery.cancel_scope.cancel()

    run(ours, Raw, scene)


async def flood(raw: Raw) -> None:
    while True:
        await raw.session.write(streams.HEADER.pack(0, PING, SYN, 0, 7) * 5000)


@pytest.mark.parametrize("seed", range(20))
def test_frames_cut_anywhere_are_put_together(seed: int) -> None:
    """Noise messages and reads of the socket end where they like."""
    chance = random.Random(seed)
    body = chance.randbytes(chance.randrange(1, 5000))
    frames = streams.HEADER.pack(0, WINDOW_UPDATE, SYN, 2, 0)
    frames += streams.HEADER.pack(0, DATA, 0, 2, len(body)) + body + streams.HEADER.pack(0, DATA, FIN, 2, 0)
    cuts = sorted(chance.choices(range(len(frames)), k=chance.randrange(20)))

    async def scene(a: Any, b: Raw) -> None:
        for start, end in pairwise([0, *cuts, len(frames)]):
            if end > start:
                await b.session.write(frames[start:end])
        assert await read_all(await a.accept_stream()) == body

    run(ours, Raw, scene)


@pytest.mark.parametrize("seed", range(30))
def test_no_garbage_does_more_than_end_the_connection(seed: int) -> None:
    chance = random.Random(seed)

    async def scene(a: Any, b: Raw) -> None:
        await a.open_stream()
        with suppress(IOException, OSError):  # it was cut before the end
            for _ in range(50):
                kind, flags = chance.randrange(4), chance.randrange(16)
                stream, length = chance.randrange(6), chance.choice([0, 1, 100, 2**32 - 1])
                await b.write(kind, flags, stream, length, chance.randbytes(min(length, 100)))
        await b.session.close()
        await a.event_closed.wait()
        assert not a.streams

    run(ours, Raw, scene)
