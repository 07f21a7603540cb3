"""Where a node serves blobs: its operator's word, what peers confirm, or a guess."""

from __future__ import annotations

import pytest

from node.events import Started
from node.market.tickets import TicketOffice
from node.reachability import DialBack, Reachability, judge

GUESSED = "https://10.0.0.2:8472"
GIVEN = "https://node.example:8472"


def office(url: str = GUESSED, *, is_data_host_given: bool = False) -> TicketOffice:
    tickets = TicketOffice()
    tickets.on_started(Started(("/ip4/10.0.0.2/tcp/8471",), url, bytes(32), is_data_host_given))
    return tickets


def reached(address: str) -> Reachability:
    return judge([DialBack(address)], peers=1)


@pytest.mark.parametrize(
    ("confirmed", "url"),
    [
        ("/ip4/198.41.0.4/tcp/9000", "https://198.41.0.4:8472"),
        ("/ip6/2606:4700::1111/tcp/9000", "https://[2606:4700::1111]:8472"),
    ],
)
def test_blobs_are_fetched_where_peers_have_reached_the_node(confirmed: str, url: str) -> None:
    tickets = office()
    assert tickets.url == GUESSED
    tickets.on_reachability(reached(confirmed))
    assert tickets.url == url


def test_peers_on_this_machine_do_not_lead_the_others_to_their_own() -> None:
    tickets = office()
    tickets.on_reachability(reached("/ip4/127.0.0.1/tcp/8471"))
    assert tickets.url == GUESSED


def test_the_guess_is_back_when_no_address_is_confirmed_any_more() -> None:
    tickets = office()
    tickets.on_reachability(reached("/ip4/198.41.0.4/tcp/8471"))
    tickets.on_reachability(Reachability())
    assert tickets.url == GUESSED


def test_the_operators_word_is_kept() -> None:
    tickets = office(GIVEN, is_data_host_given=True)
    tickets.on_reachability(reached("/ip4/198.41.0.4/tcp/8471"))
    assert tickets.url == GIVEN
