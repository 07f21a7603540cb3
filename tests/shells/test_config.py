"""Facts about a node's home: what is written is read back, and a secret that others may know is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from node.energy.supply import EnergyConfig
from node.home.config import Config, LedgerConfig, LinkConfig, MachineConfig, SettlementConfig, load_config, render
from node.home.home import Home
from node.home.identity import DSN_VARIABLE, create_home, load_dsn, load_keypair, load_token
from node.home.lasting import load_peers
from node.home.secret import write_private
from protocol.errors import LocalError, Refused
from protocol.identity import peer_id
from tests.builders import digest, genesis, keypair

SITE = EnergyConfig(
    device_id="meter",
    zone="GB",
    latitude=51.5,
    longitude=-0.00001,
    carrier="hydro",
    capacity_w=400,
    own_g_per_kwh=24,
)
CONFIG = Config(label="bergen", energy=SITE)
FRIEND = keypair(9).public


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "node")
    create_home(home, CONFIG, genesis())
    return home


BOOTSTRAP = tuple(
    f"/{place}/tcp/8471/p2p/{peer_id(FRIEND)}"
    for place in ("ip4/192.0.2.1", "ip6/2001:db8::1", "dns4/node.example", "dns6/a-node")
)


@pytest.mark.parametrize(
    "address",
    [
        "/dns/b",
        "/ip4/300.0.2.1/tcp/1/p2p/" + peer_id(FRIEND),
        "/ip4/192.0.2.1/tcp/0/p2p/" + peer_id(FRIEND),
        "/ip4/192.0.2.1/tcp/70000/p2p/" + peer_id(FRIEND),
        "/dns4/node..example/tcp/1/p2p/" + peer_id(FRIEND),
        "/ip4/192.0.2.1/tcp/1",
        "/ip4/192.0.2.1/tcp/1/p2p/" + "1" * 52,
    ],
)
def test_refuse_a_bootstrap_address_that_leads_to_nobody(address: str) -> None:
    with pytest.raises(ValidationError):
        LinkConfig(bootstrap=(address,))


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        CONFIG.model_copy(update={"label": 'quo"te \\ tab\t del\x7f 日本'}),
        CONFIG.model_copy(update={"link": LinkConfig(data_host="node.example", bootstrap=BOOTSTRAP)}),
        CONFIG.model_copy(update={"machine": MachineConfig(power="rapl")}),
        CONFIG.model_copy(
            update={
                "settlement": SettlementConfig(
                    driver="mutual-credit", limit_microcredits=5, limits_microcredits={peer_id(FRIEND): 7}
                )
            }
        ),
    ],
)
def test_what_is_rendered_is_read_back(home: Home, config: Config) -> None:
    home.config_path.write_text(render(config), encoding="utf-8")
    assert load_config(home) == config


def test_what_tells_the_draw_is_no_part_of_the_offer() -> None:
    measured = CONFIG.model_copy(update={"machine": MachineConfig(power="nvml")})
    assert measured.offer() == CONFIG.offer() is not None


def test_who_has_a_limit_of_its_own_may_owe_that_and_everybody_else_the_common_one() -> None:
    settlement = SettlementConfig(limit_microcredits=5, limits_microcredits={peer_id(FRIEND): 7})
    terms = CONFIG.model_copy(update={"settlement": settlement}).terms()
    assert (terms.limit_of(FRIEND), terms.limit_of(keypair(8).public)) == (7, 5)


def test_a_limit_for_somebody_who_is_no_peer_is_refused(home: Home) -> None:
    text = '\n[settlement]\nlimits_microcredits = { "nobody" = 7 }\n'
    home.config_path.write_text(render(CONFIG).split("\n[settlement]")[0] + text, encoding="utf-8")
    with pytest.raises(LocalError, match="'nobody' is no Ed25519 peer id"):
        load_config(home)


def test_a_new_home_and_its_secrets_are_its_owners_alone(home: Home) -> None:
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in (home.key_path, home.token_path)} == {0o600}
    assert load_keypair(home, genesis()).public != load_keypair(other(home), genesis()).public


def other(home: Home) -> Home:
    second = Home(home.path.with_name("second"))
    create_home(second, CONFIG, genesis())
    return second


def test_a_home_is_made_once(home: Home) -> None:
    key = home.key_path.read_bytes()
    with pytest.raises(LocalError, match="holds a node already") as failure:
        create_home(home, CONFIG, genesis())
    assert failure.value.code == "HEL-CONFIG-003"
    assert home.key_path.read_bytes() == key


def test_somebody_elses_directory_is_neither_used_nor_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "letters").write_text("dear aunt")
    with pytest.raises(LocalError, match="or other files"):
        create_home(Home(tmp_path), CONFIG, genesis())
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


def test_a_home_where_none_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="Not a directory") as failure:
        create_home(Home(tmp_path / "file" / "node"), CONFIG, genesis())
    assert failure.value.code == "HEL-CONFIG-004"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_read_or_write_is_refused(home: Home, mode: int) -> None:
    home.key_path.chmod(mode)
    with pytest.raises(Refused, match=f"mode {mode:04o}") as failure:
        load_keypair(home, genesis())
    assert failure.value.code == "HEL-KEY-001"
    assert f"chmod 600 {home.key_path}" in failure.value.remedy


@pytest.mark.parametrize(
    ("content", "code"),
    [("", "HEL-KEY-002"), ("00" * 31, "HEL-KEY-002"), ("letter", "HEL-KEY-002"), ("\udcff", "HEL-KEY-003")],
)
def test_a_file_without_a_key_is_named_and_not_quoted(home: Home, content: str, code: str) -> None:
    home.key_path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(LocalError) as failure:
        load_keypair(home, genesis())
    assert failure.value.code == code
    assert "letter" not in str(failure.value)
    assert "0xff" not in str(failure.value)


def test_a_devnet_key_serves_on_a_devnet_only(tmp_path: Path) -> None:
    home, devnet = Home(tmp_path / "node"), genesis(admission="devnet")
    create_home(home, CONFIG, devnet, digest("seed"))
    load_keypair(home, devnet)
    with pytest.raises(Refused, match="anyone can compute") as failure:
        load_keypair(home, genesis())
    assert failure.value.code == "HEL-KEY-004"


@pytest.mark.parametrize("content", ["", "\n", "日" * 40])
def test_a_token_that_lets_everybody_in_is_none(home: Home, content: str) -> None:
    home.token_path.write_text(content, encoding="utf-8")
    with pytest.raises(LocalError, match="holds no token") as failure:
        load_token(home)
    assert failure.value.code == "HEL-KEY-005"


@pytest.mark.parametrize("content", [b"", b"{", b'"a"', b"\xff", b"null", b'[["a"]]', b"[[1, 2]]"])
def test_a_damaged_address_book_is_an_empty_one(home: Home, content: bytes) -> None:
    home.peers_path.write_bytes(content)
    assert load_peers(home) == ()


def test_a_private_file_is_replaced_even_where_a_draft_was_left(home: Home) -> None:
    home.path.joinpath("peers.json.new").write_text("half")
    write_private(home.peers_path, '[["/ip4/192.0.2.1/tcp/1", 5]]')
    assert load_peers(home) == (("/ip4/192.0.2.1/tcp/1", 5),)
    assert stat.S_IMODE(home.peers_path.stat().st_mode) == 0o600


def test_blobs_are_served_on_the_address_of_the_link() -> None:
    assert LinkConfig().bind_host == "0.0.0.0"  # noqa: S104  # what is meant
    assert LinkConfig(listen="/ip6/::1/tcp/0").bind_host == "::1"


def test_a_ledger_in_a_file_has_no_address(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DSN_VARIABLE, "dbname=unused")
    assert load_dsn(home, LedgerConfig()) is None


def test_the_address_of_a_database_comes_from_the_environment_or_from_a_private_file(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LedgerConfig(store="postgres")
    monkeypatch.delenv(DSN_VARIABLE, raising=False)
    for content in (None, "\n"):
        if content is not None:
            write_private(home.dsn_path, content)
        with pytest.raises(LocalError) as missing:
            load_dsn(home, config)
        assert missing.value.code == "HEL-CONFIG-005"
    write_private(home.dsn_path, "dbname=ledger password=secret")
    assert load_dsn(home, config) == "dbname=ledger password=secret"
    monkeypatch.setenv(DSN_VARIABLE, "dbname=other")
    assert load_dsn(home, config) == "dbname=other"
    monkeypatch.delenv(DSN_VARIABLE)
    home.dsn_path.chmod(0o644)
    with pytest.raises(Refused) as failure:
        load_dsn(home, config)
    assert "secret" not in str(failure.value)
