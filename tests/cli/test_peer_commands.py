"""`heliotrope peer`: who is there, and whom the node keeps out."""

from __future__ import annotations

import pytest

from protocol.identity import peer_id
from tests.api.test_node import hear_advert
from tests.builders import keypair
from tests.cli.conftest import Heliotrope, Running

NEIGHBOUR = peer_id(keypair(1).public)


def test_a_peer_is_banned_for_a_time_and_let_in_again(heliotrope: Heliotrope, node: Running) -> None:
    node.do(hear_advert, node.host, 1)
    said = heliotrope("peer", "ban", NEIGHBOUR, "--for", "1h", "--reason", "it floods")
    assert said.code == 0
    assert f"banned for 3600 s more: peer-1 {NEIGHBOUR}, it floods" in said.out
    assert f"peer-1 {NEIGHBOUR}, it floods" in heliotrope("peer", "list").out

    said = heliotrope("peer", "unban", NEIGHBOUR)
    assert (said.code, "banned" in said.out) == (0, False)


def test_networks_are_denied_one_by_one(heliotrope: Heliotrope, node: Running) -> None:
    heliotrope("peer", "ban", "198.51.100.0/24")
    said = heliotrope("peer", "ban", "2001:db8::1", "--for", "90s", "--json")
    assert [each["network"] for each in said.json["denied"]] == ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::1/128"]
    assert [each["seconds_left"] for each in said.json["denied"]] == [None, None, 90]

    said = heliotrope("peer", "unban", "198.51.100.0/24", "--json")
    assert [each["network"] for each in said.json["denied"]] == ["192.0.2.0/24", "2001:db8::1/128"]


def test_a_network_that_no_command_denied_cannot_be_let_in(heliotrope: Heliotrope, node: Running) -> None:
    said = heliotrope("peer", "unban", "192.0.2.0/24")  # the configuration's
    assert said.code == 2
    assert "192.0.2.0/24 is not denied, but no network" in said.err
    assert "For config.toml, edit it" in said.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("192.0.2.1/24",), "is no network"),
        (("300.0.0.1",), "is no network"),
        (("neighbour",), "a peer is named by"),
        ((NEIGHBOUR, "--for", "a while"), "is no duration"),
    ],
)
def test_refuse_whom_nobody_can_mean(
    heliotrope: Heliotrope, node: Running, arguments: tuple[str, ...], why: str
) -> None:
    said = heliotrope("peer", "ban", *arguments)
    assert said.code == 2
    assert why in said.err
