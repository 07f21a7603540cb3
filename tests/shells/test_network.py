"""Facts about what stands between the link and the core: bounds on what strangers sent."""

from __future__ import annotations

import asyncio

import pytest

from node import actions as ac
from node import events as ev
from node.home.bans import load_bans
from node.home.home import Home
from node.link import MessageArrived, PeerBanned
from node.running import network as network_module
from protocol.direct import encode_direct
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


async def test_whom_the_core_blames_the_link_learns(home: Home) -> None:
    runtime, core, said = made(home)
    core.script[ev.Started] = [ac.Blame(PEER)]
    async with running(runtime):
        assert said == ["blamed for one of the rejected messages"]


async def test_a_ban_is_told_and_kept(home: Home) -> None:
    runtime, _, _ = made(home)
    async with running(runtime):
        runtime._network._deliver(PeerBanned(PEER, "banned for 600 s: bad"))
        await asyncio.gather(*runtime._tasks.running)
    assert [event.data["reason"] for event in runtime.log.since(0) if event.kind == "peer banned"] == [
        "banned for 600 s: bad"
    ]
    assert load_bans(home).peers[PEER.hex()].reason == "bad"


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
