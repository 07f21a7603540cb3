"""Server-sent events: what is held, then what happens; resumed where a reader stopped; losses are said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import aiohttp
import pytest

from node.api.streams import news
from node.client import Client
from node.running.eventlog import EVENTS_MAX, EventLog
from tests.api.host import TOKEN, Host, served


def log_of(count: int) -> EventLog:
    log = EventLog()
    for number in range(1, count + 1):
        log.append("round", {"round": number}, 1000 + number)
    return log


def parsed(text: str) -> list[dict[str, str]]:
    """Event-stream text as the fields of each event (WHATWG HTML, section 9.2.6)."""
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if block]


def test_a_new_reader_gets_all_that_is_held_and_has_lost_nothing() -> None:
    text, position = news(log_of(3), None)
    assert [event["id"] for event in parsed(text)] == ["1", "2", "3"]
    assert position == 3


def test_an_event_carries_its_number_time_kind_and_data() -> None:
    (event,) = parsed(news(log_of(1), None)[0])
    assert event["event"] == "round"
    assert json.loads(event["data"]) == {"number": 1, "time_ms": 1001, "kind": "round", "data": {"round": 1}}


def test_a_reader_resumes_behind_what_it_saw() -> None:
    assert [event["id"] for event in parsed(news(log_of(3), 2)[0])] == ["3"]
    assert news(log_of(3), 3) == ("", 3)


def test_a_reader_that_was_too_slow_is_told_what_it_lost() -> None:
    log = log_of(EVENTS_MAX + 10)
    lost, first, *_ = parsed(news(log, 4)[0])
    assert (lost["event"], "id" in lost) == ("lost", False)
    assert json.loads(lost["data"])["data"] == {"after": 4, "reason": "6 events are no longer held"}
    assert first["id"] == "11"


def test_a_reader_from_before_a_restart_is_told_and_starts_over() -> None:
    lost, *rest = parsed(news(log_of(2), 500)[0])
    assert (lost["event"], [event["id"] for event in rest]) == ("lost", ["1", "2"])


def test_a_text_with_line_breaks_stays_one_event() -> None:
    log = EventLog()
    log.append("shard lost", {"reason": "a\n\nevent: forged\r\ndata: {}"}, 1)
    assert len(parsed(news(log, None)[0])) == 1


def take(events: Iterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return list(islice(events, count))


async def test_events_arrive_as_they_happen(host: Host, client: Client) -> None:
    held = len(host.log.since(0))
    events = client.events()
    await asyncio.to_thread(take, events, held)
    waiting = asyncio.create_task(asyncio.to_thread(take, events, 1))
    host.log.append("round", {"round": 7}, 1)
    (event,) = await waiting
    assert (event["kind"], event["data"]) == ("round", {"round": 7})


async def test_the_header_resumes_and_wins_over_the_parameter(host: Host, http: aiohttp.ClientSession) -> None:
    for number in range(5):
        host.log.append("round", {"round": number}, 1)
    newest = host.log.newest
    async with http.get("/v1/events?after=0", headers={"Last-Event-ID": str(newest - 1)}) as stream:
        assert stream.content_type == "text/event-stream"
        assert (await stream.content.readline()).startswith(b": ")  # at once, though nothing may happen for long
        assert await stream.content.readline() == b"\n"
        assert (await stream.content.readline()).decode() == f"id: {newest}\n"


@pytest.mark.parametrize("position", ["x", "-1", "9" * 17])
async def test_a_position_that_is_no_number_is_refused(http: aiohttp.ClientSession, position: str) -> None:
    async with http.get("/v1/events", headers={"Last-Event-ID": position}) as answer:
        assert (answer.status, (await answer.json())["errors"][0]["field"]) == (422, "Last-Event-ID")


async def test_the_client_takes_a_broken_stream_up_again(host: Host) -> None:
    """The API goes away and comes back on the same port; what happened in between is not lost."""
    async with served(host) as url:
        events = Client(url, TOKEN).events(after=host.log.newest)
        host.log.append("round", {"round": 1}, 1)
        assert [event["data"]["round"] for event in await asyncio.to_thread(take, events, 1)] == [1]
    host.log.append("round", {"round": 2}, 1)
    host.config.api = host.config.api.model_copy(update={"port": int(url.rpartition(":")[2])})
    async with served(host):
        assert [event["data"]["round"] for event in await asyncio.to_thread(take, events, 1)] == [2]
