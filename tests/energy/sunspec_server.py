"""A SunSpec device on loopback: pymodbus serves what a test lays into the registers."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

BASE = 40_000
REGISTERS = 1000
NOT_IMPLEMENTED = 0x8000


def text(value: str, registers: int) -> list[int]:
    padded = value.encode().ljust(2 * registers, b"\0")
    return [int.from_bytes(padded[at : at + 2], "big") for at in range(0, 2 * registers, 2)]


def common(serial: str = "SN123", maker: str = "Heliotrope") -> list[int]:
    """Model 1."""
    return [1, 66, *text(maker, 16), *text("Stand-in", 16), *text("", 8), *text("1.0", 8), *text(serial, 16), 1, 0x8000]


def inverter(
    model: int = 103, *, wh: int = 123_456_789, wh_scale: int = 0, w: int = 4321, w_scale: int = 0, state: int = 4
) -> list[int]:
    """Models 101 to 103: W at 12, WH at 22, St at 36."""
    registers = [0] * 50
    registers[12:14] = [w & 0xFFFF, w_scale & 0xFFFF]
    registers[22:25] = [wh >> 16, wh & 0xFFFF, wh_scale & 0xFFFF]
    registers[36] = state
    return [model, 50, *registers]


def float_inverter(model: int = 113, *, wh: float = 1000.0, w: float = 500.0, state: int = 4) -> list[int]:
    """Models 111 to 113: W at 20, WH at 30, St at 46."""
    registers = [0] * 60
    registers[20:22] = struct.unpack(">HH", struct.pack(">f", w))
    registers[30:32] = struct.unpack(">HH", struct.pack(">f", wh))
    registers[46] = state
    return [model, 60, *registers]


def meter(model: int = 203, *, exported: int = 2_000, imported: int = 7_000, scale: int = 1) -> list[int]:
    """Models 201 to 204: TotWhExp at 36, TotWhImp at 44, TotWh_SF at 52."""
    registers = [0] * 105
    registers[36:38] = [exported >> 16, exported & 0xFFFF]
    registers[44:46] = [imported >> 16, imported & 0xFFFF]
    registers[52] = scale & 0xFFFF
    return [model, 105, *registers]


def device(*models: Sequence[int]) -> list[int]:
    return [*text("SunS", 2), *(register for model in models for register in model), 0xFFFF, 0]


@dataclass
class SunSpecServer:
    """`registers` may be replaced while it runs; a `fault` is answered to every question. `connections` counts those
    made so far, and answers are cut off after `answer_bytes_max`."""

    registers: list[int]
    port: int = 0
    fault: ExcCodes | None = None
    answer_bytes_max: int = 1000
    connections: int = 0
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _server: ModbusTcpServer = field(init=False)

    def lay(self, *models: Sequence[int]) -> None:
        self.registers = device(*models)

    def drop_connections(self) -> None:
        """As devices do with idle ones."""

        async def drop() -> None:
            for handler in list(self._server.active_connections.values()):
                handler.close()

        asyncio.run_coroutine_threadsafe(drop(), self._loop).result(5)

    async def serve(self, ready: threading.Event) -> None:
        async def answer(
            _function: int, _start: int, _address: int, _count: int, current: list[int], _set: object
        ) -> ExcCodes | None:
            current[: len(self.registers)] = self.registers
            return self.fault

        def count(is_up: bool) -> None:
            self.connections += is_up

        def cut(is_sent: bool, data: bytes) -> bytes:
            """The header says how much follows: it is cut with the rest."""
            if not is_sent or len(data) <= self.answer_bytes_max:
                return data
            kept = data[: self.answer_bytes_max]
            return kept[:4] + (len(kept) - 6).to_bytes(2, "big") + kept[6:]

        everything = SimData(BASE, values=[0] * REGISTERS, datatype=DataType.REGISTERS)
        server = ModbusTcpServer(
            SimDevice(1, everything, action=answer), address=("127.0.0.1", 0), trace_connect=count, trace_packet=cut
        )
        self._loop, self._server = asyncio.get_running_loop(), server
        await server.serve_forever(background=True)
        self.port = cast(asyncio.Server, server.transport).sockets[0].getsockname()[1]
        ready.set()
        await server.serving

    def stop(self) -> None:
        ended = self._server.shutdown()  # type: ignore[no-untyped-call]
        asyncio.run_coroutine_threadsafe(ended, self._loop).result(5)


@contextmanager
def sunspec_server(*models: Sequence[int]) -> Iterator[SunSpecServer]:
    """A device that runs within the block."""
    server, ready = SunSpecServer(device(*models)), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(server.serve(ready),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        server.stop()
        thread.join(5)
