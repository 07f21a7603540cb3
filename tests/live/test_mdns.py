"""mDNS: peers on one wire find each other, hear no other network, and take no stranger's word for more than a hint."""

from __future__ import annotations

import ipaddress
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import DNSOutgoing, DNSPointer, DNSText
from zeroconf import const as dns

from node.link import LinkError, PeersFound
from node.link.finding.interfaces import Interface, find_interface, spelled_out
from node.link.finding.mdns import (
    ADDRESSES_MAX,
    FOUND_BURST,
    GROUP,
    KNOWN_MAX,
    PACKET_MAX_BYTES,
    PORT,
    REPEAT_S,
    Heard,
    Mdns,
    Neighbourhood,
    open_socket,
    read_packet,
    write_answer,
    write_query,
)
from protocol.discovery import mdns_service
from protocol.identity import KeyPair, peer_id

from .links import Opener

NETWORK = ipaddress.IPv4Network("192.168.7.0/24")
HERE = Interface("test", ipaddress.IPv4Interface("192.168.7.2/24"))
SERVICE = mdns_service(bytes(32))
NAME = "a" * 32


def address(number: int = 1, ip: str = "192.168.7.9", port: int = 4001) -> str:
    return f"/ip4/{ip}/tcp/{port}/p2p/{peer_id(KeyPair(number.to_bytes(32)).public)}"


def txt(*strings: bytes, name: str = f"{NAME}.{SERVICE}") -> bytes:
    packet = DNSOutgoing(dns._FLAGS_QR_RESPONSE)
    packet.add_answer_at_time(DNSPointer(SERVICE, dns._TYPE_PTR, dns._CLASS_IN, 120, name), 0)
    text = b"".join(bytes([len(s)]) + s for s in strings)
    packet.add_additional_answer(DNSText(name, dns._TYPE_TXT, dns._CLASS_IN, 120, text))
    return packet.packets()[0]


def read(data: bytes) -> Heard:
    return read_packet(data, SERVICE, NETWORK)


# Live.


