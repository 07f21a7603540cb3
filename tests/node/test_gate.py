"""Facts about connections by address: who is denied, and how many places one address may take."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network

import pytest

from node.link import LinkError
from node.link.guard import gate
from node.link.guard.gate import Address, Gate, Place, neighbourhood, parse_address, parse_network


def address(text: str) -> Address:
    parsed = parse_address(text)
    assert parsed is not None
    return parsed


def enter(at: Gate, text: str, cut: Callable[[], None] = lambda: None) -> Place:
    assert at.refusal(address(text), 0.0) == ""
    return at.enter(address(text), cut)


@pytest.mark.parametrize("text", ["192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "::/0", "0.0.0.0/0"])
def test_networks_are_read(text: str) -> None:
    assert parse_network(text) == ip_network(text)


@pytest.mark.parametrize("text", ["", "nowhere", "192.0.2.1/24", "192.0.2.0/33", "2001:db8::/129", "1" * 1000])
def test_refuse_what_is_no_network(text: str) -> None:
    with pytest.raises(LinkError, match="is no network"):
        parse_network(text)


def test_ipv4_within_ipv6_is_ipv4_and_a_scope_is_left_out() -> None:
    assert parse_address("::ffff:192.0.2.1") == ip_address("192.0.2.1")
    assert parse_address("fe80::1%eth0") == ip_address("fe80::1")
    assert parse_address("example.org") is None


def test_one_customers_addresses_count_as_one() -> None:
    assert neighbourhood(address("2001:db8::1")) == neighbourhood(address("2001:db8::2"))
    assert neighbourhood(address("2001:db8::1")) != neighbourhood(address("2001:db8:0:1::1"))
    assert neighbourhood(address("192.0.2.1")) != neighbourhood(address("192.0.2.2"))


def test_a_denied_network_is_refused_until_its_time_is_over() -> None:
    at = Gate(2, [ip_network("198.51.100.0/24")])
    at.deny({ip_network("192.0.2.0/24"): 10.0})
    assert "192.0.2.7 is in 192.0.2.0/24" in at.refusal(address("::ffff:192.0.2.7"), 9.9)
    assert at.refusal(address("192.0.2.7"), 10.0) == ""
    assert at.refusal(address("192.0.3.7"), 0.0) == ""
    at.deny({})
    assert at.denial(address("192.0.2.7"), 0.0) == ""
    assert at.denial(address("198.51.100.1"), 1e12) != "", "the configuration's stay"
    assert at.denial(None, 0.0) == ""


def test_refuse_more_networks_than_a_connection_can_look_at() -> None:
    with pytest.raises(LinkError, match="4097 networks, 4096 are allowed"):
        Gate(2).deny({ip_network((i << 8, 24)): 1.0 for i in range(4097)})


def test_an_address_has_its_share_of_connections_and_half_of_it_of_handshakes() -> None:
    at = Gate(4)
    first, second = enter(at, "192.0.2.1"), enter(at, "192.0.2.1")
    assert "2 handshakes from 192.0.2.1/32, 2 are allowed" in at.refusal(address("192.0.2.1"), 0.0)
    enter(at, "192.0.2.2")  # others are not concerned
    at.opened(first)
    at.opened(second)
    for _ in range(2):
        at.opened(enter(at, "192.0.2.1"))
    assert "4 connections from 192.0.2.1/32, 4 are allowed" in at.refusal(address("192.0.2.1"), 0.0)
    at.leave(first)
    at.leave(enter(at, "192.0.2.1"))  # in the middle of its handshake
    enter(at, "192.0.2.1")


def test_whoever_comes_and_goes_is_soon_not_taken() -> None:
    at = Gate(4)
    for _ in range(16):
        at.leave(enter(at, "192.0.2.1"))
    assert "more than 2 connections a second from 192.0.2.1/32" in at.refusal(address("192.0.2.1"), 0.0)
    enter(at, "192.0.2.2")
    assert at.refusal(address("192.0.2.1"), 0.5) == ""


def test_places_that_are_given_back_leave_no_trace() -> None:
    at = Gate(4)
    for i in range(1000):
        at.leave(enter(at, str(ip_address(i))))
    assert not at.places
    assert not at._half_open_at


def test_the_oldest_handshake_makes_room_where_too_many_are_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "HALF_OPEN_MAX", 3)
    at, cut = Gate(4), list[int]()
    places = [enter(at, f"192.0.2.{i}", lambda i=i: cut.append(i)) for i in range(3)]  # type: ignore[misc]
    at.opened(places[0])
    enter(at, "192.0.2.3", lambda: cut.append(3))
    assert cut == []
    enter(at, "192.0.2.4", lambda: cut.append(4))
    assert cut == [1]
    at.leave(places[1])
    enter(at, "192.0.2.5", lambda: cut.append(5))
    assert cut == [1, 2]
