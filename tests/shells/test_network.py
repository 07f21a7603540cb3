"""Facts about what stands between the link and the core: bounds on what strangers sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from node import actions as ac
from node import events as ev
from node.home.config import ApiConfig, Config, LinkConfig
from node.home.home import Home
from node.home.identity import create_home
from node.home.invitations import Received, keep_invitation
from node.link import MessageArrived
from node.running import network as network_module
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