async def test_two_nodes_on_one_wire_find_each_other(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(mdns="127.0.0.1"), await open_link(mdns="127.0.0.1")
    await at_a.has(PeersFound(b.addresses))
    await at_b.has(PeersFound(a.addresses))


async def test_nodes_of_other_networks_are_not_heard(open_link: Opener) -> None:
    other, at_other = await open_link(mdns="127.0.0.1", network=b"o" * 32)
    (a, _), (_, at_b) = await open_link(mdns="127.0.0.1"), await open_link(mdns="127.0.0.1")
    await at_b.has(PeersFound(a.addresses))
    assert at_other.found() == []
    assert not any(other.addresses[0] in event.addresses for event in at_b.found())


async def test_strangers_packets_harm_nobody(open_link: Opener) -> None:
    _, at_a = await open_link(mdns="127.0.0.1")
    with open_socket(find_interface("127.0.0.1")) as stranger:
        for data in (b"", b"\xff" * 1400, bytes(1400), os.urandom(1400), txt(b"dnsaddr=" + b"x" * 200)):
            stranger.sendto(data, (GROUP, PORT))
    b, _ = await open_link(mdns="127.0.0.1")
    await at_a.has(PeersFound(b.addresses))


@pytest.mark.parametrize("wanted", ["198.51.100.77", "nosuch0", ""])
def test_an_interface_that_is_not_there_is_refused_with_those_that_are(wanted: str) -> None:
    with pytest.raises(LinkError, match=r"no such interface.*\n?.*lo 127.0.0.1|no such interface"):
        find_interface(wanted)


async def test_a_node_that_does_not_listen_there_says_so(open_link: Opener) -> None:
    with pytest.raises(LinkError, match=r"does not listen in 192\.168\.7\.0/24"):
        Mdns(SERVICE, HERE, ["/ip4/127.0.0.1/tcp/1/p2p/" + peer_id(bytes(32))], lambda found: None, random.Random(1))


def test_a_wildcard_is_spelled_out() -> None:
    spelled = spelled_out("/ip4/0.0.0.0/tcp/4001/p2p/x")
    assert spelled
    assert all(a.endswith("/tcp/4001/p2p/x") and "/0.0.0.0/" not in a for a in spelled)
    assert spelled_out("/ip4/10.0.0.1/tcp/1") == ["/ip4/10.0.0.1/tcp/1"]


# What is read of a packet.


def test_an_answer_is_read_as_it_was_written() -> None:
    addresses = (address(1), address(2, "192.168.7.200"))
    assert read(write_answer(SERVICE, NAME, addresses)) == Heard(False, addresses)


def test_a_query_is_recognised_and_another_service_s_is_not() -> None:
    assert read(write_query(SERVICE)) == Heard(True, ())
    assert read(write_query("_p2p-ffffffffff._udp.local.")) == Heard(False, ())


@pytest.mark.parametrize(
    "said",
    [
        address(ip="8.8.8.8"),
        address(ip="192.168.8.1"),
        address(ip="127.0.0.1"),
        address(port=0),
        address(port=65536),
        "/ip4/192.168.7.9/tcp/4001",
        "/ip4/192.168.7.9/tcp/4001/p2p/" + "1" * 52,
        "/dns4/printer.local/tcp/1/p2p/" + peer_id(bytes(32)),
        "/ip4/192.168.7.9/udp/1/quic-v1/p2p/" + peer_id(bytes(32)),
        address() + "/p2p-circuit",
    ],
)
def test_an_address_elsewhere_or_of_nobody_is_left_out(said: str) -> None:
    assert read(txt(b"dnsaddr=" + said.encode(), b"dnsaddr2=" + address(2).encode())) == Heard(False, (address(2),))


def test_addresses_under_other_names_are_left_out() -> None:
    assert read(txt(b"other=" + address().encode())) == Heard(False, ())
    assert read(txt(b"dnsaddr=" + address().encode(), name="x._p2p-ffffffffff._udp.local.")) == Heard(False, ())


def test_of_many_addresses_in_a_packet_the_first_few_count() -> None:
    many = [b"dnsaddr=" + address(n).encode() for n in range(1, 12)]
    assert read(txt(*many)).addresses == tuple(address(n) for n in range(1, ADDRESSES_MAX + 1))


@given(st.binary(max_size=300))
def test_whatever_is_heard_is_read(data: bytes) -> None:
    assert not read(data).addresses
    assert not read(txt(data[:255])).addresses


# What is made of it.


def wire() -> Neighbourhood:
    return Neighbourhood(SERVICE, NETWORK, (address(9),), 0.0)


def take(neighbourhood: Neighbourhood, data: bytes, at_s: float = 0.0, source: str = "192.168.7.9") -> Heard:
    return neighbourhood.take(data, source, at_s)


def test_an_address_is_handed_over_once_in_a_while() -> None:
    here, data = wire(), write_answer(SERVICE, NAME, [address()])
    seen = [take(here, data, at_s).addresses for at_s in (0, 1, REPEAT_S - 1, REPEAT_S)]
    assert seen == [(address(),), (), (), (address(),)]


def test_our_own_address_is_not_handed_over() -> None:
    assert take(wire(), write_answer(SERVICE, NAME, [address(9)])).addresses == ()


def test_who_is_not_on_the_wire_and_packets_larger_than_a_frame_are_not_heard() -> None:
    data = write_answer(SERVICE, NAME, [address()])
    assert take(wire(), data, source="10.0.0.1") == Heard(False, ())
    assert take(wire(), data + bytes(PACKET_MAX_BYTES)) == Heard(False, ())


def test_a_query_is_answered_once_a_second_at_most() -> None:
    here, query = wire(), write_query(SERVICE)
    assert [take(here, query, at_s).is_query for at_s in (0, 0.5, 1, 1.5)] == [True, False, True, False]


def test_of_a_flood_of_addresses_few_are_handed_over_and_remembered() -> None:
    here, found = wire(), 0
    for number in range(1, 2000):
        found += len(take(here, write_answer(SERVICE, NAME, [address(number)]), number / 1000).addresses)
    assert 0 < found <= FOUND_BURST + 2
    for number in range(2000, 2000 + 2 * KNOWN_MAX):
        take(here, write_answer(SERVICE, NAME, [address(number)]), number * 2.0)
    assert len(here._handed_over_at_s) == KNOWN_MAX


def test_of_a_flood_of_packets_few_are_read() -> None:
    here, query = wire(), write_query(SERVICE)
    for _ in range(1000):
        take(here, b"\xff" * 100)
    assert not take(here, query).is_query
    assert take(here, query, 60.0).is_query
