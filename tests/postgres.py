"""A real PostgreSQL server for the tests, from Debian's packages: a cluster of its own in a temporary directory,
reached by a Unix socket, gone with the tests."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

START_TIMEOUT_S = 30
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # a killed server loses what it had not written; the kernel keeps the rest without it
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "20",
    "wal_writer_delay": "10s",  # what was not committed durably stays in memory, for a kill to take
    "autovacuum": "off",
}


class Server:
    """A running cluster. `kill` and `start` again are its crash and recovery."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self._numbers = itertools.count()
        # PostgreSQL refuses to run as root.
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        os.chown(directory, self._user.pw_uid, self._user.pw_gid)
        initdb = ["initdb", "--no-sync", "--auth=trust", "--username=tests", "--encoding=UTF8", "--locale=C"]
        subprocess.run(
            self._command(*initdb, "--pgdata=data"), **self._as_user(), check=True, stdout=subprocess.DEVNULL
        )
        self.start()

    def start(self) -> None:
        settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        command = self._command("postgres", "-D", "data", "-k", str(self._directory), *settings)
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, **self._as_user(), stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.dsn("postgres")).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"PostgreSQL does not start:\n{(self._directory / 'log').read_text()[-2000:]}")
                time.sleep(0.02)

    def kill(self) -> None:
        """As a power cut takes it, but for the disk: PostgreSQL's own word for this is an immediate shutdown."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(START_TIMEOUT_S)

    def database(self) -> str:
        """The address of a new, empty database."""
        name = f"ledger_{next(self._numbers)}"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.dsn(name)

    def dsn(self, database: str) -> str:
        return f"host={self._directory} user=tests dbname={database}"

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(self._programs / program), *arguments]

    def _as_user(self) -> dict[str, Any]:
        ids = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return {"cwd": self._directory, **(ids if os.geteuid() == 0 else {})}


def find_programs() -> Path | None:
    """Where the newest server's programs are: Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def running() -> Iterator[Server]:
    """A server for as long as it is needed. Where PostgreSQL is missing the test is skipped; on a machine that judges
    changes it fails."""
    programs = find_programs()
    if programs is None:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("PostgreSQL is not installed, and nothing was tested of the store in it: run make setup-dev")
    with tempfile.TemporaryDirectory(prefix="heliotrope-", ignore_cleanup_errors=True) as directory:
        server = Server(programs, Path(directory))
        try:
            yield server
        finally:
            server.kill()  # an orderly end would write down what nobody needs
