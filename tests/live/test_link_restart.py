"""The link's thread dies in the middle of its work, or is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest

from node.link import (
    GossipArrived,
    Link,
    LinkError,
    LinkFailed,
    LinkRestarted,
    PeerConnected,
    PeerDisconnected,
    Verdict,
)
from node.link import link as link_module
from node.link import publications as link_publications
from node.link.link import restart_delay_s
from node.link.publications import HANDED_OVER_S, UNHEARD_MAX_S, Publications
from protocol.hello import Hello

from .links import TOPIC, Inbox, Opener, child

NEVER_S = 3600.0
FATAL = b"fatal"


class DiesOfRumours:
    """A judge that ends its thread at the first of each fatal rumour: gossip may bring the same one again."""

    def __init__(self) -> None:
        self._survived: set[bytes] = set()

    def __call__(self, topic: str, data: bytes) -> Verdict:
        if data.startswith(FATAL) and data not in self._survived:
            self._survived.add(data)
            raise SystemExit("forced")  # no Exception: nothing contains it
        return Verdict.ACCEPT


class Conversation:
    """One of two links sends numbers to the other, and dials it when it is gone. `returned`: whose send returned."""

    def __init__(self, link: Link, inbox: Inbox, other: Link) -> None:
        self.link, self.inbox, self.other = link, inbox, other
        self.returned: list[bytes] = []
        self.is_over = False

    async def send(self) -> None:
        number = 0
        while not self.is_over:
            data = b"%d" % number
            number += 1
            try:
                await self.link.send(self.other.public, data)
                self.returned.append(data)
            except LinkError:
                await reach(self.link, self.other)

    async def until_returned(self, count: int) -> None:
        goal = len(self.returned) + count
        while len(self.returned) < goal:  # noqa: ASYNC110  the sends are many, and none of them is the last
            await asyncio.sleep(0.01)


async def reach(link: Link, other: Link) -> None:
    """Dial until it works: what every caller of `dial` does."""
    async with asyncio.timeout(20):
        while True:
            try:
                await link.dial(other.addresses[0])
                return
            except LinkError:
                await asyncio.sleep(0.02)


async def test_nothing_acknowledged_is_lost_or_doubled_when_the_thread_dies_in_the_middle_of_traffic(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "RESTART_DELAY_S", 0.05)
    monkeypatch.setattr(link_module, "RESTART_FORGIVEN_S", 0.0)
    a, at_a = await open_link()
    b, at_b = await open_link(judge=DiesOfRumours())
    there, back = Conversation(a, at_a, b), Conversation(b, at_b, a)
    await reach(a, b)
    tasks = [asyncio.ensure_future(there.send()), asyncio.ensure_future(back.send())]
    for death in range(3):
        await there.until_returned(20)
        await back.until_returned(20)
        await a.publish(TOPIC, FATAL + b"%d" % death)
        await at_b.until(lambda: at_b.events.count(LinkRestarted()) == death + 1)  # noqa: B023  awaited here
    await there.until_returned(20)
    await back.until_returned(20)
    there.is_over = back.is_over = True
    await asyncio.gather(*tasks)

    for sent, arrived in ((there.returned, at_b.messages()), (back.returned, at_a.messages())):
        counts = Counter(arrived)
        assert {data: counts[data] for data in sent} == dict.fromkeys(sent, 1)
        assert max(counts.values()) == 1


async def test_what_is_published_before_during_and_after_the_death_of_the_thread_is_delivered(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "RESTART_DELAY_S", 0.05)
    a, at_a = await open_link()
    b, at_b = await open_link(judge=DiesOfRumours())
    await reach(a, b)
    await b.publish(TOPIC, b"hello")
    await at_a.has(GossipArrived(TOPIC, b.public, b"hello"))

    await a.publish(TOPIC, FATAL)
    published = 0
    while not any(isinstance(event, LinkFailed) for event in at_b.events):
        await b.publish(TOPIC, b"%d" % published)
        published += 1
        await asyncio.sleep(0.001)
    for _ in range(5):
        await b.publish(TOPIC, b"%d" % published)
        published += 1
    await at_b.has(LinkRestarted())
    await b.publish(TOPIC, b"after")
    await reach(b, a)
    await at_a.has(
        *(GossipArrived(TOPIC, b.public, b"%d" % number) for number in range(published)),
        GossipArrived(TOPIC, b.public, b"after"),
    )


async def test_a_restart_is_a_new_session_on_the_same_port(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "RESTART_DELAY_S", 0.05)
    sessions: set[bytes] = set()

    def admit(peer: bytes, hello: Hello) -> str:
        sessions.add(hello.session)
        return ""

    a, at_a = await open_link(admit=admit)
    b, at_b = await open_link(judge=DiesOfRumours())
    address = b.addresses[0]
    await reach(a, b)
    await a.publish(TOPIC, FATAL)
    await at_b.has(LinkRestarted())
    assert b.addresses == (address,)
    await at_a.has(PeerDisconnected(b.public))
    await reach(a, b)
    assert len(sessions) == 2


async def test_a_thread_that_cannot_come_back_is_started_ever_more_slowly_and_for_ever(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "RESTART_DELAY_S", 0.01)
    a, _ = await open_link()
    b, at_b = await open_link(judge=DiesOfRumours())
    await reach(a, b)
    host, port = b.addresses[0].split("/")[2:5:2]
    await a.publish(TOPIC, FATAL)
    await at_b.until(lambda: any(isinstance(event, LinkFailed) for event in at_b.events))
    squatter = await asyncio.start_server(lambda reader, writer: None, host, int(port))
    await at_b.until(lambda: sum("the port is taken" in str(event) for event in at_b.events) == 3)
    squatter.close()
    await at_b.has(LinkRestarted())
    await reach(a, b)


@pytest.mark.parametrize(
    ("previous_s", "lived_s", "delay_s"), [(0.0, 0.0, 0.5), (0.5, 59.0, 1.0), (20.0, 0.0, 30.0), (30.0, 61.0, 0.5)]
)
def test_the_delay_doubles_up_to_a_bound_and_is_forgiven(previous_s: float, lived_s: float, delay_s: float) -> None:
    assert restart_delay_s(previous_s, lived_s) == delay_s


# The outbox.


def taken(outbox: Publications, now_s: float, *topics: str) -> list[bytes]:
    found = []
    while publication := outbox.take(lambda topic: topic in topics, now_s):
        found.append(publication.data)
    return found


def test_a_publication_waits_for_somebody_who_listens_and_holds_no_other() -> None:
    outbox = Publications(Counter())
    outbox.put("a", b"1", 0.0)
    outbox.put("b", b"2", 0.0)
    outbox.put("a", b"3", 0.0)
    assert taken(outbox, 1.0, "b") == [b"2"]
    assert taken(outbox, 2.0, "a") == [b"1", b"3"]


def test_what_nobody_listened_to_for_long_is_lost_and_counted() -> None:
    losses: Counter[str] = Counter()
    outbox = Publications(losses)
    outbox.put("a", b"old", 0.0)
    outbox.put("a", b"new", 1.0)
    assert taken(outbox, UNHEARD_MAX_S + 0.5, "a") == [b"new"]
    assert losses == {"gossip_unpublished": 1}


def test_a_full_outbox_loses_the_oldest_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_publications, "UNPUBLISHED_MAX", 2)
    losses: Counter[str] = Counter()
    outbox = Publications(losses)
    for data in (b"1", b"2", b"3"):
        outbox.put("a", data, 0.0)
    assert taken(outbox, 0.0, "a") == [b"2", b"3"]
    assert losses == {"gossip_unpublished": 1}


def test_what_a_thread_was_handed_shortly_before_its_death_comes_first_again() -> None:
    outbox = Publications(Counter())
    outbox.put("a", b"long ago", 0.0)
    assert taken(outbox, 0.0, "a") == [b"long ago"]
    for data in (b"1", b"2"):
        outbox.put("a", data, 5.0)
    assert taken(outbox, 5.0, "a") == [b"1", b"2"]
    outbox.put("a", b"3", 6.0)
    outbox.put_back(5.0 + HANDED_OVER_S)
    assert taken(outbox, 7.0, "a") == [b"1", b"2", b"3"]


# Stop.


async def test_a_peer_that_stops_is_gone_at_once_and_not_by_a_ping(open_link: Opener) -> None:
    a, at_a = await open_link(ping_interval_s=NEVER_S)
    async with child() as (process, address):
        peer = await a.dial(address)
        await a.send(peer, b"stop")
        await at_a.has(PeerDisconnected(peer))
        assert process.returncode is None, "it still runs"
        assert process.stdout is not None
        assert await process.stdout.readline() == b"stopped\n"


async def test_what_is_under_way_is_sent_before_a_link_stops(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    await a.dial(b.addresses[0])
    await b.publish(TOPIC, b"warm")
    await at_a.has(GossipArrived(TOPIC, b.public, b"warm"))
    sending = [asyncio.ensure_future(a.send(b.public, bytes([number]) * 50_000)) for number in range(40)]
    await a.publish(TOPIC, b"goodbye")
    await asyncio.sleep(0)  # the sends begin
    await a.stop()
    assert await asyncio.gather(*sending) == [None] * 40
    await at_b.has(GossipArrived(TOPIC, a.public, b"goodbye"), PeerDisconnected(a.public))
    assert at_b.messages() == [bytes([number]) * 50_000 for number in range(40)]
    with pytest.raises(LinkError, match="this node stops"):
        await a.send(b.public, b"too late")


async def test_a_peer_that_answers_nothing_does_not_keep_a_link_from_stopping(open_link: Opener) -> None:
    a, at_a = await open_link()
    async with child() as (process, address):
        peer = await a.dial(address)
        process.send_signal(signal.SIGSTOP)
        sending = asyncio.ensure_future(a.send(peer, bytes(4_000_000)))
        await asyncio.sleep(0)
        await a.stop()
        with pytest.raises(LinkError):
            await sending
    assert at_a.events == [PeerConnected(peer)]
