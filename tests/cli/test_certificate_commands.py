"""`heliotrope certificate`, `device`, `auditor` and `meter`, as an operator types them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.energy.profile import Profile
from node.home.approvals import read_approvals
from node.home.home import Home
from node.home.identity import load_genesis
from protocol.identity import KeyPair, peer_id
from tests.api.host import SITE
from tests.api.test_certificates import BUYER, Seller
from tests.builders import NOW_MS, SLOT_MS, keypair
from tests.signatures import METER

from .conftest import Heliotrope, Running, running
from .homes import stopped_home

OWNER = peer_id(keypair(1).public)


@pytest.fixture
def seller(tmp_path: Path) -> Seller:
    return Seller(tmp_path)


@pytest.fixture
def up(seller: Seller, tmp_path: Path) -> Iterator[Running]:
    home = stopped_home(tmp_path / "home", seller.host.genesis)
    with running(seller.host, home.path) as node:
        yield node


# --- certificates -----------------------------------------------------------------------------------------------------


def test_a_certificate_from_issue_to_allocation(heliotrope: Heliotrope, seller: Seller, up: Running) -> None:
    assert "no certificates" in heliotrope("certificate", "list").out
    made = heliotrope("certificate", "issue", seller.energy[:12], "--json").json
    split = heliotrope("certificate", "split", made["entry"], "5000", "7000")
    assert split.code == 0, split.err
    assert "5000 J (1.39 Wh)" in split.out
    lots = heliotrope("certificate", "list", "--json").json["lots"]
    named = {lot["energy_j"]: f"{lot['entry']}/{lot['index']}" for lot in lots}
    assert heliotrope("certificate", "transfer", named[5000], peer_id(BUYER.public)).code == 0
    used = heliotrope("certificate", "cancel", named[7000], "--purpose", "training", "--json").json
    matched = heliotrope("certificate", "allocate", used["entry"], seller.drawn, "--json").json
    assert matched["energy_j"] == 6000
    assert "1000 J" in heliotrope("certificate", "list").out, "not matched yet"


def test_a_dry_run_says_whether_it_would_count(heliotrope: Heliotrope, seller: Seller, up: Running) -> None:
    said = heliotrope("certificate", "issue", seller.energy, "--dry-run")
    assert (said.code, "would count; nothing was signed" in said.out) == (0, True)
    refused = heliotrope("certificate", "issue", seller.energy, "--energy-j", "12001", "--dry-run")
    assert refused.code == 2
    assert "check 4: energy_j 12001 exceeds the 12000 J that are left" in refused.err


@pytest.mark.parametrize("lot", ["abc/x", "abc/", "xyz", "00000000/0"])
def test_a_name_of_no_lot_is_refused(heliotrope: Heliotrope, up: Running, lot: str) -> None:
    said = heliotrope("certificate", "cancel", lot)
    assert said.code == 2
    assert "cause" in said.err or "HEL-" in said.err


# --- devices ----------------------------------------------------------------------------------------------------------


def test_the_device_of_the_configuration_is_declared(heliotrope: Heliotrope, up: Running) -> None:
    said = heliotrope("device", "declare")
    assert said.code == 0, said.err
    assert "meter" in said.out
    shown = {d["device_id"]: d for d in heliotrope("device", "show", "--json").json["devices"]}
    assert (shown["meter"]["carrier"], shown["meter"]["capacity_w"]) == ("hydro", 400)
    assert "nobody" in heliotrope("device", "show").out


def test_a_battery_is_declared_and_charged(heliotrope: Heliotrope, seller: Seller, up: Running) -> None:
    said = heliotrope("device", "declare", "--store", "cellar", "--storage-j", "100", "--capacity-w", "5")
    assert said.code == 0, said.err
    assert "0 of 100 J" in said.out
    charged = heliotrope("device", "charge", "battery", "--attestation", seller.energy, "--energy-j", "1000")
    assert charged.code == 0, charged.err
    assert "900 of 20000 J" in heliotrope("device", "show").out
    unknown = heliotrope("device", "discharge", "battery", "900", "--seconds", "60")
    assert (unknown.code, "what the grid emits is not known yet" in unknown.err) == (2, True)
    up.do(setattr, seller.host.node.sourcing, "newest", Profile(SITE).read(NOW_MS, NOW_MS + SLOT_MS))
    up.do(setattr, seller.host, "clock_ms", seller.host.clock_ms + 2 * SLOT_MS)
    assert "0 of 20000 J" in heliotrope("device", "discharge", "battery", "900", "--seconds", "60").out
    assert heliotrope("device", "declare", "--store", "cellar").code == 2
    assert heliotrope("device", "charge", "battery").code == 2


# --- auditors ---------------------------------------------------------------------------------------------------------

ROOF = ("--capacity-w", "500", "--zone", "ES", "--latitude", "39.5", "--longitude=-0.4")
LOOKS = ("--tilt-degrees", "30", "--azimuth-degrees", "180", "--key", METER.public.hex())


def test_an_auditor_approves_and_withdraws(heliotrope: Heliotrope, tmp_path: Path) -> None:
    heliotrope("init")
    said = heliotrope("auditor", "approve", OWNER, "mastr:SEE1", *ROOF, *LOOKS)
    assert said.code == 0, said.err
    assert f"mastr:SEE1 of {OWNER}: solar, 500 W, ES 39.5/-0.4, tilt 30°, azimuth 180°" in said.out
    heliotrope("auditor", "approve", OWNER, "MaStR:SEE-1", *ROOF)
    approvals = read_approvals(Home(tmp_path / "home").approvals_path).approvals
    assert [each.device.key for each in approvals] == [None], "the last approval of a device counts"
    assert (tmp_path / "home/approvals.json").stat().st_mode & 0o777 == 0o600
    assert len(heliotrope("auditor", "list", "--json").json) == 1
    assert heliotrope("auditor", "withdraw", OWNER, "mastr:see1").code == 0
    assert heliotrope("auditor", "withdraw", OWNER, "mastr:see1").code == 2
    assert "nothing is countersigned" in heliotrope("auditor", "list").out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((OWNER, "x", *ROOF, "--tilt-degrees", "30"), "go together"),
        (("nobody", "x", *ROOF), "64 hexadecimal digits or a peer id"),
        ((OWNER, "x", *ROOF[:-1], "--longitude=200"), "longitude"),
        ((OWNER, "x", *ROOF[:4], "--latitude=-0.4", "--longitude=39.5"), "are latitude and longitude swapped?"),
    ],
)
def test_an_impossible_approval_is_refused(heliotrope: Heliotrope, arguments: tuple[str, ...], complaint: str) -> None:
    heliotrope("init")
    said = heliotrope("auditor", "approve", *arguments)
    assert said.code == 2
    assert complaint in said.err


def test_approvals_belong_into_a_home(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = heliotrope("auditor", "approve", OWNER, "x", *ROOF)
    assert said.code == 2
    assert "remedy: Make one with: heliotrope init" in said.err
    assert not (tmp_path / "home").exists()


def test_damaged_approvals_are_named(heliotrope: Heliotrope, tmp_path: Path) -> None:
    heliotrope("init")
    (tmp_path / "home/approvals.json").write_text("[")
    said = heliotrope("auditor", "list")
    assert (said.code, "holds no approvals" in said.err) == (2, True)


def test_init_makes_a_network_with_auditors(heliotrope: Heliotrope, tmp_path: Path) -> None:
    assert heliotrope("init", "--auditor", OWNER).code == 0
    assert load_genesis(tmp_path / "home/genesis.json").auditors == (keypair(1).public,)
    late = heliotrope("init", "--home", tmp_path / "b", "--genesis", tmp_path / "home/genesis.json", "--auditor", OWNER)
    assert late.code == 2
    assert "--auditor goes with a new network" in late.err


# --- meters -----------------------------------------------------------------------------------------------------------


def test_a_meters_key_is_made_and_printed(heliotrope: Heliotrope, tmp_path: Path) -> None:
    path = tmp_path / "meter.key"
    first, again = heliotrope("meter", "key", path), heliotrope("meter", "key", path)
    assert first.code == 0
    assert first.out == again.out
    assert KeyPair(bytes.fromhex(path.read_text())).public.hex() == first.out.strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert heliotrope("meter", "key", tmp_path / "nowhere/meter.key").code == 2


def test_a_meter_without_a_key_or_owner_does_not_start(heliotrope: Heliotrope, tmp_path: Path) -> None:
    heliotrope("init")
    config = tmp_path / "meter.toml"
    config.write_text('owner = "nobody"\n')
    rest = ("--key", tmp_path / "meter.key", "--genesis", tmp_path / "home/genesis.json")
    said = heliotrope("meter", "run", config, *rest)
    assert said.code == 2
    assert "energy" in said.err
