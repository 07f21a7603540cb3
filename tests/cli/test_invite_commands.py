"""`init --mode`, `invite`, `join`: how a closed network is made, and how a peer comes into it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from node.home import lasting
from node.home.home import Home
from node.home.identity import load_genesis, load_keypair
from node.home.invitations import FILE_MAX_BYTES, load_invitation
from node.home.lasting import load_peers
from protocol.identity import peer_id
from protocol.invitation import judge_invitation
from tests.api.host import Host
from tests.builders import NOW_MS, keypair
from tests.cli.conftest import Heliotrope, running
from tests.protocol.test_invitation import CLOSED, GUEST, invitation

DAY_MS = 86_400_000
ADDRESS = f"/ip4/192.0.2.1/tcp/8471/p2p/{peer_id(keypair(9).public)}"


@pytest.fixture
def founder(heliotrope: Heliotrope, tmp_path: Path) -> Home:
    assert heliotrope("init", "--home", tmp_path / "founder", "--label", "founder", "--mode", "closed").code == 0
    return Home(tmp_path / "founder")


@pytest.fixture
def guest(heliotrope: Heliotrope, tmp_path: Path) -> Home:
    assert heliotrope("init", "--label", "ana").code == 0
    return Home(tmp_path / "home")


def id_of(home: Home) -> str:
    return peer_id(load_keypair(home, load_genesis(home.genesis_path)).public)


@pytest.fixture
def file(heliotrope: Heliotrope, founder: Home, guest: Home, tmp_path: Path) -> Path:
    """An invitation for the guest."""
    path = tmp_path / "ana.invite"
    options = ("--label", "ana", "--address", ADDRESS, "--home", founder.path, "--out", path)
    assert heliotrope("invite", id_of(guest), *options).code == 0
    return path


def test_a_closed_network_is_its_makers_to_invite_to(founder: Home) -> None:
    network = load_genesis(founder.genesis_path)
    assert (network.admission, network.admitters) == ("closed", (load_keypair(founder, network).public,))


def test_init_in_somebody_elses_closed_network_says_how_to_get_in(
    heliotrope: Heliotrope, founder: Home, tmp_path: Path
) -> None:
    said = heliotrope("init", "--genesis", founder.genesis_path)
    assert f"lets this node in with: heliotrope invite {id_of(Home(tmp_path / 'home'))} --out FILE" in said.out


@pytest.mark.parametrize("options", [(), ("--mode", "open")])
def test_a_network_is_open_unless_it_is_said_otherwise(
    heliotrope: Heliotrope, tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert ", open (new)" in heliotrope("init", *options).out
    assert load_genesis(tmp_path / "home/genesis.json").admission == "open"


def test_no_network_is_hybrid_and_init_says_what_is(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = heliotrope("init", "--mode", "hybrid")
    assert said.code == 6
    assert "hybrid is a mode of jobs, not of networks" in said.err
    assert not (tmp_path / "home").exists()


def test_the_mode_of_a_network_that_exists_cannot_be_chosen(heliotrope: Heliotrope, founder: Home) -> None:
    said = heliotrope("init", "--genesis", founder.genesis_path, "--mode", "open")
    assert said.code == 2
    assert "--mode goes with a new network" in said.err
    assert "is closed already" in said.err


def test_a_guest_joins_with_the_file_that_it_was_sent(
    heliotrope: Heliotrope, founder: Home, guest: Home, file: Path
) -> None:
    said = heliotrope("join", file)
    assert said.code == 0, said.err
    assert re.search(r"12D3KooW\w+ belongs to founder-network until 20\d\d-\d\d-\d\d \d\d:\d\d UTC", said.out)
    network = load_genesis(guest.genesis_path)
    assert network == load_genesis(founder.genesis_path)
    assert [address for address, _ in load_peers(guest)] == [ADDRESS]
    key = load_keypair(guest, network).public
    found = judge_invitation(load_invitation(guest), network, key, network.clock.network_ms).invitation
    assert (found.label, found.expires_at_ms - found.issued_at_ms) == ("ana", 90 * DAY_MS)


def test_the_file_says_to_people_for_whom_it_is_and_holds_no_secret(founder: Home, guest: Home, file: Path) -> None:
    content = file.read_text()
    assert f"Invites 'ana', {id_of(guest)} to 'founder-network' until 20" in json.loads(content)["note"]
    for secret in (founder.key_path, founder.token_path, guest.key_path, guest.token_path):
        assert secret.read_text().strip() not in content


def test_programs_are_told_the_same(heliotrope: Heliotrope, founder: Home, guest: Home, tmp_path: Path) -> None:
    out = tmp_path / "ana.invite"
    options = ("--home", founder.path, "--days", "7", "--address", ADDRESS, "--out", out, "--json")
    invited = heliotrope("invite", id_of(guest), *options).json
    joined = heliotrope("join", out, "--json").json
    assert (invited["file"], invited["issuer"], invited["label"]) == (str(out), id_of(founder), "")
    assert invited["expires_at_ms"] - invited["issued_at_ms"] == 7 * DAY_MS
    assert joined == {
        "peer_id": id_of(guest),
        "network": invited["network"],
        "network_name": "founder-network",
        "expires_at_ms": invited["expires_at_ms"],
        "addresses": [ADDRESS],
    }


def test_an_invitation_is_renewed_in_a_home_that_has_worked(
    heliotrope: Heliotrope, founder: Home, guest: Home, file: Path, tmp_path: Path
) -> None:
    heliotrope("join", file)
    guest.fresh_path.unlink()
    before = load_invitation(guest)
    renewed = tmp_path / "again.invite"
    heliotrope("invite", id_of(guest), "--home", founder.path, "--days", "200", "--out", renewed)
    assert heliotrope("join", renewed).code == 0
    assert load_invitation(guest) != before
    assert load_peers(guest)[0][0] == ADDRESS, "what was known is kept"


def test_an_invitation_names_where_its_issuer_listens(
    heliotrope: Heliotrope, founder: Home, guest: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--home", founder.path, "--out", tmp_path / "file", "--json")
    monkeypatch.setattr(lasting, "outward_host", lambda family, far_away: "192.0.2.6")
    said = heliotrope("invite", id_of(guest), *options)
    assert said.json["addresses"] == [f"/ip4/192.0.2.6/tcp/8471/p2p/{id_of(founder)}"]
    monkeypatch.setattr(lasting, "outward_host", lambda family, far_away: None)
    said = heliotrope("invite", id_of(guest), *options)
    assert said.json["addresses"] == [], "it listens on all interfaces, and none leads out"
    assert "The file names no address" in said.err
    config = founder.config_path.read_text()
    founder.config_path.write_text(config.replace("/ip4/0.0.0.0/", "/ip4/192.0.2.7/"))
    said = heliotrope("invite", id_of(guest), *options)
    assert said.json["addresses"] == [f"/ip4/192.0.2.7/tcp/8471/p2p/{id_of(founder)}"]
    far, near = (f"/ip4/{host}/tcp/4001/p2p/{id_of(founder)}" for host in ("192.0.2.8", "127.0.0.1"))
    founder.runtime_path.write_text(json.dumps({"addresses": [near, far]}))
    assert heliotrope("invite", id_of(guest), *options).json["addresses"] == [far]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("12D3KooW",), "a peer is named by"),
        (("{guest}", "--days", "0"), "Must be >= 1"),
        (("{guest}", "--days", "401"), "Must be <= 400"),
        (("{guest}", "--days", "1000000000"), "Must be <= 400"),
        (("{guest}", "--label", "x" * 33), "label"),
        (("{guest}", "--address", "anywhere"), "is no address of a peer"),
    ],
)
def test_an_impossible_invitation_is_refused_and_none_is_written(
    heliotrope: Heliotrope, founder: Home, guest: Home, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    named = [id_of(guest) if argument == "{guest}" else argument for argument in arguments]
    said = heliotrope("invite", *named, "--home", founder.path, "--out", tmp_path / "file")
    assert said.code == 2
    assert complaint in said.err
    assert not (tmp_path / "file").exists()


def test_an_open_network_has_no_invitations(heliotrope: Heliotrope, guest: Home, tmp_path: Path) -> None:
    said = heliotrope("invite", peer_id(keypair(9).public), "--out", tmp_path / "file")
    assert said.code == 6
    assert "'ana-network' is open: whoever has its genesis document joins, uninvited" in said.err


def test_a_guest_invites_nobody(heliotrope: Heliotrope, founder: Home, file: Path, tmp_path: Path) -> None:
    heliotrope("join", file)
    said = heliotrope("invite", peer_id(keypair(9).public), "--out", tmp_path / "file")
    assert said.code == 6
    assert f"remedy: Ask an admitter of that network: {id_of(founder)}" in said.err


def test_an_invitation_is_of_no_use_to_anybody_else(heliotrope: Heliotrope, file: Path, tmp_path: Path) -> None:
    heliotrope("init", "--home", tmp_path / "thief")
    before = (tmp_path / "thief/genesis.json").read_text()
    said = heliotrope("join", file, "--home", tmp_path / "thief")
    assert said.code == 6
    assert "check 8: the invitation is for 12D3KooW" in said.err
    assert f"this node's peer id is {id_of(Home(tmp_path / 'thief'))}" in said.err
    assert (tmp_path / "thief/genesis.json").read_text() == before


@pytest.mark.parametrize("trace", ["a signature", "a ledger"])
def test_a_home_that_has_worked_in_another_network_stays_there(
    heliotrope: Heliotrope, guest: Home, file: Path, trace: str
) -> None:
    if trace == "a signature":
        guest.fresh_path.unlink()
    else:
        guest.ledger_path.touch()
    said = heliotrope("join", file)
    assert said.code == 6
    assert "has worked in 'ana-network' already, and the invitation is to 'founder-network'" in said.err
    assert "remedy: Make a home of its own for it" in said.err
    assert not guest.invitation_path.exists()


def test_an_expired_invitation_is_refused_with_the_remedy(
    heliotrope: Heliotrope, guest: Home, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = load_genesis(guest.genesis_path).clock.unix_ms * 10**6
    monkeypatch.setattr("time.time_ns", lambda: now_ns + 91 * DAY_MS * 10**6)
    said = heliotrope("join", file)
    assert said.code == 6
    assert "check 10: the invitation expired" in said.err
    assert "heliotrope invite PEER_ID --out FILE" in said.err


def test_join_without_a_home_says_to_make_one_first(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = heliotrope("join", tmp_path / "ana.invite")
    assert said.code == 2
    assert "remedy: Make one with: heliotrope init" in said.err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no invitation"),
        (b"\xff\xfe", "holds no invitation"),
        (b'{"version": 2}', "holds no invitation"),
        (b"{" + bytes(FILE_MAX_BYTES), f"has more than {FILE_MAX_BYTES} bytes"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_invitation_is_named(
    heliotrope: Heliotrope, guest: Home, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "odd.invite"
    if content is not None:
        path.write_bytes(content)
    said = heliotrope("join", path)
    assert said.code == 2
    assert f"{path} {complaint}" in said.err
    assert guest.genesis_path.exists()


@pytest.mark.parametrize("spoilt", ["not base64!", "AAAA"])
def test_a_file_whose_invitation_is_spoilt_is_refused(
    heliotrope: Heliotrope, file: Path, guest: Home, spoilt: str
) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"invitation": spoilt}))
    said = heliotrope("join", file)
    assert said.code != 0
    assert str(file) in said.err
    assert not guest.invitation_path.exists()


# --- status -----------------------------------------------------------------------------------------------------------


def status(heliotrope: Heliotrope, tmp_path: Path, now_ms: int, shown: bytes, key: int = 1) -> str:
    host = Host(tmp_path, network=CLOSED, key=key, invitation=shown)
    host.start()
    host.clock_ms = now_ms
    with running(host, tmp_path / "home"):
        said = heliotrope("status")
    assert said.code == 0, said.err
    return said.out


def test_status_tells_a_guest_until_when_it_is_invited(heliotrope: Heliotrope, tmp_path: Path) -> None:
    out = status(heliotrope, tmp_path, NOW_MS, invitation())
    assert "mode     closed, invited until 1970-04-01 01:40:00" in out
    assert "NOT READY" not in out
    assert "NOT FOR LONG" not in out


def test_status_warns_a_guest_in_good_time(heliotrope: Heliotrope, tmp_path: Path) -> None:
    out = status(heliotrope, tmp_path, NOW_MS + 85 * DAY_MS, invitation())
    assert (
        f"NOT FOR LONG: the invitation ends in 5 days: ask an admitter for: heliotrope invite {peer_id(GUEST.public)}"
        in out
    )


def test_status_says_when_an_invitation_has_ended(heliotrope: Heliotrope, tmp_path: Path) -> None:
    out = status(heliotrope, tmp_path, NOW_MS + 91 * DAY_MS, invitation())
    assert "NOT READY: admission: check 10: the invitation expired 86400000 ms ago; ask an admitter for" in out


def test_status_of_an_admitter_says_that_it_may_invite(heliotrope: Heliotrope, tmp_path: Path) -> None:
    assert "mode     closed, may invite" in status(heliotrope, tmp_path, NOW_MS, b"", key=0)
