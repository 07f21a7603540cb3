"""`init`, `status`, `peers`: one's own node; and what is said when it is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.devnet.network import make
from node.events import PeerConnected, ReachabilityChanged
from node.home.config import as_witness, load_config
from node.home.home import Home
from node.home.identity import load_genesis, load_keypair
from node.reachability import Reachability
from protocol.identity import peer_id
from tests.api.test_node import hear_advert
from tests.builders import genesis, keypair
from tests.cli.conftest import Heliotrope, Running

SITE = ("--zone", "ES", "--latitude", "39.5", "--longitude=-0.4", "--carrier", "solar", "--capacity-w", "500")


def test_init_makes_a_home_that_its_owner_alone_can_read(heliotrope: Heliotrope, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    said = heliotrope("init", "--label", "roof", *SITE)
    assert said.code == 0
    config, genesis = load_config(home), load_genesis(home.genesis_path)
    assert (config.label, config.energy.zone, config.energy.capacity_w) == ("roof", "ES", 500)
    assert peer_id(load_keypair(home, genesis).public) in said.out
    assert (home.path.stat().st_mode & 0o777, home.key_path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_init_without_a_place_counts_as_the_worlds_grid_and_says_so(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = heliotrope("init")
    assert said.code == 0
    assert "counts as the world's average grid" in said.err
    assert load_config(Home(tmp_path / "home")).energy.grid_g_per_kwh == 436


def test_init_of_a_source_without_watts_says_so(heliotrope: Heliotrope) -> None:
    said = heliotrope("init", *SITE[:-2])
    assert said.code == 0
    assert "A source of 0 W never yields" in said.err


def test_init_tells_a_networks_auditors_where_its_genesis_is(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = heliotrope("init", "--auditor", peer_id(bytes(32)))
    assert said.code == 0, said.err
    assert f"its witnesses and auditors start with {tmp_path / 'home/genesis.json'}" in said.out


def test_init_knows_the_watts_of_a_common_device(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = heliotrope("init", "--device", "NVIDIA L4")
    assert said.code == 0
    assert "NVIDIA L4 of 10 to 72 W, as declared" in said.out
    machine = load_config(Home(tmp_path / "home")).machine
    assert (machine.device, machine.idle_w, machine.peak_w) == ("NVIDIA L4", 10, 72)


def test_init_of_a_device_without_known_watts_says_so(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = heliotrope("init", "--device", "NVIDIA L4000")
    assert said.code == 0
    assert "No watts are embedded for NVIDIA L4000 (NVIDIA L40" in said.err
    assert load_config(Home(tmp_path / "home")).machine.device == "NVIDIA L4000"


def test_init_joins_the_network_of_a_genesis_file(heliotrope: Heliotrope, tmp_path: Path) -> None:
    heliotrope("init", "--home", tmp_path / "first")
    heliotrope("init", "--home", tmp_path / "second", "--genesis", tmp_path / "first/genesis.json")
    networks = {load_genesis(tmp_path / name / "genesis.json").network_id() for name in ("first", "second")}
    assert len(networks) == 1


def test_init_leaves_a_node_that_is_there_alone(heliotrope: Heliotrope, tmp_path: Path) -> None:
    heliotrope("init")
    key = (tmp_path / "home/key").read_text()
    said = heliotrope("init")
    assert said.code == 2
    assert "holds a node already" in said.err
    assert (tmp_path / "home/key").read_text() == key


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--zone", "ES"), "goes together with --latitude and --longitude"),
        (("--carrier", "solar"), "solar needs --zone"),
        (("--carrier", "coal"), "carrier: expected 'solar', 'wind', 'hydro' or 'grid', not \"coal\""),
        (("--zone", "ES", "--latitude", "95", "--longitude", "0"), "latitude: expected less than or equal to 90"),
        (("--zone", "ES", "--latitude", "-0.4", "--longitude", "39.5"), "are latitude and longitude swapped?"),
        (("--genesis", "missing.json"), "missing.json cannot be read"),
    ],
)
def test_init_of_an_impossible_site_says_why_and_makes_nothing(
    heliotrope: Heliotrope, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    said = heliotrope("init", *arguments)
    assert said.code == 2
    assert complaint in said.err
    assert not (tmp_path / "home").exists()


W1, W2 = (peer_id(keypair(n).public) for n in (11, 12))


def test_init_makes_a_network_with_witnesses(heliotrope: Heliotrope, tmp_path: Path) -> None:
    assert heliotrope("init", "--witness", W1, "--witness", W2, "--witness", W1).code == 0
    assert load_genesis(tmp_path / "home/genesis.json").witnesses == (keypair(11).public, keypair(12).public)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--witness", "12D3KooW"), "no Ed25519 peer id"),
        (("--witness", W1, "--genesis", "{genesis}"), "--witness goes with a new network"),
    ],
)
def test_init_refuses_witnesses_that_are_none_or_come_too_late(
    heliotrope: Heliotrope, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    heliotrope("init", "--home", tmp_path / "first")
    genesis = str(tmp_path / "first/genesis.json")
    said = heliotrope("init", *(genesis if a == "{genesis}" else a for a in arguments))
    assert said.code == 2
    assert complaint in said.err
    assert not (tmp_path / "home").exists()


def test_a_node_whose_key_the_genesis_does_not_name_is_no_witness(heliotrope: Heliotrope) -> None:
    heliotrope("init", "--witness", W1, "--label", "roof")
    said = heliotrope("witness")
    assert said.code == 6
    assert "'roof-network' names 1 witnesses, and 12D3KooW" in said.err
    assert "is none of them" in said.err
    assert "remedy: A network's witnesses are named when it is made: heliotrope init --witness" in said.err


def test_a_witness_neither_sells_nor_buys(tmp_path: Path) -> None:
    network = genesis(witnesses=(keypair(11).public,))
    config = as_witness(load_config(make(tmp_path / "net", 1, 7)[0].home), network, keypair(11).public)
    assert config.offer() is None
    assert not config.market.buys


def test_up_without_a_home_says_how_to_make_one(heliotrope: Heliotrope) -> None:
    said = heliotrope("up")
    assert said.code == 2
    assert "remedy: Make one with: heliotrope init" in said.err


@pytest.mark.parametrize("command", ["status", "peers"])
def test_without_a_node_a_read_is_exit_code_3(heliotrope: Heliotrope, command: str) -> None:
    said = heliotrope(command)
    assert (said.code, said.out) == (3, "")
    assert "no node runs in" in said.err


def test_a_node_that_died_is_unreachable(heliotrope: Heliotrope, node: Running) -> None:
    (node.home / "runtime.json").write_text(json.dumps({"api": "http://127.0.0.1:1"}))
    said = heliotrope("status")
    assert said.code == 3
    assert "no node answers at http://127.0.0.1:1" in said.err


def test_a_wrong_token_is_refused(heliotrope: Heliotrope, node: Running) -> None:
    (node.home / "token").write_text("another")
    said = heliotrope("status")
    assert said.code == 6
    assert "the bearer token is missing or wrong" in said.err


def test_the_first_line_of_status_says_why_the_node_is_idle(heliotrope: Heliotrope, node: Running) -> None:
    node.do(node.host.turn, PeerConnected(keypair(1).public))
    said = heliotrope("status")
    assert said.code == 0
    assert said.out.splitlines()[0] == "IDLE: no job of others was seen yet"
    assert "200 W surplus now" in said.out
    assert "(modelled, A0)" in said.out
    assert "not known yet: too few peers have tried to dial this node" in said.out


def test_with_nobody_there_status_begins_with_that_and_with_numbered_remedies(
    heliotrope: Heliotrope, node: Running
) -> None:
    first, second, *_ = heliotrope("status").out.splitlines()
    assert first.startswith("NOBODY IS CONNECTED: this node knows no address to dial")
    assert second.startswith("  1. name a running node of this network below [link] in config.toml")


def test_status_names_the_address_that_others_put_into_their_bootstrap(heliotrope: Heliotrope, node: Running) -> None:
    """The remedies say that it does."""
    address = f"/ip4/198.41.0.4/tcp/8471/p2p/{peer_id(keypair(1).public)}"
    node.do(node.host.turn, ReachabilityChanged(Reachability(), (address,)))
    assert address in heliotrope("status").out


def test_status_as_json(heliotrope: Heliotrope, node: Running) -> None:
    status = heliotrope("status", "--json").json
    assert (status["identity"]["label"], status["ready"]) == ("lead", True)


def test_peers_are_listed(heliotrope: Heliotrope, node: Running) -> None:
    node.do(hear_advert, node.host)
    said = heliotrope("peers")
    assert "peer-1" in said.out
    assert "solar" in said.out
    assert heliotrope("peers", "--json").json["peers"][0]["identity"]["label"] == "peer-1"


def test_a_peer_whose_label_would_move_the_cursor_is_shown_harmless(heliotrope: Heliotrope, node: Running) -> None:
    node.do(lambda: hear_advert(node.host, label="x\x1b[2J\x1b]0;pwned\x07"))
    for arguments in (("peers",), ("peers", "--json")):
        said = heliotrope(*arguments)
        assert "x" in said.out
        assert "\x1b" not in said.out


def test_the_doctor_of_a_node_without_addresses_says_what_to_write(heliotrope: Heliotrope, tmp_path: Path) -> None:
    home = tmp_path / "new"
    heliotrope("init", "--home", str(home))
    said = heliotrope("doctor", "net", "--home", str(home))
    assert said.code == 1
    assert "no address of another node is configured" in said.out
    assert "  1. below [link] in config.toml: bootstrap = " in said.out
    found = heliotrope("doctor", "net", "--home", str(home), "--json").json
    assert [(step["id"], step["is_ok"]) for step in found] == [("clock", True), ("address", True), ("bootstrap", False)]
