"""What a node remembers of the Kademlia table stays bounded, true to what was said last, and hard to crowd out."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.link.finding.addresses import group_of, may_dial
from node.link.finding.dht import allowed
from node.link.finding.kad_messages import Kind, Request, read_answer, read_request, write_answer
from node.link.finding.kademlia import (
    CONTACTS_PER_GROUP_MAX,
    KEYS_PER_PEER_MAX,
    PROVIDERS_MAX,
    PROVIDERS_PER_GROUP_MAX,
    PROVIDERS_PER_KEY_MAX,
    STALE_S,
    Contact,
    Course,
    ProviderTable,
    RoutingTable,
)
from node.link.finding.records import open_record, seal_record
from node.reachability import Scope
from protocol.discovery import (
    BUCKET_PEERS_MAX,
    KAD_ANSWER_MAX_BYTES,
    PROVIDER_LIFETIME_S,
    kad_position,
    kad_protocol,
    mdns_service,
    providers_key,
)
from protocol.errors import Reject
from protocol.identity import PEER_ID_PREFIX, KeyPair, peer_id
from tests.kad import GOOD, KEY, ME, REFUSED, STRANGER, record

ME_KEY = bytes(32)


def contact(number: int, address: str = "/ip4/127.0.0.1/tcp/1", seq: int = 1) -> Contact:
    return Contact(number.to_bytes(32), (address,), seq, b"")


def public(number: int) -> str:
    """An address of an operator of its own."""
    return f"/ip4/45.{number // 256}.{number % 256}.1/tcp/1"


# Names.


def test_names_of_one_network() -> None:
    network = bytes(range(32))
    assert kad_protocol(network) == f"/heliotrope/{network.hex()}/kad/1.0.0"
    assert mdns_service(network) == "_p2p-0001020304._udp.local."
    assert providers_key(network, "europe", "cpu").hex() == (
        "f99f802292d54e31d2a22c19495249a43d50db03d9ac0945068943dc04036f8d"
    )
    assert len({providers_key(network, r, d) for r in ("europe", "asia") for d in ("cpu", "cuda")}) == 4


# Contacts.


def test_the_closest_are_by_distance_and_the_nearest_first() -> None:
    table, contacts = RoutingTable(ME_KEY), [contact(number) for number in range(1, 200)]
    kept = [c for c in contacts if table.heard(c, 0)]
    target = kad_position(b"target")
    assert table.closest(target, 10) == sorted(kept, key=lambda c: c.position ^ target)[:10]
    assert len(table) == len(kept) < len(contacts)


def test_the_node_itself_is_no_contact() -> None:
    assert not RoutingTable(ME_KEY).heard(Contact(ME_KEY, (public(1),), 1, b""), 0)


def test_who_keeps_answering_is_not_displaced_and_who_is_stale_is() -> None:
    table = RoutingTable(ME_KEY)
    bucket = [c for c in map(contact, range(1, 500)) if (c.position ^ kad_position(PEER_ID_PREFIX + ME_KEY)) >> 255]
    for c in bucket[:BUCKET_PEERS_MAX]:
        assert table.heard(c, 0)
    assert not table.heard(bucket[BUCKET_PEERS_MAX], STALE_S - 1)
    for c in bucket[1:BUCKET_PEERS_MAX]:
        assert table.heard(c, STALE_S)
    assert table.heard(bucket[BUCKET_PEERS_MAX], STALE_S)
    assert table.get(bucket[0].peer) is None
    assert len(table) == BUCKET_PEERS_MAX


def test_the_latest_record_of_a_contact_counts() -> None:
    table, old, new = RoutingTable(ME_KEY), contact(1, seq=1), contact(1, public(1), seq=2)
    for said in (new, old):
        table.heard(said, 0)
    assert table.get(old.peer) == new


def test_keys_made_up_at_one_operator_get_few_places() -> None:
    table = RoutingTable(ME_KEY)
    far = [
        c
        for c in (contact(n, "/ip4/45.1.2.3/tcp/1") for n in range(1, 500))
        if (c.position ^ kad_position(PEER_ID_PREFIX + ME_KEY)) >> 255
    ]
    assert sum(table.heard(c, 0) for c in far) == CONTACTS_PER_GROUP_MAX


def test_a_forgotten_contact_is_gone() -> None:
    table = RoutingTable(ME_KEY)
    table.heard(contact(1), 0)
    table.forget(contact(1).peer)
    table.forget(contact(1).peer)
    assert (len(table), table.closest(0, 9), table.get(contact(1).peer)) == (0, [], None)


# Providers.


def test_a_record_expires_unless_it_is_announced_again() -> None:
    table, chance = ProviderTable(), random.Random(1)
    assert table.add(KEY, contact(1), 0)
    assert table.add(KEY, contact(2), 0)
    assert table.add(KEY, contact(2), 100)
    assert set(table.get(KEY, PROVIDER_LIFETIME_S - 1, 9, chance)) == {contact(1), contact(2)}
    assert table.get(KEY, PROVIDER_LIFETIME_S, 9, chance) == [contact(2)]
    table.expire(PROVIDER_LIFETIME_S)
    assert len(table) == 1
    table.expire(PROVIDER_LIFETIME_S + 100)
    assert len(table) == 0


def test_a_key_has_room_for_so_many_and_again_once_some_have_expired() -> None:
    table = ProviderTable()
    for number in range(1, PROVIDERS_PER_KEY_MAX + 1):
        assert table.add(KEY, contact(number, public(number)), number)
    newcomer = contact(999, public(999))
    assert not table.add(KEY, newcomer, PROVIDERS_PER_KEY_MAX)
    assert table.add(KEY, contact(2, public(2)), PROVIDERS_PER_KEY_MAX)
    assert table.add(KEY, newcomer, 1 + PROVIDER_LIFETIME_S)
    assert len(table) == PROVIDERS_PER_KEY_MAX


def test_a_peer_has_few_keys_and_an_operator_few_places() -> None:
    table = ProviderTable()
    keys = [n.to_bytes(32) for n in range(KEYS_PER_PEER_MAX + 1)]
    assert [table.add(key, contact(1), 0) for key in keys] == [True] * KEYS_PER_PEER_MAX + [False]
    crowd = [contact(n, "/ip6/2a00:1:1::1/tcp/1") for n in range(2, 50)]
    assert sum(table.add(KEY, c, 0) for c in crowd) == PROVIDERS_PER_GROUP_MAX


def test_all_keys_together_have_a_bound() -> None:
    table = ProviderTable()
    for number in range(PROVIDERS_MAX):
        assert table.add((number % 1000).to_bytes(32), contact(number, public(number)), 0)
    assert not table.add(KEY, contact(10**6, public(3)), 0)
    assert table.add(KEY, contact(10**6, public(3)), PROVIDER_LIFETIME_S)
    assert len(table) == 1


def test_among_many_each_is_found_now_and_then() -> None:
    table, chance = ProviderTable(), random.Random(1)
    everyone = [contact(n) for n in range(1, 41)]
    for c in everyone:
        table.add(KEY, c, 0)
    drawn = [table.get(KEY, 1, 20, chance) for _ in range(50)]
    assert {len(set(found)) for found in drawn} == {20}
    assert {c for found in drawn for c in found} == set(everyone)


# Look-ups.


def test_a_course_asks_the_nearest_first_and_ends_once_they_have_answered() -> None:
    course, contacts = Course(0, asked_max=100), [contact(n) for n in range(1, 50)]
    course.hear(contacts)
    nearest = sorted(contacts, key=lambda c: c.position)
    assert course.next(3, 8) == nearest[:3]
    course.silent(nearest[0].peer)
    assert course.next(3, 8) == nearest[3:6]
    assert course.next(9, 8) == nearest[6:9]
    assert course.next(3, 8) == []
    assert course.answered(8) == nearest[1:9]


def test_a_course_takes_those_it_hears_of_later() -> None:
    course = Course(0, asked_max=100)
    far, near = sorted((contact(1), contact(2)), key=lambda c: -c.position)
    course.hear([far])
    assert course.next(3, 1) == [far]
    course.hear([near])
    assert course.next(3, 1) == [near]


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 40))
def test_a_course_is_bounded_whatever_it_hears(seed: int, asked_max: int, candidates_max: int) -> None:
    chance, asked = random.Random(seed), set[bytes]()
    course = Course(chance.getrandbits(256), asked_max, candidates_max)
    while True:
        course.hear(contact(chance.randrange(10**6), seq=chance.randrange(3)) for _ in range(20))
        batch = course.next(3, 8)
        if not batch:
            break
        assert not asked & {c.peer for c in batch}
        asked |= {c.peer for c in batch}
        for c in batch:
            if chance.random() < 0.5:
                course.silent(c.peer)
        assert len(course._known) <= max(candidates_max, len(asked)) + 20
    assert len(asked) <= asked_max


# Addresses.


@pytest.mark.parametrize(
    ("address", "widest"),
    [
        ("/ip4/127.0.0.1/tcp/4001", Scope.MACHINE),
        ("/ip6/::1/tcp/4001", Scope.MACHINE),
        ("/ip4/192.168.1.7/tcp/4001", Scope.SITE),
        ("/ip4/169.254.169.254/tcp/80", Scope.SITE),
        ("/ip4/100.64.0.1/tcp/4001", Scope.SITE),
        ("/ip6/fd00::2/tcp/4001", Scope.SITE),
        ("/ip4/45.9.9.9/tcp/4001", Scope.INTERNET),
        ("/ip6/2a00:1450::1/tcp/4001", Scope.INTERNET),
    ],
)
def test_an_address_may_be_dialled_when_told_from_the_same_place_or_a_narrower_one(address: str, widest: Scope) -> None:
    assert [may_dial(address, teller) for teller in Scope] == [teller <= widest for teller in Scope]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/ip4/0.0.0.0/tcp/1",
        "/ip4/224.0.0.251/tcp/1",
        "/ip4/255.255.255.255/tcp/1",
        "/ip4/45.9.9.9/tcp/0",
        "/ip4/45.9.9.9/tcp/65536",
        "/ip4/45.9.9/tcp/1",
        "/ip4/2a00::1/tcp/1",
        "/ip6/::ffff:127.0.0.1/tcp/1",
        "/ip4/45.9.9.9/udp/1/quic-v1",
        "/dns4/example.org/tcp/1",
        "/ip4/45.9.9.9/tcp/1/p2p-circuit",
    ],
)
def test_an_address_that_is_never_dialled(address: str) -> None:
    assert not any(may_dial(address, teller) for teller in Scope)


def test_an_operator_is_known_by_the_network_it_was_given() -> None:
    assert group_of("/ip4/45.1.2.3/tcp/1") == group_of("/ip4/45.1.2.99/tcp/7") != group_of("/ip4/45.1.3.3/tcp/1")
    assert (
        group_of("/ip6/2a00:1:1::1/tcp/1") == group_of("/ip6/2a00:1:1:9::/tcp/1") != group_of("/ip6/2a00:1:2::/tcp/1")
    )
    assert group_of("/ip4/192.168.1.1/tcp/1") == ""


def test_of_a_contact_only_what_may_be_dialled_is_left() -> None:
    mixed = replace(contact(1), addresses=("/ip4/127.0.0.1/tcp/1", public(1)))
    assert allowed(mixed, Scope.MACHINE) == mixed
    assert allowed(mixed, Scope.INTERNET) == contact(1, public(1))
    assert allowed(contact(1), Scope.INTERNET) is None
    assert allowed(None, Scope.MACHINE) is None


def test_a_provider_may_be_reached_through_a_relay_and_who_keeps_the_table_may_not() -> None:
    relayed = contact(1, f"{public(1)}/p2p/{peer_id(STRANGER.public)}/p2p-circuit")
    assert allowed(relayed, Scope.INTERNET) is None
    assert allowed(relayed, Scope.INTERNET, by_relay=True) == relayed
    assert relayed.group == contact(2, public(1)).group
    inner = contact(1, f"/ip4/10.0.0.1/tcp/1/p2p/{peer_id(STRANGER.public)}/p2p-circuit")
    assert allowed(inner, Scope.INTERNET, by_relay=True) is None


# Messages.


@pytest.mark.parametrize("name", REFUSED)
def test_reject_request(name: str) -> None:
    with pytest.raises(Reject, match=r"^check [1-5]: "):
        read_request(REFUSED[name], STRANGER.public)


def test_good_requests_are_read() -> None:
    assert [read_request(data, STRANGER.public) for data in GOOD] == [Request(kind, KEY, ME) for kind in Kind]


def test_an_answer_holds_as_many_peers_as_have_room_and_comes_back_as_it_was() -> None:
    closer, providers = [record(n) for n in range(1, 21)], [record(n) for n in range(30, 50)]
    request = Request(Kind.GET_PROVIDERS, KEY, None)
    read = read_answer(write_answer(request, ME, closer, providers), Kind.GET_PROVIDERS, STRANGER.public)
    assert (read.sender, read.closer, read.providers) == (ME, tuple(closer), tuple(providers))
    large = [seal_record(KeyPair(n.to_bytes(32)), [f"/dns4/{'x' * 60}.{'y' * 50}/tcp/1"] * 6, 1) for n in range(1, 300)]
    data = write_answer(request, ME, large, large)
    assert KAD_ANSWER_MAX_BYTES / 2 < len(data) <= KAD_ANSWER_MAX_BYTES
    assert 0 < len(read_answer(data, Kind.GET_PROVIDERS, STRANGER.public).providers) <= BUCKET_PEERS_MAX


def test_reject_answer_of_another_kind_or_too_large() -> None:
    data = write_answer(Request(Kind.PING, b"", None), ME, (), ())
    with pytest.raises(Reject, match=r"^check 2: an answer of kind 5, 4 was asked"):
        read_answer(data, Kind.FIND_NODE, STRANGER.public)
    with pytest.raises(Reject, match=r"^check 1: 65537 bytes, 65536 are allowed"):
        read_answer(bytes(KAD_ANSWER_MAX_BYTES + 1), Kind.FIND_NODE, STRANGER.public)


# Records.


def test_a_record_comes_back_as_it_was_sealed() -> None:
    address = f"/ip4/45.1.2.3/tcp/4001/p2p/{peer_id(STRANGER.public)}"
    sealed = seal_record(STRANGER, [address, "/ip6/2a00::1/tcp/1"], 7)
    assert sealed.addresses == ("/ip4/45.1.2.3/tcp/4001", "/ip6/2a00::1/tcp/1")
    assert open_record(sealed.record, STRANGER.public) == sealed


def test_reject_record_without_addresses_or_with_nine() -> None:
    for count in (0, 9):
        sealed = seal_record(STRANGER, [f"/ip4/45.1.2.{n}/tcp/1" for n in range(count)], 7)
        if count:
            assert len(sealed.addresses) == 8
        else:
            with pytest.raises(Reject, match="check 5"):
                open_record(sealed.record, STRANGER.public)
