"""`heliotrope up`: one node as a process, from its first line to its last.

Also `python -m node.daemon HOME [PARENT_PID]`, for whoever starts nodes as children: with a parent named, the node ends
when the parent does, however that dies.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from node.home.config import Config
from node.home.home import Home
from node.training.isolation import end_with_parent
from protocol.errors import LocalError

LOG_BYTES_MAX = 10 * 1024 * 1024

log = logging.getLogger("heliotrope")


def run(home: Home, *, config: Config | None = None, quiet: bool = False, trusts_ledger: bool = False) -> None:
    """Run the node in `home` until SIGINT or SIGTERM; `config` stands in for its file's, `trusts_ledger` as in
    `Runtime`. Raises LocalError if it cannot start, or had to stop."""
    from node.api.server import serve
    from node.running.runtime import Runtime

    # Before a log is begun in what may be no home, or another node's.
    runtime = Runtime(home, config, trusts_ledger=trusts_ledger)
    _log_to(home.log_path)
    calm_collector()

    def say_ready() -> None:
        if not quiet:
            print(f"{runtime.config.label} is up: API {runtime.api_url}, peers reach it at", flush=True)
            for address in runtime.addresses:
                print(f"  {address}", flush=True)
            print("Ctrl-C stops it.", flush=True)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, runtime.stopping.set)
        await runtime.run(serve, say_ready)

    try:
        asyncio.run(main())
    except Exception as error:
        log.critical("the node stops: %s", error, exc_info=not isinstance(error, LocalError))
        raise


def calm_collector() -> None:
    """Let Python's collector of cycles look at the ledger's records less often: they are many, they stay, and looking
    through them costs a tenth of the ingest of peers' entries."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _log_to(path: Path) -> None:
    """Everything to the home's log file, kept small; nothing to the terminal."""
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=2)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("heliotrope").setLevel(logging.INFO)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        end_with_parent(int(sys.argv[2]))
    try:
        run(Home(Path(sys.argv[1]).absolute()), quiet=True)
    except LocalError as failure:
        sys.exit(str(failure))
