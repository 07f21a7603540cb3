"""Facts about the event log: a bounded ring whose numbers tell what is lost."""

from __future__ import annotations

import asyncio

from node.running.eventlog import EVENTS_MAX, EventLog


def log_of(count: int) -> EventLog:
    log = EventLog()
    for number in range(1, count + 1):
        log.append("note", {"n": number}, number)
    return log


def test_numbers_rise_by_one_from_one() -> None:
    assert EventLog().newest == 0
    assert [event.number for event in log_of(3).since(0)] == [1, 2, 3]
    assert [event.data["n"] for event in log_of(3).since(2)] == [3]


def test_the_oldest_are_lost_beyond_the_bound_and_the_numbers_tell() -> None:
    log = log_of(EVENTS_MAX + 5)
    assert len(log.since(0)) == EVENTS_MAX
    assert log.since(0)[0].number == 6
    assert log.newest == EVENTS_MAX + 5


async def test_every_waiter_is_woken_by_what_is_newer() -> None:
    log = log_of(2)
    await log.wait(1)  # has happened
    waiters = [asyncio.create_task(log.wait(2)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiters)
    log.append("note", {}, 3)
    async with asyncio.timeout(5):
        await asyncio.gather(*waiters)


async def test_a_waiter_sleeps_on_until_its_number_has_passed() -> None:
    log = EventLog()
    waiter = asyncio.create_task(log.wait(1))
    await asyncio.sleep(0)
    log.append("note", {}, 1)
    done, _ = await asyncio.wait({waiter}, timeout=0.01)
    assert not done
    log.append("note", {}, 2)
    async with asyncio.timeout(5):
        await waiter
