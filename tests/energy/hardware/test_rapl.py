"""Facts about the energy counters of processors, on a made-up tree of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.energy.hardware.rapl import RaplMeter
from node.energy.source import SourceError
from tests.energy.hardware.powercap import RANGE_UJ, Powercap

AS_ROOT = os.geteuid() == 0


def test_it_counts_from_the_first_reading(tmp_path: Path) -> None:
    tree = Powercap(tmp_path)
    tree.set("0", 5_000_000)
    meter = RaplMeter(tmp_path)
    first = meter.read_uj(0)
    tree.set("0", 7_500_000)
    assert meter.read_uj(1_000) - first == 2_500_000
    assert meter.name == "RAPL package-0 (all programs)"


def test_packages_and_their_memories_are_added_and_nothing_counts_twice(tmp_path: Path) -> None:
    zones = {"0": "package-0", "0_0": "core", "0_1": "dram", "1": "package-1", "2": "psys"}
    tree = Powercap(tmp_path, **zones)
    meter = RaplMeter(tmp_path)
    first = meter.read_uj(0)
    for power, zone in enumerate(zones):
        tree.set(zone, 10**power)
    assert meter.read_uj(1) - first == 1 + 100 + 1_000
    assert meter.name == "RAPL package-0, dram, package-1 (all programs)"


def test_a_counter_that_comes_round_goes_on(tmp_path: Path) -> None:
    tree = Powercap(tmp_path)
    tree.set("0", RANGE_UJ - 100)
    meter = RaplMeter(tmp_path)
    first = meter.read_uj(0)
    tree.set("0", 50)
    assert meter.read_uj(1_000) - first == 150


def test_after_so_long_that_it_may_have_come_round_unseen_nothing_is_told(tmp_path: Path) -> None:
    tree = Powercap(tmp_path)
    meter = RaplMeter(tmp_path)
    first = meter.read_uj(0)
    tree.set("0", 1_000)
    with pytest.raises(SourceError, match="262144 ms since the last reading; after 262143 ms"):
        meter.read_uj(262_144)
    tree.set("0", 1_700)
    assert meter.read_uj(262_145) - first == 700


def test_it_is_read_often_enough(tmp_path: Path) -> None:
    Powercap(tmp_path)
    assert RaplMeter(tmp_path).period_s * 1000 * 1_000_000 * 2 < RANGE_UJ  # twice at 1000 W


def test_refuse_a_machine_without_counters(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SourceError, match="no energy counter of a processor"):
            RaplMeter(directory)


@pytest.mark.parametrize("content", ["", "-5", "many", "0x10", "9" * 30])
def test_refuse_what_is_no_counter(tmp_path: Path, content: str) -> None:
    Powercap(tmp_path).set("0", content)
    with pytest.raises(SourceError, match="which is no counter"):
        RaplMeter(tmp_path)


def test_a_counter_that_only_root_may_read_comes_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Powercap(tmp_path)
    counter = tree.path / "intel-rapl:0" / "energy_uj"
    counter.chmod(0)
    if AS_ROOT:  # whom no mode keeps out
        opened = Path.open

        def refuse(path: Path, *args: object, **named: object) -> object:
            if path == counter:
                raise PermissionError(13, "Permission denied")
            return opened(path, *args, **named)  # type: ignore[call-overload]

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match="may be read by root alone") as raised:
        RaplMeter(tmp_path)
    assert "chgrp" in raised.value.remedy


def test_a_counter_that_vanishes_is_told(tmp_path: Path) -> None:
    tree = Powercap(tmp_path)
    meter = RaplMeter(tmp_path)
    (tree.path / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        meter.read_uj(0)
