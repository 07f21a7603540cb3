"""Whether others can dial us, by what they say who tried."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from node.reachability import (
    TRIED_MAX,
    DialBack,
    Reach,
    Reachability,
    Scope,
    advertised,
    is_worth_trying,
    judge,
    said,
    scope_of,
)

PUBLIC, OTHER = "/ip4/198.41.0.4/tcp/8471", "/ip6/2001:500:200::b/tcp/8471"
AT_SITE, ON_MACHINE = "/ip4/192.168.1.7/tcp/8471", "/ip4/127.0.0.1/tcp/8471"
REFUSED = "Connection refused"
MANY = 5


def reached(address: str) -> DialBack:
    return DialBack(address)


def missed(address: str) -> DialBack:
    return DialBack(address, REFUSED)


def test_nothing_is_known_before_anyone_tried() -> None:
    assert judge([], MANY) == Reachability(Reach.UNKNOWN)


def test_two_peers_that_agree_make_an_address_public() -> None:
    assert judge([reached(PUBLIC)] * 2, MANY) == Reachability(Reach.PUBLIC, Scope.INTERNET, (PUBLIC,))


def test_one_peer_of_many_is_not_enough() -> None:
    for dial_back in (reached(PUBLIC), missed(PUBLIC)):
        assert judge([dial_back], MANY).reach is Reach.UNKNOWN


def test_the_only_peer_is_enough() -> None:
    assert judge([reached(ON_MACHINE)], 1) == Reachability(Reach.PUBLIC, Scope.MACHINE, (ON_MACHINE,))
    assert judge([missed(PUBLIC)], 1).reach is Reach.PRIVATE


def test_the_only_peer_beyond_the_local_network_is_enough() -> None:
    assert judge([missed(PUBLIC), reached(AT_SITE)], 2).reach is Reach.PRIVATE
    assert judge([reached(PUBLIC), reached(AT_SITE)], 2) == Reachability(Reach.PUBLIC, Scope.INTERNET, (PUBLIC,))
    assert judge([missed(PUBLIC), reached(AT_SITE)], MANY).reach is Reach.UNKNOWN


def test_two_that_failed_make_it_private_and_say_what_they_met() -> None:
    verdict = judge([missed(PUBLIC), DialBack(PUBLIC, "no answer"), missed(PUBLIC)], MANY)
    assert verdict == Reachability(Reach.PRIVATE, Scope.INTERNET, missed=(PUBLIC,), failures=(REFUSED, "no answer"))


def test_two_that_contradict_each_other_decide_nothing() -> None:
    assert judge([reached(PUBLIC), missed(PUBLIC)], MANY).reach is Reach.UNKNOWN


def test_one_liar_among_three_decides_nothing() -> None:
    for honest, liar in ((reached, missed), (missed, reached)):
        expected = judge([honest(PUBLIC)] * 2, MANY).reach
        assert judge([honest(PUBLIC), liar(PUBLIC), honest(PUBLIC)], MANY).reach is expected


def test_the_widest_scope_decides_of_which_enough_is_known() -> None:
    at_site = [reached(AT_SITE)] * 3
    assert judge([*at_site, missed(PUBLIC)], MANY).scope is Scope.SITE
    assert judge([*at_site, missed(PUBLIC), missed(PUBLIC)], MANY).reach is Reach.PRIVATE


def test_each_address_is_confirmed_by_itself() -> None:
    verdict = judge([reached(PUBLIC)] * 2 + [reached(OTHER)] + [missed(OTHER)], MANY)
    assert verdict.confirmed == (PUBLIC,)


def test_an_address_is_tried_until_enough_is_known_of_it_whatever_is_known_of_others() -> None:
    at_site = [reached(AT_SITE)] * 2
    assert not is_worth_trying(AT_SITE, at_site, MANY)
    assert is_worth_trying(PUBLIC, at_site, MANY)
    assert is_worth_trying(PUBLIC, [*at_site, missed(PUBLIC)], MANY)
    assert not is_worth_trying(PUBLIC, [*at_site, missed(PUBLIC), missed(PUBLIC)], MANY)
    assert not is_worth_trying(PUBLIC, [reached(AT_SITE)] * TRIED_MAX, MANY)


def test_no_more_is_advertised_than_an_advert_takes() -> None:
    addresses = [f"/ip4/198.41.0.{host}/tcp/8471" for host in range(1, 9)]
    verdict = replace(judge([reached(address) for address in addresses], 1), relayed=("/a", "/b", "/c", "/d"))
    assert len(advertised([f"{AT_SITE}/p2p/me"], verdict, "me")) == 8


def test_the_order_of_answers_changes_nothing() -> None:
    for pattern in product((reached, missed), repeat=5):
        tried = [make(PUBLIC) for make in pattern]
        assert judge(tried, MANY).reach is judge(tried[::-1], MANY).reach


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        (ON_MACHINE, Scope.MACHINE),
        ("/ip6/::1/tcp/1", Scope.MACHINE),
        (AT_SITE, Scope.SITE),
        ("/ip4/100.64.0.1/tcp/1", Scope.SITE),  # behind a carrier's translation
        ("/ip6/fe80::1/tcp/1", Scope.SITE),
        (PUBLIC, Scope.INTERNET),
        (OTHER, Scope.INTERNET),
    ],
)
def test_the_scope_of_an_address(address: str, scope: Scope) -> None:
    assert scope_of(address) is scope


@pytest.mark.parametrize("address", ["", "/", "/dns/example.org/tcp/1", "/ip4/1.2.3/tcp/1", "nonsense"])
def test_an_address_without_an_ip_has_no_scope(address: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        scope_of(address)


def test_what_is_advertised_begins_with_what_was_confirmed_and_has_no_wildcard() -> None:
    verdict = Reachability(Reach.PUBLIC, Scope.INTERNET, (PUBLIC,), relayed=("/relayed",))
    listening = ["/ip4/0.0.0.0/tcp/8471/p2p/me", f"{AT_SITE}/p2p/me", f"{PUBLIC}/p2p/me"]
    assert advertised(listening, verdict, "me") == (f"{PUBLIC}/p2p/me", f"{AT_SITE}/p2p/me", "/relayed")


def test_an_operator_reads_where_and_from_how_far_or_what_to_do() -> None:
    assert "reachable at /ip4/127.0.0.1/tcp/8471, on this machine only" in said(judge([reached(ON_MACHINE)], 1))
    private = judge([missed(PUBLIC)], 1)
    assert said(private) == (
        f"peers cannot dial this node at {PUBLIC} (Connection refused): 1. forward TCP port 8471 to this machine, and"
        " open it in its firewall; 2. connect it to a public peer that relays (link.relay = true in its config.toml)"
    )
