"""Reads the energy source on time: once per slot, and whenever the core asks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from ledger.assurance import comparable
from ledger.ledger import Ledger
from node.energy.hardware.watch import Watch
from node.energy.metered import open_supply
from node.energy.source import SourceError
from node.energy.supply import EnergyConfig, Supply, reading_start_ms
from node.energy.watched import Health
from node.events import MeterFailed, MeterRead
from protocol.genesis import Genesis
from protocol.units import MS_PER_HOUR

FORECAST_MS = 72 * MS_PER_HOUR
FORECAST_SLOTS_MIN, FORECAST_SLOTS_MAX = 256, 1024  # the first: what a bid can carry
SAMPLE_S = 15.0  # guess, not measured: clouds pass in minutes
READ_MAX_S = 60.0  # sources have limits of their own; a library or a resolver of names may have none

log = logging.getLogger("heliotrope")

Answer = TypeVar("Answer")


class Meter:
    """Consecutive readings of one source, none overlapping. Reads queue behind each other."""

    def __init__(
        self,
        supply: Supply,
        genesis: Genesis,
        now_ms: Callable[[], int],
        read_until_ms: int,
        hardware: Watch | None = None,
    ) -> None:
        """`read_until_ms`: the end of the last attested interval; what lies before it is not read again. How the meter
        of the `hardware` stands is told with the sources."""
        self._supply = supply
        self._genesis = genesis
        self._now_ms = now_ms
        self._read_until_ms = read_until_ms
        self._hardware = hardware
        self._turn = asyncio.Lock()
        self._under_way: asyncio.Future[Any] | None = None  # the last question, until it is answered

    async def read(self) -> MeterRead | MeterFailed:
        """What the source says of the time since the last reading, and of the time to come.

        Whatever the source raises becomes MeterFailed: only the interval is lost. So does a clock that was set back by
        more than a slot, until it has caught up with what is attested, and a source that does not answer in time.
        """
        async with self._turn:
            slot_ms = self._genesis.slot_ms
            while (now_ms := self._now_ms()) <= self._read_until_ms:
                behind_ms = self._read_until_ms - now_ms
                if behind_ms > slot_ms:
                    reason = f"the clock stands {behind_ms} ms before the end of the last reading"
                    return MeterFailed(reason, await self._health(now_ms))
                await asyncio.sleep(self._genesis.clock.real_ms(behind_ms + 1) / 1000)
            start_ms = reading_start_ms(self._read_until_ms, now_ms, slot_ms)
            fault, reading = "", None
            try:
                reading = await self._ask(self._supply.read, start_ms, now_ms)
            except SourceError as error:
                fault = error.cause
            forecast = None
            try:
                forecast = await self._ask(self._supply.forecast, now_ms // slot_ms, forecast_slots(slot_ms), slot_ms)
            except SourceError as error:
                fault = fault or error.cause
            if fault or forecast is None:
                return MeterFailed(fault, await self._health(now_ms), forecast)
            self._read_until_ms = now_ms
            return MeterRead(reading, forecast, await self._health(now_ms))

    async def _ask(self, question: Callable[..., Answer], *about: int) -> Answer:
        """The supply's answer. Every other outcome is a SourceError: its own, a fault of its program, or no answer
        within READ_MAX_S. A call goes on when nobody waits for it any more, and a supply knows one thread at a time."""
        if self._under_way is not None and not self._under_way.done():
            raise SourceError("an energy source has not answered the last question yet", _HANGS)
        self._under_way = answering = asyncio.ensure_future(asyncio.to_thread(question, *about))
        await asyncio.wait({answering}, timeout=READ_MAX_S)
        if not answering.done():
            raise SourceError(f"an energy source has not answered within {READ_MAX_S:g} s", _HANGS)
        try:
            return answering.result()
        except SourceError:
            raise
        except Exception as error:
            log.exception("an energy source failed by a fault of its program; nothing is attested")
            raise SourceError(f"a fault of the energy source: {type(error).__name__}", "See the log.") from None

    async def _health(self, now_ms: int) -> tuple[Health, ...]:
        if self._hardware is None:
            return self._supply.health
        return (*self._supply.health, await self._hardware.health(now_ms))

    async def until_next_slot(self) -> None:
        """Sleep until the next slot begins; look at the power every SAMPLE_S meanwhile, however long a look takes."""
        slot_ms, now_ms, loop = self._genesis.slot_ms, self._now_ms(), asyncio.get_running_loop()
        ends_at_s = loop.time() + self._genesis.clock.real_ms(slot_ms - now_ms % slot_ms) / 1000
        while (left_s := ends_at_s - loop.time()) > SAMPLE_S:
            await asyncio.sleep(SAMPLE_S)
            async with self._turn:
                with contextlib.suppress(SourceError):  # the next reading tells it
                    await self._ask(self._supply.sample, self._now_ms())
        await asyncio.sleep(max(0.0, left_s))


def forecast_slots(slot_ms: int) -> int:
    """Three days of slots, where so many can be handled."""
    return max(FORECAST_SLOTS_MIN, min(FORECAST_MS // slot_ms, FORECAST_SLOTS_MAX))


def open_meter(
    config: EnergyConfig, ledger: Ledger, owner: bytes, now_ms: Callable[[], int], hardware: Watch | None
) -> Meter:
    """The meter of a node, going on from what its owner attested last. Raises LocalError for a source that cannot be
    opened."""
    device_id = comparable(config.device_id)
    # Without what its stores gave out: that was generated before, and its times may lie between others.
    attested = [a for a in ledger.state.attestations_of.get(owner, ()) if a.device_id == device_id]
    newest = attested[-1] if attested else None
    supply = open_supply(config, ledger.genesis.clock, newest.meter_end_j if newest else 0, attested)
    return Meter(supply, ledger.genesis, now_ms, newest.end_ms if newest else 0, hardware)


_HANGS = "See which source hangs: heliotrope energy test; its device or its way there is at fault."
