"""In which order a node hears of what happens, and what is dropped when it cannot keep up."""

from __future__ import annotations

import pytest

from node.events import Event, MessageReceived, PeerConnected, PeerDisconnected
from node.running import inbox
from node.running.inbox import Inbox
from node.running.tasks import Tasks

PEER = bytes(32)
NEWS = MessageReceived(PEER, b"news")
EVENTS: list[Event] = [PeerConnected(PEER), PeerDisconnected(PEER), PeerConnected(PEER)]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """One that has room for two events, and holds them."""
    monkeypatch.setattr(inbox, "EVENTS_MAX", 2)
    made = Inbox(Tasks())
    assert [made.hear(NEWS) for _ in range(3)] == [True, True, False]
    return made


async def test_our_own_events_keep_their_order_though_there_was_no_room(full: Inbox) -> None:
    full.emit(EVENTS[0])
    assert (await full.take())[0] == NEWS
    full.emit(EVENTS[1])  # there is room for it, and another stands before it
    full.emit(EVENTS[2])
    assert [(await full.take())[0] for _ in range(4)] == [NEWS, *EVENTS]
    assert len(full) == 0


async def test_what_strangers_send_does_not_overtake_what_waits(full: Inbox) -> None:
    full.emit(EVENTS[0])
    await full.take()
    assert not full.hear(NEWS)
    assert [(await full.take())[0] for _ in range(2)] == [NEWS, EVENTS[0]]
    assert full.hear(NEWS)
