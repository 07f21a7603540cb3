"""Facts about what NVIDIA's devices drew. Their library is stood in for at the functions that its documents name."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import pytest

from node.energy.hardware.nvml import NvmlMeter
from node.energy.source import SourceError
from protocol.errors import LocalError


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):  # noqa: N801  # as the library names it
    pass


@dataclass
class FakeLibrary:
    """`energy_mj`: by device, None for one that does not count; `power_mw`: of each."""

    energy_mj: list[int | None]
    power_mw: list[int] = field(default_factory=lambda: [0, 0])
    fault: str = ""
    name: str | bytes = "Tesla V100"
    NVMLError = NVMLError
    NVMLError_NotSupported = NVMLError_NotSupported

    def nvmlInit(self) -> None:  # noqa: N802
        self._fail()

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.energy_mj)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, _: int) -> str | bytes:  # noqa: N802
        return self.name

    def nvmlDeviceGetTotalEnergyConsumption(self, index: int) -> int:  # noqa: N802
        self._fail()
        energy_mj = self.energy_mj[index]
        if energy_mj is None:
            raise NVMLError_NotSupported("Not Supported")
        return energy_mj

    def nvmlDeviceGetPowerUsage(self, index: int) -> int:  # noqa: N802
        self._fail()
        return self.power_mw[index]

    def _fail(self) -> None:
        if self.fault:
            raise NVMLError(self.fault)


def test_the_energy_of_all_devices_is_added_from_the_first_reading_on() -> None:
    library = FakeLibrary([1_000, 5_000])
    meter = NvmlMeter(library)
    first = meter.read_uj(0)
    library.energy_mj = [1_500, 5_007]
    assert meter.read_uj(60_000) - first == 507_000
    assert (meter.name, meter.uncertainty_permille, meter.period_s) == ("NVML 2 x Tesla V100", 50, 60)


def test_a_device_that_does_not_count_is_sampled() -> None:
    library = FakeLibrary([None], [100_000])
    meter = NvmlMeter(library)
    first = meter.read_uj(0)
    library.power_mw = [200_000]
    assert meter.read_uj(2_000) - first == 150 * 2 * 1_000_000  # 150 W for 2 s
    assert (meter.uncertainty_permille, meter.period_s) == (100, 1)


def test_between_samples_too_far_apart_nobody_knows() -> None:
    library = FakeLibrary([None], [100_000])
    meter = NvmlMeter(library)
    first = meter.read_uj(0)
    with pytest.raises(SourceError, match="10001 ms since the last sample"):
        meter.read_uj(10_001)
    assert meter.read_uj(10_002) - first == 100_000


def test_a_counter_that_falls_is_told_and_counts_on_from_there() -> None:
    library = FakeLibrary([1_000, 9])
    meter = NvmlMeter(library)
    first = meter.read_uj(0)
    library.energy_mj = [10, 20]
    with pytest.raises(SourceError, match="the counter of device 0 fell from 1000 to 10 mJ"):
        meter.read_uj(1)
    library.energy_mj = [12, 21]
    assert meter.read_uj(2) - first == 3_000


def test_a_driver_that_fails_is_told_and_counts_on_when_it_is_back() -> None:
    library = FakeLibrary([1_000])
    meter = NvmlMeter(library)
    first = meter.read_uj(0)
    library.fault = "GPU is lost"
    with pytest.raises(SourceError, match="NVML 1 x Tesla V100 does not answer: GPU is lost"):
        meter.read_uj(1)
    library.fault, library.energy_mj = "", [2_000]
    assert meter.read_uj(2) == first
    library.energy_mj = [2_001]
    assert meter.read_uj(3) - first == 1_000


def test_a_name_in_bytes_is_read_too() -> None:
    assert NvmlMeter(FakeLibrary([1], name=b"Tesla V100")).name == "NVML 1 x Tesla V100"


def test_refuse_a_machine_without_devices() -> None:
    with pytest.raises(SourceError, match="knows no device"):
        NvmlMeter(FakeLibrary([]))


def test_refuse_a_machine_without_a_driver() -> None:
    with pytest.raises(SourceError, match="no NVIDIA driver answers: Driver Not Loaded"):
        NvmlMeter(FakeLibrary([], fault="Driver Not Loaded"))


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(LocalError, match=r"heliotrope\[nvml\]"):
        NvmlMeter()


def test_the_real_library_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_to_load(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("pynvml.nvmlLib", None)
    monkeypatch.setattr("pynvml.CDLL", nothing_to_load)
    with pytest.raises(SourceError, match="no NVIDIA driver answers: NVML Shared Library Not Found"):
        NvmlMeter()
