"""The multiplexer and peers that break its rules: raw frames under Noise."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.io.exceptions import IOException

from node.link.mux import streams
from node.link.mux.muxer import STREAMS_INBOUND_MAX, UNREAD_MAX_BYTES
from node.link.mux.sealed import DROWNED_BYTES
from node.link.mux.streams import ACK, DATA, FIN, GO_AWAY, PING, RST, SYN, WINDOW_BYTES, WINDOW_UPDATE

from .ends import Raw, ours, read_all, run, until

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
