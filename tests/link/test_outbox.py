"""What waits for one neighbour, on a clock of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.exceptions import MuxedStreamReset

from node.link.gossip.outbox import TOGETHER_MAX, TOGETHER_MAX_BYTES, WAITING_MAX, WAITING_MAX_BYTES, Outbox
from node.link.gossip.rpc import FrameReader


class Pipe:
    """A stream that takes what is written, or nothing while it is `full`; and when it took what."""

    def __init__(self) -> None:
        self.written: list[tuple[float, list[bytes]]] = []
        self.is_full = self.is_lost = False
        self.emptied = trio.Event()

    def try_write(self, data: bytes) -> bool:
        if self.is_lost:
            raise MuxedStreamReset
        if not self.is_full:
            self._take(data)
        return not self.is_full

    async def write(self, data: bytes) -> None:
        while self.is_full:
            await self.emptied.wait()
        if self.is_lost:
            raise MuxedStreamReset
        self._take(data)

    def empty(self) -> None:
        self.is_full = False
        self.emptied.set()

    def _take(self, data: bytes) -> None:
        for frame in FrameReader(2**21).feed(data):
            messages = rpc_pb2.RPC.FromString(frame).publish
            self.written.append((trio.current_time(), [message.data for message in messages]))


def body(data: bytes) -> bytes:
    return rpc_pb2.RPC(publish=[rpc_pb2.Message(data=data)]).SerializeToString()


def play(scene: Callable[[Outbox, Pipe], Awaitable[None]]) -> list[tuple[float, list[bytes]]]:
    """What the pipe was given, by second."""
    pipe = Pipe()

    async def main() -> None:
        began = trio.current_time()
        outbox = Outbox(pipe)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.run)
            await scene(outbox, pipe)
            await trio.sleep(100)
            outbox.close()
        pipe.written = [(round(at - began, 3), messages) for at, messages in pipe.written]

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return pipe.written


def test_the_impatient_leave_at_once_and_one_by_one() -> None:
    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        assert outbox.push(body(b"a"))
        assert outbox.push(body(b"b"))
        assert [messages for _, messages in pipe.written] == [[b"a"], [b"b"]]

    play(scene)


def test_the_patient_leave_together_when_the_first_has_waited_enough() -> None:
    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        outbox.push(body(b"a"), 1.0)
        await trio.sleep(0.6)
        outbox.push(body(b"b"), 1.0)
        await trio.sleep(0.6)
        outbox.push(body(b"c"), 1.0)

    assert play(scene) == [(1.0, [b"a", b"b"]), (2.2, [b"c"])]


def test_the_impatient_take_along_all_that_waits_and_overtake_nobody() -> None:
    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        outbox.push(body(b"patient"), 5.0)
        await trio.sleep(1)
        outbox.push(body(b"urgent"))

    assert play(scene) == [(1.0, [b"patient", b"urgent"])]


def test_a_shorter_patience_is_kept_for_all() -> None:
    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        outbox.push(body(b"a"), 5.0)
        outbox.push(body(b"b"), 2.0)

    assert play(scene) == [(2.0, [b"a", b"b"])]


def test_in_a_hurry_nothing_waits_for_company() -> None:
    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        outbox.push(body(b"a"), 5.0)
        outbox.push(body(b"b"), 5.0)
        await trio.sleep(1)
        outbox.hurry()

    assert play(scene) == [(1.0, [b"a", b"b"])]


def test_a_full_batch_does_not_wait() -> None:
    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        for number in range(TOGETHER_MAX):
            outbox.push(body(b"%d" % number), 50.0)

    assert play(scene) == [(0.0, [b"%d" % number for number in range(TOGETHER_MAX)])]


def test_large_ones_do_not_wait_for_company() -> None:
    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        outbox.push(body(bytes(TOGETHER_MAX_BYTES)), 50.0)

    assert play(scene) == [(0.0, [bytes(TOGETHER_MAX_BYTES)])]


def test_what_a_slow_neighbour_does_not_take_waits_and_then_leaves_in_few_writes() -> None:
    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        pipe.is_full = True
        for number in range(100):
            assert outbox.push(body(b"%d" % number))
        await trio.sleep(3)
        pipe.empty()

    written = play(scene)
    assert [message for _, messages in written for message in messages] == [b"%d" % number for number in range(100)]
    assert {at for at, _ in written} == {3.0}
    assert len(written) <= 2


def test_an_outbox_is_busy_until_all_has_left() -> None:
    busy = []

    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        busy.append(outbox.is_busy)
        pipe.is_full = True
        outbox.push(body(b"slow"))
        await trio.sleep(1)  # the task has taken it, and waits for the pipe
        busy.append(outbox.is_busy)
        pipe.empty()
        await trio.sleep(1)
        busy.append(outbox.is_busy)

    play(scene)
    assert busy == [False, True, False]


def test_the_newest_is_dropped_when_too_much_waits() -> None:
    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        pipe.is_full = True
        pushed = [outbox.push(body(b"%d" % number)) for number in range(WAITING_MAX + 5)]
        assert pushed == [True] * WAITING_MAX + [False] * 5
        pipe.empty()

    assert sum(len(messages) for _, messages in play(scene)) == WAITING_MAX


def test_what_waits_is_bounded_in_bytes() -> None:
    async def scene(outbox: Outbox, pipe: Pipe) -> None:
        pipe.is_full = True
        size = WAITING_MAX_BYTES // 10
        assert sum(outbox.push(body(bytes(size))) for _ in range(20)) == 9
        pipe.empty()

    play(scene)


def test_a_lost_stream_ends_the_task_and_takes_nothing_more() -> None:
    async def main() -> None:
        pipe = Pipe()
        outbox = Outbox(pipe)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_end, outbox)
            await trio.testing.wait_all_tasks_blocked()
            pipe.is_lost = True
            outbox.push(body(b"x"))
        assert not outbox.push(body(b"y"))

    trio.run(main)


async def expect_end(outbox: Outbox) -> None:
    with pytest.raises(MuxedStreamReset):
        await outbox.run()
