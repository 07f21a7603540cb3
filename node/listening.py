"""An HTTP server of this process, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from protocol.errors import LocalError

SHUTDOWN_TIMEOUT_S = 0.5  # open event streams never end by themselves


@asynccontextmanager
async def listening(
    application: web.Application, host: str, port: int, refusal: Callable[[str], LocalError]
) -> AsyncIterator[str]:
    """Answer by plain HTTP; yields the URL. Raises what `refusal` makes of the reason where the port cannot be had."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise refusal(error.strerror or str(error)) from None
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
