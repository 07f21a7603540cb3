"""Reads the meter in the hardware while workers train, and tells each worker's part.

The meter is read at least once in its period, and whenever a worker comes, goes or has finished a round; on a thread,
since a driver may take its time. Where a reading fails that is logged once, until the next good one, and the rounds
around it count as modelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Hashable
from pathlib import Path

from node.energy.hardware.nvml import NvmlMeter
from node.energy.hardware.rapl import RaplMeter
from node.energy.hardware.shares import Shares
from node.energy.power import Measured, PowerMeter, PowerName
from node.energy.source import Kind, Reading, SourceError
from node.energy.watched import Health

READ_MAX_S = 5.0  # a driver whose device is lost may never answer

log = logging.getLogger("heliotrope")


class Watch:
    """`name` is how people know the meter. `cpu_ms`: processor time of a process so far, None if it is gone. `now_ms`:
    of a clock that never jumps."""

    def __init__(
        self,
        name: str,
        meter: PowerMeter,
        cpu_ms: Callable[[int], int | None] | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._name = name
        self._meter = meter
        self._cpu_ms = cpu_ms or process_cpu_ms
        self._now_ms = now_ms or monotonic_ms
        self._shares: Shares[Hashable] = Shares(meter.name, meter.uncertainty_permille)
        self._pids: dict[Hashable, int] = {}
        self._reading = asyncio.Lock()
        self._alone = threading.Lock()
        self._total_uj: int | None = None  # at the last good reading
        self._total_at_ms = 0
        self._fault: SourceError | None = None  # of the last reading
        self._failures = 0
        self._periodic: asyncio.Task[None] | None = None

    async def sit(self, key: Hashable, pid: int) -> None:
        """A worker begins."""
        async with self._reading:
            await (self._read() if self._pids else self._read_anew())
            self._pids[key] = pid
            self._shares.add(key, self._cpu_ms(pid) or 0)
        if self._periodic is None:
            self._periodic = asyncio.create_task(self._read_periodically())

    async def leave(self, key: Hashable) -> None:
        """A worker is about to end, or was never here. Its last part must be read while its process can be: or that
        would fall to the others."""
        async with self._reading:
            if key in self._pids:
                await self._read()
                del self._pids[key]
                self._shares.remove(key)
        if not self._pids and self._periodic is not None:
            self._periodic.cancel()
            self._periodic = None

    async def take(self, key: Hashable) -> Measured | None:
        """What the worker drew since this was asked last; None where the meter cannot tell."""
        async with self._reading:
            await self._read()
            return self._shares.take(key)

    async def health(self, now_ms: int) -> Health:
        """How the meter stands, at a moment of network time."""
        async with self._reading:
            if not self._pids:
                await self._read_anew()
        reading = None
        if self._total_uj is not None:
            at_ms = max(0, now_ms - (self._now_ms() - self._total_at_ms))
            reading = Reading(
                kind=Kind.COUNTER,
                value=self._total_uj // 1_000_000,
                start_ms=at_ms,
                end_ms=at_ms,
                method="metered",
                uncertainty_permille=self._meter.uncertainty_permille,
                provenance=self._meter.name,
            )
        fault, remedy = ("", "") if self._fault is None else (self._fault.cause, self._fault.remedy)
        return Health(self._name, Kind.COUNTER, reading, self._failures, fault, remedy, retry_at_ms=0)

    async def _read(self) -> None:
        at_ms = self._now_ms()
        total_uj: int | None = None
        try:
            total_uj = await self._read_meter(at_ms)
        except SourceError as error:
            if self._fault is None:
                log.warning("rounds count as modelled: %s", error)
            self._fault, self._failures = error, self._failures + 1
        else:
            self._fault, self._failures = None, 0
            self._total_uj, self._total_at_ms = total_uj, at_ms
        used = {key: self._cpu_ms(pid) for key, pid in self._pids.items()}
        self._shares.advance(at_ms, total_uj, {key: ms for key, ms in used.items() if ms is not None})

    async def _read_anew(self) -> None:
        """After a time without work the first reading only says where counting begins."""
        with contextlib.suppress(SourceError):
            await self._read_meter(self._now_ms())
        await self._read()

    async def _read_meter(self, at_ms: int) -> int:
        try:
            async with asyncio.timeout(READ_MAX_S):
                return await asyncio.to_thread(self._read_alone, at_ms)
        except TimeoutError:
            raise SourceError(f"{self._meter.name} does not answer within {READ_MAX_S:g} s", "See dmesg.") from None

    def _read_alone(self, at_ms: int) -> int:
        """A reading goes on when nobody waits for it any more, and the meter knows one thread at a time."""
        if not self._alone.acquire(blocking=False):
            raise SourceError(f"{self._meter.name} has not answered the last question yet", "See dmesg.")
        try:
            return self._meter.read_uj(at_ms)
        finally:
            self._alone.release()

    async def _read_periodically(self) -> None:
        while True:
            await asyncio.sleep(self._meter.period_s)
            async with self._reading:
                await self._read()


def open_watch(power: PowerName) -> Watch | None:
    """What `[machine] power` names; None where power is declared. Raises LocalError where there is no such meter, or it
    may not be read."""
    match power:
        case "nvml":
            return Watch("machine.power (nvml)", NvmlMeter())
        case "rapl":
            return Watch("machine.power (rapl)", RaplMeter())
        case _:
            return None


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def process_cpu_ms(pid: int) -> int | None:
    """User and system time of all threads of a process; see proc_pid_stat(5), fields 14 and 15."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")
