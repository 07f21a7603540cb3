"""A reference meter: reads a counter through any source, signs it with a key of its own, and answers by HTTP.

    GET /v1/reading     the counter now, signed; 503 and the reason while the device behind it gives none

It stands for a meter in a sealed box: the key is worth as much as whoever can reach it. Anybody may ask; what it says
is no secret, and nobody can make it sign anything else.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from node.energy.profile import Profile
from node.energy.signing import PATH, Signer
from node.energy.source import Kind, Reading, Source, SourceError
from node.energy.supply import EnergyConfig
from node.home.secret import read_secret, write_secret
from node.listening import listening
from protocol.errors import LocalError
from protocol.genesis import Clock
from protocol.identity import KeyPair

log = logging.getLogger("heliotrope.meter")


class MeterConfig(BaseModel):
    """`meter.toml`. `energy` is the section of the owner's `config.toml`, with the source of generation that this meter
    reads; without one it stands for a declared profile."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    owner: Annotated[str, Field(min_length=1, max_length=64)]  # peer id or key of the node that it measures for
    host: Annotated[str, Field(min_length=1, max_length=64)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8480
    energy: EnergyConfig


class ProfileCounter:
    """The declared profile's counter, for trying things out: it says that it is modelled."""

    kind = Kind.COUNTER

    def __init__(self, config: EnergyConfig) -> None:
        self._profile = Profile(config)

    def read(self, now_ms: int) -> Reading:
        r = self._profile.read(now_ms - 1, now_ms)
        return Reading(self.kind, r.meter_end_j, now_ms, now_ms, r.method, r.uncertainty_permille, r.source)


def counter_of(config: EnergyConfig) -> Source:
    """What the meter reads. Raises LocalError for a source that is no counter: a sum of powers could start anew, and
    would be signed twice."""
    if config.generation is None:
        return ProfileCounter(config)
    source = config.generation.open(config.place)
    if source.kind is not Kind.COUNTER:
        raise LocalError(
            "HEL-METER-001",
            f"[energy.generation] gives {source.kind.value}; a meter signs a counter",
            "Name the device's counter of energy.",
        )
    return source


def load_key(path: Path) -> KeyPair:
    """The meter's key. Raises Refused if others could have read it, LocalError if there is none."""
    raw = read_secret(path, f"Make one with: heliotrope meter key {path}").strip()
    try:
        return KeyPair(bytes.fromhex(raw))
    except ValueError:
        cause = f"{path} holds no key: 64 hexadecimal digits are expected"
        raise LocalError("HEL-METER-002", cause, f"Make one elsewhere with: heliotrope meter key {path}") from None


def make_key(path: Path, seed: bytes) -> KeyPair:
    """Write a new key. Raises FileExistsError: a meter's key is its identity."""
    write_secret(path, seed.hex())
    return KeyPair(seed)


@asynccontextmanager
async def serve(signer: Signer, source: Source, clock: Clock, host: str, port: int) -> AsyncIterator[str]:
    """Answer until the block ends; yields the URL. Raises LocalError for a port that is taken."""
    turn = asyncio.Lock()

    async def reading(_: web.Request) -> web.Response:
        async with turn:  # a source is asked by one thread at a time, and signatures are in the order of time
            try:
                now_ms = time.time_ns() // 10**6
                read = await asyncio.to_thread(source.read, now_ms)
                said = signer.sign(read, clock.network_time_ms(read.end_ms))
            except SourceError as error:
                log.warning("no reading: %s", error.cause)
                return web.json_response({"fault": error.cause, "remedy": error.remedy}, status=503)
        return web.Response(text=said.model_dump_json(), content_type="application/json")

    application = web.Application()
    application.router.add_get(PATH, reading)

    def refusal(reason: str) -> LocalError:
        return LocalError("HEL-METER-003", f"{host}:{port} cannot be listened on: {reason}", "Choose another port.")

    async with listening(application, host, port, refusal) as url:
        yield url


def run(signer: Signer, config: MeterConfig, clock: Clock, on_ready: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM."""
    source = counter_of(config.energy)

    async def main() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        async with serve(signer, source, clock, config.host, config.port) as url:
            on_ready(url)
            await stopping.wait()

    asyncio.run(main())
