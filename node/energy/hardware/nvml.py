"""NVML: what NVIDIA's devices drew, from their driver.

From Volta on a device counts its energy (nvmlDeviceGetTotalEnergyConsumption, mJ since the driver was loaded). An older
one only tells its power of the moment (nvmlDeviceGetPowerUsage, mW): it is read every second, and taken as linear in
between. All devices of the machine are added up. https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

from typing import Any

from node.energy.extras import missing
from node.energy.source import SourceError

COUNTED_PERIOD_S = 60.0
SAMPLED_PERIOD_S = 1.0
SAMPLE_GAP_MAX_MS = 10_000  # a longer silence tells nothing of what was drawn meanwhile
# The vendor promises 5 % of the power; what happens between two samples is a guess on top.
COUNTED_UNCERTAINTY_PERMILLE = 50
SAMPLED_UNCERTAINTY_PERMILLE = 100


class NvmlMeter:
    """All devices of this machine. `library`: pynvml, or what stands in for it."""

    def __init__(self, library: Any = None) -> None:
        """Raises LocalError if pynvml is missing, SourceError without a driver or a device."""
        self._library = library = library or _pynvml()
        try:
            library.nvmlInit()
            self._devices = [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]
            self._is_counted = [self._counts(device) for device in self._devices]
        except library.NVMLError as error:
            raise SourceError(
                f"no NVIDIA driver answers: {error}", 'See whether nvidia-smi works; or say power = "declared".'
            ) from None
        if not self._devices:
            raise SourceError("the NVIDIA driver knows no device", 'Say power = "declared".')
        all_counted = all(self._is_counted)
        self.name = f"NVML {len(self._devices)} x {self._first_name()}"[:100]
        self.period_s = COUNTED_PERIOD_S if all_counted else SAMPLED_PERIOD_S
        self.uncertainty_permille = COUNTED_UNCERTAINTY_PERMILLE if all_counted else SAMPLED_UNCERTAINTY_PERMILLE
        self._at_ms = 0
        self._last: list[int] | None = None  # mJ of those that count, mW of those that do not
        self._total_uj = 0

    def read_uj(self, at_ms: int) -> int:
        library = self._library
        try:
            now = [
                library.nvmlDeviceGetTotalEnergyConsumption(device)
                if is_counted
                else library.nvmlDeviceGetPowerUsage(device)
                for device, is_counted in zip(self._devices, self._is_counted, strict=True)
            ]
        except library.NVMLError as error:
            self._last = None
            raise SourceError(f"{self.name} does not answer: {error}", "See nvidia-smi and dmesg.") from None
        last, waited_ms = self._last, at_ms - self._at_ms
        self._last, self._at_ms = now, at_ms
        if last is not None:
            self._total_uj += sum(
                self._risen_uj(index, before, after, waited_ms)
                for index, (before, after) in enumerate(zip(last, now, strict=True))
            )
        return self._total_uj

    def _risen_uj(self, index: int, before: int, after: int, waited_ms: int) -> int:
        if not self._is_counted[index]:
            if waited_ms > SAMPLE_GAP_MAX_MS:
                raise SourceError(
                    f"{waited_ms} ms since the last sample of power, {SAMPLE_GAP_MAX_MS} ms are allowed",
                    "See whether the machine slept, or is overloaded.",
                )
            return (before + after) * waited_ms // 2  # 1 mW for 1 ms is 1 µJ
        if after < before:
            raise SourceError(f"the counter of device {index} fell from {before} to {after} mJ", "Was it reset?")
        return (after - before) * 1000

    def _counts(self, device: Any) -> bool:
        try:
            self._library.nvmlDeviceGetTotalEnergyConsumption(device)
        except self._library.NVMLError_NotSupported:
            self._library.nvmlDeviceGetPowerUsage(device)
            return False
        return True

    def _first_name(self) -> str:
        name = self._library.nvmlDeviceGetName(self._devices[0])
        return name.decode(errors="replace") if isinstance(name, bytes) else str(name)  # bytes in older releases


def _pynvml() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise missing("nvml", error) from None
    return pynvml
