"""What a node says while nobody is connected."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.api.nobody import REMEDIES_MAX, nobody
from node.api.resources import Nobody
from node.dialling import Dialling
from node.events import DialFailed, PeerConnected, Started
from protocol.identity import peer_id
from tests.api.host import Host, seller
from tests.builders import keypair


def address(number: int, port: int = 8471) -> str:
    return f"/ip4/192.0.2.{number}/tcp/{port}/p2p/{peer_id(keypair(number).public)}"


def alone(host: Host) -> Nobody:
    said = nobody(host.node, host.clock_ms)
    assert said is not None
    return said


def started(tmp_path: Path, *bootstrap: str, listens: str = "/ip4/192.0.2.9/tcp/8471/p2p/me") -> Host:
    host = Host(tmp_path, sells=seller(), bootstrap=bootstrap)
    host.turn(Started((listens,), "https://192.0.2.9:8472", bytes(32)))
    return host


def fail(host: Host, where: str, reason: str, remedy: str) -> None:
    host.turn(DialFailed(where, reason, remedy))


def test_with_somebody_connected_there_is_nothing_to_say(tmp_path: Path) -> None:
    host = started(tmp_path, address(1))
    host.turn(PeerConnected(keypair(1).public))
    assert nobody(host.node, host.clock_ms) is None


def test_a_node_that_knows_no_address_is_shown_the_line_to_write(tmp_path: Path) -> None:
    said = alone(started(tmp_path))
    assert said.reason == "this node knows no address to dial, and nobody has dialled it"
    first, second = said.remedies
    assert 'bootstrap = ["/ip4/' in first
    assert 'of another: bootstrap = ["/ip4/192.0.2.9/tcp/8471/p2p/me"]' in second


@pytest.mark.parametrize("listens", ["/ip4/127.0.0.1/tcp/1/p2p/me", "/ip6/::1/tcp/1/p2p/me"])
def test_a_node_on_loopback_is_told_that_no_other_machine_reaches_it(tmp_path: Path, listens: str) -> None:
    said = alone(started(tmp_path, listens=listens))
    assert 'listen = "/ip4/0.0.0.0/tcp/8471"' in said.remedies[-1]


def test_before_any_answer_it_says_that_it_dials(tmp_path: Path) -> None:
    assert alone(started(tmp_path, address(1), address(2))) == Nobody(
        reason="2 addresses are being dialled", remedies=()
    )


def test_each_remedy_is_named_once_and_the_one_that_helps_most_first(tmp_path: Path) -> None:
    host = started(tmp_path, address(1), address(2), address(3))
    fail(host, address(1), "cannot reach 1: no answer", "open the firewall")
    fail(host, address(2), "cannot reach 2: nobody listens", "start that node")
    fail(host, address(3), "cannot reach 3: nobody listens", "start that node")
    said = alone(host)
    assert said.reason == "3 of 3 addresses were dialled in vain, and will be again"
    assert said.remedies == (
        "start that node (cannot reach 2: nobody listens, and 1 more)",
        "open the firewall (cannot reach 1: no answer)",
    )


def test_a_clock_before_the_making_of_the_network_comes_first(tmp_path: Path) -> None:
    host = started(tmp_path, address(1))
    host.clock_ms = host.genesis.clock.network_ms
    assert "timedatectl set-ntp true" in alone(host).remedies[0]


def test_there_are_never_more_remedies_than_a_screen_holds(tmp_path: Path) -> None:
    host = started(tmp_path, *(address(number) for number in range(1, 20)))
    book: Dialling = host.node.dialling
    for number in range(1, 20):
        target = book.find(address(number))
        assert target is not None
        target.failure = DialFailed(address(number), "why", f"remedy {number}")
    assert len(alone(host).remedies) == REMEDIES_MAX
