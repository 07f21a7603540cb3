"""Facts about what stands between the link and the core: bounds on what strangers sent."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from node import actions as ac
from node import events as ev
from node.home.home import Home
from node.link import DialRefused, LinkError, LinkEvent, LinkRestarted, MessageArrived, PeerConnected, PeerRefused
from node.link.events import thread_is_down
from node.running import network as network_module
from node.running.runtime import SENDING_MAX
from protocol.direct import encode_direct
from tests.builders import keypair
from tests.shells.runtime_scene import (
    MESSAGE,
    PEER,
    made,
    running,
)


async def test_what_is_sent_to_oneself_comes_back(home: Home) -> None:
    runtime, core, said = made(home)
    core.script[ev.Started] = [ac.Send(runtime.keypair.public, MESSAGE)]
    async with running(runtime):
        await core.until(ev.MessageReceived(runtime.keypair.public, encode_direct(MESSAGE)))
    assert said == []
    assert runtime._network._heard_bytes == 0, "it has room in the queue like any other"


async def test_a_flood_of_messages_is_dropped_at_a_bound_in_bytes_and_in_number(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, core, _ = made(home)
    monkeypatch.setattr(network_module, "HEARD_BYTES_MAX", 100)
    async with running(runtime):
        await core.until(ev.MessageReceived(PEER, b"early"))
        for _ in range(1000):
            runtime._network._deliver(MessageArrived(PEER, bytes(30)))
        assert runtime._queue.qsize() == 3
        assert len(runtime._tasks.running) <= 1  # nothing waits elsewhere; the meter's task may be there
        await runtime.submit(ev.JobCancelled(b""))
        assert runtime._network._heard_bytes == 0
        runtime._network._deliver(MessageArrived(PEER, b"again"))
        await core.until(ev.MessageReceived(PEER, b"again"))


class DeadEnds:
    """A link of which every dial fails so."""

    def __init__(self, *errors: LinkError) -> None:
        self._errors = list(errors)

    async def stop(self) -> None:
        pass

    async def dial(self, address: str) -> None:
        raise self._errors.pop(0)


async def test_a_dial_that_fails_says_why_and_what_to_do_and_whether_only_an_operator_can(home: Home) -> None:
    runtime, core, _ = made(home)
    async with running(runtime):
        errors = (
            LinkError("HEL-DIAL-001", "why", "do"),
            DialRefused("HEL-LINK-010", "no", "ask"),
            DialRefused("HEL-LINK-010", "another process", "end it"),
        )
        runtime._network.link = DeadEnds(*errors)  # type: ignore[assignment]
        await runtime._network.dial("/a")
        await core.until(ev.DialFailed("/a", "why", "do", is_refusal=False))
        await runtime._network.dial("/b")
        await core.until(ev.DialFailed("/b", "no", "ask", is_refusal=True))
        await runtime._network.dial("/c")
        await core.until(ev.DialFailed("/c", "another process", "end it", is_refusal=False))


async def test_a_dial_that_dies_with_the_link_counts_for_nothing(home: Home) -> None:
    runtime, core, _ = made(home)
    async with running(runtime):
        runtime._network.link = DeadEnds(thread_is_down("it has died"))  # type: ignore[assignment]
        await runtime._network.dial("/a")
        runtime._network._deliver(LinkRestarted())
        await core.until(ev.LinkRestarted())
    assert not any(isinstance(event, ev.DialFailed) for event in core.heard)


async def test_a_refused_peer_is_told_once_until_something_changes(home: Home) -> None:
    runtime, _, _ = made(home)
    async with running(runtime):
        happened: list[LinkEvent] = [PeerRefused(PEER, "another network")] * 3
        happened += [PeerRefused(PEER, "not invited")] * 2
        happened += [PeerConnected(PEER), PeerRefused(PEER, "not invited")]
        for event in happened:
            runtime._network._deliver(event)
    told = [entry for entry in runtime.log.since(0) if entry.kind == "peer refused"]
    assert [entry.data["reason"] for entry in told] == ["another network", "not invited", "not invited"]


async def test_a_slow_peer_does_not_hold_what_is_sent_to_others(home: Home) -> None:
    class SlowLink:
        sent: ClassVar[list[bytes]] = []

        async def send(self, peer: bytes, data: bytes) -> None:
            if peer == PEER:
                await asyncio.Event().wait()
            self.sent.append(peer)

        async def stop(self) -> None:
            pass

    runtime, core, _ = made(home)
    other = keypair(8).public
    async with running(runtime):
        runtime._network.link = SlowLink()  # type: ignore[assignment]
        core.script[ev.JobCancelled] = [*[ac.Send(PEER, MESSAGE)] * 2 * SENDING_MAX, ac.Send(other, MESSAGE)]
        await runtime.submit(ev.JobCancelled(b""))
        await asyncio.sleep(0)  # the sends begin
        assert SlowLink.sent == [other]
