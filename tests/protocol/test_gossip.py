"""Facts about adverts, announcements and what the network layer forwards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from protocol.codec import decode, encode
from protocol.envelope import Head
from protocol.errors import Ignore, Reject
from protocol.gossip import (
    ANNOUNCEMENT_MAX_BYTES,
    ANNOUNCEMENTS_MAX,
    CHECKPOINT_MAX_BYTES,
    Topics,
    encode_announcement,
    encode_batch,
    judge,
    judge_announcement,
)
from protocol.regions import REGIONS, region_of
from tests.builders import NOW_MS, digest, genesis, keypair, offer

from .test_adverts import sealed
from .values import arrays_like, near

NETWORK = genesis().network_id()
TOPICS = Topics.of(NETWORK)
EUROPE = TOPICS.adverts("europe")
NO_REGIONS = (TOPICS.adverts("atlantis"), TOPICS.adverts(""), f"{TOPICS.stem}/adverts", f"{EUROPE}/europe")


REAL = encode_batch([sealed()])
HEAD = Head(keypair(1).public, 7, digest("entry"))


def test_an_announcement_reads_as_it_was_made() -> None:
    heads = (HEAD,) * ANNOUNCEMENTS_MAX
    assert judge_announcement(encode_announcement(heads)) == heads


@pytest.mark.parametrize(
    "value",
    [
        None,
        (),
        ((HEAD.author, 7, HEAD.id),) * (ANNOUNCEMENTS_MAX + 1),
        (None,),
        ((),),
        ((HEAD.author, 7),),
        ((HEAD.author, 7, HEAD.id, 0),),
        ((bytes(31), 7, HEAD.id),),
        ((HEAD.author.hex(), 7, HEAD.id),),
        ((HEAD.author, 7, bytes(33)),),
        ((HEAD.author, -1, HEAD.id),),
        ((HEAD.author, True, HEAD.id),),
        ((HEAD.author, None, HEAD.id),),
    ],
    ids=lambda value: repr(value)[:32],
)
def test_reject_what_is_no_announcement(value: Any) -> None:
    is_list = type(value) is tuple and 0 < len(value) <= ANNOUNCEMENTS_MAX
    with pytest.raises(Reject, match=f"^check {3 if is_list else 2}: "):
        judge_announcement(encode(value))


def test_reject_an_announcement_beyond_its_bound() -> None:
    with pytest.raises(Reject, match=r"check 1: .*exceed the bound"):
        judge_announcement(bytes(ANNOUNCEMENT_MAX_BYTES + 1))


def test_topics_name_the_network_and_nothing_else_is_forwarded() -> None:
    assert NETWORK.hex()[:32] in EUROPE
    assert NETWORK.hex()[:32] in TOPICS.entries
    judge(TOPICS, NETWORK, EUROPE, REAL, NOW_MS)
    judge(TOPICS, NETWORK, TOPICS.entries, encode_announcement([HEAD]), NOW_MS)
    judge(TOPICS, NETWORK, TOPICS.checkpoints, bytes(CHECKPOINT_MAX_BYTES), NOW_MS)
    with pytest.raises(Reject, match=f"checkpoint of {CHECKPOINT_MAX_BYTES + 1} bytes exceeds"):
        judge(TOPICS, NETWORK, TOPICS.checkpoints, bytes(CHECKPOINT_MAX_BYTES + 1), NOW_MS)
    for topic in ("", "x" * 10_000, *NO_REGIONS, Topics.of(digest("other")).adverts("europe")):
        with pytest.raises(Reject, match="unknown topic"):
            judge(TOPICS, NETWORK, topic, REAL, NOW_MS)


@given(data=near(REAL, encode_announcement([HEAD, HEAD])) | arrays_like(decode(REAL)))
def test_a_strangers_gossip_raises_nothing_but_reject_and_ignore(data: bytes) -> None:
    complaints = []
    for topic in (EUROPE, TOPICS.entries):
        try:
            judge(TOPICS, NETWORK, topic, data, NOW_MS)
        except (Reject, Ignore) as verdict:
            complaints.append(str(verdict))
    assert all(len(complaint) < 300 for complaint in complaints)


def test_every_region_has_a_topic_of_its_own() -> None:
    topics = [TOPICS.adverts(region) for region in REGIONS]
    assert [TOPICS.region(topic) for topic in topics] == list(REGIONS)
    assert len({*topics, TOPICS.entries, TOPICS.checkpoints}) == len(REGIONS) + 2
    assert region_of(offer().place.zone) == "europe"
