"""The main job, as a newcomer runs it: five processes, real training, one of them killed on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.nodes import eventually, processes_naming

HELIOTROPE = [sys.executable, "-m", "node"]
FLIPS = 40


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that `heliotrope demo --out` left, and what it printed into a pipe."""
    out = tmp_path_factory.mktemp("demo") / "out"
    nodes = tmp_path_factory.mktemp("nodes")
    ended = subprocess.run(
        [*HELIOTROPE, "demo", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1", "TMPDIR": str(nodes)},
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    assert processes_naming(str(nodes)) == []
    return out, ended.stdout


pytestmark = pytest.mark.timeout(500)


def test_demo_trains_on_the_greenest_peers_and_replaces_the_killed_one(demo: tuple[Path, str]) -> None:
    report = json.loads((demo[0] / "report.json").read_text())
    assert (report["peers"], report["shards"]) == (5, 3)
    assert report["replaced_shards"] >= 1
    assert report["killed"] in {p["peer"] for p in report["placements"] if p["status"] == "revoked"}
    first = [choice["peer"] for choice in report["choices"][:5] if choice["verdict"] == "chosen"]
    assert sorted(first) == ["bergen-hydro", "esbjerg-wind", "valencia-solar"]
    assert all(choice["reason"] for choice in report["choices"])
    assert report["loss"]["last"] < 0.5 * report["loss"]["first"]
    assert report["sample_word_share"] > 0.5
    assert 0 < report["carbon_g"] < report["baseline_carbon_g"]["grid_average"]
    assert report["carbon_g"] < report["baseline_carbon_g"]["cheapest"]
    assert report["heads_equal"]


def test_demo_says_how_every_gram_was_found(demo: tuple[Path, str]) -> None:
    printed = demo[1]
    assert "\x1b" not in printed
    for line in printed.splitlines():
        if "gCO2e" in line and not line.lstrip().startswith("receipt"):
            assert "modelled, A0" in line, line
    assert printed.count("ledger verify: OK") == 4


def test_demo_leaves_files_that_others_can_read(demo: tuple[Path, str]) -> None:
    out = demo[0]
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "sample.txt").stat().st_size > 100
    with (out / "checkpoint.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        assert "F32" in {t["dtype"] for t in json.loads(file.read(length)).values() if "dtype" in t}


def test_exported_ledger_verifies_where_no_node_ever_ran(demo: tuple[Path, str], tmp_path: Path) -> None:
    entries = json.loads((demo[0] / "report.json").read_text())["ledger_entries"]
    ended = verify(demo[0] / "ledger.bin", tmp_path)
    assert ended.returncode == 0, ended.stderr
    words = ended.stdout.split("OK (")[1]
    assert entries <= int(words.split()[0]) <= entries + 20  # attestations go on until the export


def test_any_flipped_bit_of_the_export_is_found_and_named(demo: tuple[Path, str], tmp_path: Path) -> None:
    whole = (demo[0] / "ledger.bin").read_bytes()
    chance = random.Random(len(whole))
    for _ in range(FLIPS):
        at = chance.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        path = tmp_path / "flipped.bin"
        path.write_bytes(flipped)
        ended = verify(path, tmp_path)
        assert ended.returncode == 5, f"bit {at} of {8 * len(whole)}: {ended.stdout}{ended.stderr}"
        assert "FAILED at byte" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_stranger_repeats_every_matching_of_the_job_from_the_export_alone(
    demo: tuple[Path, str], tmp_path: Path
) -> None:
    path = str(demo[0] / "ledger.bin")
    shown = ledger(tmp_path, "show", "--kind", "job", "--json", "--file", path)
    (job,) = json.loads(shown.stdout)["entries"]
    ended = ledger(tmp_path, "audit", job["id"], "--json", "--file", path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert len(found["awards"]) >= 2  # one of them for the shard of the killed peer
    assert all(award["follows"] for award in found["awards"])
    report = json.loads((demo[0] / "report.json").read_text())
    assert found["totals"]["lost_energy_j"] == report["lost_energy_j"]


def test_a_stranger_finds_the_same_grams_from_the_export_alone(demo: tuple[Path, str], tmp_path: Path) -> None:
    path = str(demo[0] / "ledger.bin")
    report = json.loads((demo[0] / "report.json").read_text())
    shown = ledger(tmp_path, "show", "--kind", "job", "--json", "--file", path)
    (job,) = json.loads(shown.stdout)["entries"]
    ended = heliotrope(tmp_path, "job", "carbon", job["id"], "--json", "--file", path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found, told = json.loads(ended.stdout), report["carbon"]
    assert found["location"]["carbon_ug"] == round(report["carbon_g"] * 10**6)
    for name in ("location", "market", "carbon_free", "marginal", "sci_per_token", "shares", "counterfactuals"):
        assert found[name] == told[name], name


def verify(path: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return ledger(home, "verify", str(path))


def ledger(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return heliotrope(home, "ledger", *arguments)


def heliotrope(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HELIOTROPE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HELIOTROPE_HOME": str(home / "nobody")},
    )


@pytest.fixture
def heeding_ctrl_c() -> Iterator[None]:
    """As in a terminal's foreground: a shell starts its background jobs, and all below them, deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding_ctrl_c")
def test_ctrl_c_ends_the_demo_and_leaves_no_process_behind(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [*HELIOTROPE, "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    eventually(lambda: len(processes_naming(str(tmp_path))) >= 5 and len(list(tmp_path.glob("*/*/runtime.json"))) == 5)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in errors
    assert processes_naming(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []
