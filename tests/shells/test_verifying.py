"""Strangers' signatures are checked in order, many at a time, and never more than fit."""

from __future__ import annotations

import asyncio

import pytest

from node.actions import Verify
from node.events import EntriesVerified
from node.running import verifying as module
from node.running.verifying import Verifying
from tests.builders import feed, genesis, keypair

PEER, OTHER = keypair(8).public, keypair(9).public
ENTRIES = feed(keypair(1), 6)


async def checked(verifying: Verifying, heard: asyncio.Queue[EntriesVerified], count: int) -> list[EntriesVerified]:
    running = asyncio.create_task(verifying.run())
    events = [await asyncio.wait_for(heard.get(), 10) for _ in range(count)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return events


@pytest.fixture
def heard() -> asyncio.Queue[EntriesVerified]:
    return asyncio.Queue()


@pytest.fixture
def verifying(heard: asyncio.Queue[EntriesVerified]) -> Verifying:
    return Verifying(genesis().network_id(), heard.put)


async def test_what_waits_is_checked_in_the_order_in_which_it_came(
    verifying: Verifying, heard: asyncio.Queue[EntriesVerified]
) -> None:
    for number, entry in enumerate(ENTRIES):
        verifying.take(Verify((PEER, OTHER)[number % 2], (entry.raw,), more=number == 5))
    events = await checked(verifying, heard, len(ENTRIES))
    assert [event.entries[0].id for event in events] == [entry.id for entry in ENTRIES]
    assert [event.peer for event in events] == [PEER, OTHER] * 3
    assert [event.more for event in events] == [False] * 5 + [True]


async def test_a_forged_entry_is_refused_and_the_others_pass(
    verifying: Verifying, heard: asyncio.Queue[EntriesVerified]
) -> None:
    forged = ENTRIES[0].raw[:-1] + bytes([ENTRIES[0].raw[-1] ^ 1])
    verifying.take(Verify(PEER, (forged, ENTRIES[1].raw), more=False))
    (event,) = await checked(verifying, heard, 1)
    assert [entry.id for entry in event.entries] == [ENTRIES[1].id]
    assert len(event.refusals) == 1


async def test_beyond_the_bound_the_newest_are_dropped(
    verifying: Verifying, heard: asyncio.Queue[EntriesVerified], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES_MAX", 2 * len(ENTRIES[0].raw) + 10)
    for entry in ENTRIES:
        verifying.take(Verify(PEER, (entry.raw,), more=False))
    events = await checked(verifying, heard, 2)
    assert [event.entries[0].seq for event in events] == [0, 1]
    assert heard.empty()
    verifying.take(Verify(PEER, (ENTRIES[2].raw,), more=False))
    (event,) = await checked(verifying, heard, 1)
    assert event.entries[0].seq == 2, "room is made again"
