"""Facts about a devnet's files: `down` removes what `up` has made, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from node.devnet.commands import down
from node.devnet.network import KEEPERS_MAX, make
from node.home.approvals import read_approvals
from node.home.config import load_config
from node.home.identity import load_genesis
from protocol.errors import LocalError, Refused

SEED = 7


def test_a_devnet_is_removed_even_if_its_making_broke_off(tmp_path: Path) -> None:
    make(tmp_path / "net", 2, SEED)
    (tmp_path / "net" / "2-half").mkdir()
    assert down(tmp_path / "net") == 0
    assert not (tmp_path / "net").exists()
    assert down(tmp_path / "net") == 0


@pytest.mark.parametrize("form", ["--home={}", "{}"])
def test_a_node_that_was_started_by_hand_is_ended_too(tmp_path: Path, form: str) -> None:
    home = make(tmp_path / "net", 1, SEED)[0].home.path
    words = ("witness", "--home") if form == "{}" else ("witness",)
    code = "import time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, *words, form.format(home)], stdout=subprocess.PIPE) as stand_in:
        assert stand_in.stdout is not None
        stand_in.stdout.readline()
        ended = threading.Thread(target=stand_in.wait)  # as a shell reaps what it has started
        ended.start()
        assert down(tmp_path / "net") == 1
        ended.join()
    assert stand_in.returncode == -signal.SIGTERM


@pytest.mark.parametrize("foreign", ["letters", "node"])
def test_a_directory_with_anything_else_in_it_is_left_alone(tmp_path: Path, foreign: str) -> None:
    member = make(tmp_path, 1, SEED)[0]
    if foreign == "letters":
        (tmp_path / foreign).write_text("dear aunt")
    else:
        member.home.genesis_path.write_text(member.home.genesis_path.read_text().replace('"devnet"', '"open"'))
    with pytest.raises(Refused, match="nothing was removed"):
        down(tmp_path)
    assert member.home.key_path.exists()


@pytest.mark.parametrize(
    ("count", "witnesses", "auditors"), [(0, 0, 0), (-1, 0, 0), (1, -1, 0), (1, KEEPERS_MAX, 1), (1, 0, -1)]
)
def test_a_devnet_of_no_nodes_or_too_many_others_is_refused(
    tmp_path: Path, count: int, witnesses: int, auditors: int
) -> None:
    complaint = f"a devnet of {count} nodes, {witnesses} witnesses and {auditors} auditors"
    with pytest.raises(LocalError, match=complaint):
        make(tmp_path, count, SEED, witnesses, auditors)


def test_witnesses_stand_in_the_genesis_and_neither_sell_nor_buy(tmp_path: Path) -> None:
    *nodes, first, second = make(tmp_path / "net", 3, SEED, witnesses=2)
    for member in (*nodes, first, second):
        assert load_genesis(member.home.genesis_path).witnesses == (first.key, second.key)
        market = load_config(member.home).market
        assert (market.sells, market.buys) == ((True, True) if member in nodes else (False, False))
    for member in nodes:
        bootstrap = load_config(member.home).link.bootstrap
        assert {first.peer, second.peer} <= {address.rpartition("/")[2] for address in bootstrap}


def test_auditors_stand_in_the_genesis_and_have_approved_the_nodes_devices(tmp_path: Path) -> None:
    *nodes, witness, auditor = make(tmp_path / "net", 2, SEED, witnesses=1, auditors=1)
    genesis = load_genesis(nodes[0].home.genesis_path)
    assert (genesis.witnesses, genesis.auditors) == ((witness.key,), (auditor.key,))
    approvals = read_approvals(auditor.home.approvals_path)
    for member in nodes:
        approval = approvals.find(member.key, member.site.energy.device_id)
        assert approval is not None
        assert approval.device.capacity_w == member.site.energy.capacity_w
    assert not load_config(auditor.home).market.sells


def test_nodes_are_the_same_with_witnesses_as_without(tmp_path: Path) -> None:
    without, beside = make(tmp_path / "a", 2, SEED), make(tmp_path / "b", 2, SEED, witnesses=1)
    assert [(m.site, m.key) for m in without] == [(m.site, m.key) for m in beside[:2]]
