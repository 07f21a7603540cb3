"""`heliotrope doctor net`: each step, tried against real links."""

from __future__ import annotations

from node.home.config import LinkConfig
from node.running.doctor import Finding, examine
from protocol.identity import KeyPair, peer_id
from tests.builders import genesis

from .links import Opener

GENESIS = genesis()
NETWORK = GENESIS.network_id()
LATER_MS = GENESIS.clock.unix_ms + 1


async def test_each_address_says_at_which_step_it_fails(open_link: Opener) -> None:
    (good, _), (other, _) = await open_link(network=NETWORK), await open_link(network=b"2" * 32)
    closed, _ = await open_link(network=NETWORK, admit=lambda peer, hello: "not invited")
    nobody = f"/ip4/127.0.0.1/tcp/1/p2p/{peer_id(KeyPair(b'n' * 32).public)}"
    bootstrap = (good.addresses[0], other.addresses[0], closed.addresses[0], nobody)
    config = LinkConfig(listen="/ip4/127.0.0.1/tcp/0", bootstrap=bootstrap)

    findings = {finding.id: finding for finding in await examine(config, GENESIS, LATER_MS)}

    assert findings[good.addresses[0]] == Finding(good.addresses[0], True, "reached, of the same network")
    assert "another network" in findings[other.addresses[0]].why
    assert "genesis.json" in findings[other.addresses[0]].fix
    assert findings[closed.addresses[0]].is_ok
    assert "HEL-DIAL-001" in findings[nobody].why
    assert findings["clock"].is_ok
    assert 'listen = "/ip4/0.0.0.0/tcp/8471"' in findings["address"].fix


async def test_a_clock_before_the_network_and_no_address_at_all_are_told() -> None:
    findings = await examine(LinkConfig(), GENESIS, GENESIS.clock.unix_ms - 5_000)
    assert [(finding.id, finding.is_ok) for finding in findings] == [
        ("clock", False),
        ("address", True),
        ("bootstrap", False),
    ]
    assert findings[0].why == "5 s before the making of the network"


async def test_without_a_bootstrap_address_those_that_answered_before_are_dialled(open_link: Opener) -> None:
    there, _ = await open_link(network=GENESIS.network_id())
    config = LinkConfig(listen="/ip4/127.0.0.1/tcp/0")
    found = (await examine(config, GENESIS, LATER_MS, there.addresses))[-1]
    assert (found.id, found.is_ok) == (there.addresses[0], True)


async def test_while_the_node_runs_its_port_is_left_alone(open_link: Opener) -> None:
    running, _ = await open_link(network=NETWORK)
    listen = running.addresses[0].rpartition("/p2p/")[0]
    config = LinkConfig(listen=listen, bootstrap=(running.addresses[0],))
    assert (await examine(config, GENESIS, LATER_MS))[-1].is_ok
