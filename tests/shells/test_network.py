"""Facts about what stands between the link and the core: bounds on what strangers sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest

from node import actions as ac
from node import events as ev
from node.home.bans import load_bans
from node.home.config import ApiConfig, Config, LinkConfig, load_config
from node.home.home import Home
from node.home.identity import create_home
from node.home.invitations import Received, keep_invitation
from node.link import (
    DialRefused,
    LinkError,
    LinkEvent,
    LinkRestarted,
    MessageArrived,
    PeerBanned,
    PeerConnected,
    PeerRefused,
)
from node.link.events import thread_is_down
from node.running import network as network_module
from node.running import runtime as runtime_module
from node.running.runtime import SENDING_MAX, Runtime
from protocol.direct import encode_direct
from protocol.hello import Hello
from protocol.identity import peer_id
from tests.builders import keypair
from tests.protocol.test_invitation import CLOSED, GUEST, NETWORK, REAL
from tests.shells.runtime_scene import (
    MESSAGE,
    PEER,
    SITE,
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
        assert len(runtime._inbox) == 3
        assert len(runtime._tasks.running) <= 1  # nothing waits elsewhere; the meter's task may be there
        await runtime.submit(ev.JobCancelled(b""))
        assert runtime._network._heard_bytes == 0
        runtime._network._deliver(MessageArrived(PEER, b"again"))
        await core.until(ev.MessageReceived(PEER, b"again"))


@pytest.mark.usefixtures("home")  # whose links only take notes
async def test_a_guest_shows_its_invitation_and_judges_others_by_theirs(tmp_path: Path) -> None:
    guest, stranger = Home(tmp_path / "guest"), keypair(8).public
    link = LinkConfig(data_port=0, allow=(peer_id(PEER),))
    create_home(guest, Config(label="guest", api=ApiConfig(port=0), link=link, energy=SITE), CLOSED, GUEST.seed)
    keep_invitation(guest, Received(CLOSED, REAL, ()), 0)
    runtime, _, _ = made(guest)
    settings = runtime._network.link.settings  # type: ignore[attr-defined]
    hello = Hello(version=1, network=NETWORK, session=bytes(16), agent="", observed="", invitation=b"")
    assert (settings["network"], settings["invitation"]) == (NETWORK, REAL)
    assert settings["admit"](CLOSED.admitters[0], hello) == ""
    assert settings["admit"](PEER, hello) == "", "its operator allows it"
    assert settings["admit"](stranger, hello) == "the network is closed, and no invitation was shown"
    assert "check 8" in settings["admit"](stranger, hello.model_copy(update={"invitation": REAL}))
    runtime.store.close()


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


async def test_refused_peers_without_number_fill_no_log(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "REFUSALS_BURST", 5.0)
    monkeypatch.setattr(network_module, "REFUSALS_PER_S", 0.0)
    runtime, _, _ = made(home)
    for number in range(500):
        runtime._network._deliver(PeerRefused(number.to_bytes(32), "another network"))
    assert sum(entry.kind == "peer refused" for entry in runtime.log.since(0)) == 5


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

        async def keep(self, peer: bytes) -> None:
            pass

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


async def test_a_node_hears_the_regions_that_it_is_told_to_and_advertises_in_its_own(home: Home) -> None:
    config = load_config(home)
    link = config.link.model_copy(update={"regions": ("asia", "africa")})
    runtime = Runtime(home, config.model_copy(update={"link": link}))
    topics = runtime.node.identity.topics
    expected = (*map(topics.adverts, ("africa", "asia", "europe")), topics.entries, topics.checkpoints)
    assert runtime._network.link.topics == expected  # type: ignore[attr-defined]
    assert runtime.node.peers.book.regions == {"asia", "africa"}
    runtime.store.close()


async def test_the_last_word_is_sent_before_the_link_stops(home: Home) -> None:
    runtime, core, said = made(home)
    core.script[ev.Stopping] = [ac.Publish("t", b"goodbye")]
    async with running(runtime):
        pass
    assert said == ["published"]
    assert core.heard[-1] == ev.Stopping()


async def test_a_core_that_is_stuck_does_not_keep_the_node_from_stopping(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, core, said = made(home)
    monkeypatch.setattr(runtime_module, "GOODBYE_TIMEOUT_S", 0.01)
    monkeypatch.setattr(runtime, "submit", lambda event: asyncio.Event().wait())
    async with asyncio.timeout(10):
        async with running(runtime):
            pass
    assert said == []
    assert ev.Stopping() not in core.heard
