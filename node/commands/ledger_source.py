"""Whom a command asks about a ledger: the node that runs in a home, else what that home holds, or an exported file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from cyclopts import Parameter

from node.commands.options import client_of, home_of
from node.commands.progress import progress
from protocol.errors import LocalError, Unreachable

if TYPE_CHECKING:
    from node.home.home import Home

FileOption = Annotated[
    Path | None,
    Parameter(name=["--file", "-f"], help="Ask an exported ledger instead of a node; it is checked first."),
]
EntryArgument = Annotated[str, Parameter(help="An entry's id, or its first digits.")]


class Source(Protocol):
    """What a running node and a ledger without one both answer: the documents of the API."""

    def heads(self) -> dict[str, Any]: ...

    def entries(
        self, after: int = 0, *, author: str | None = None, kind: str | None = None, job: str | None = None
    ) -> Iterator[dict[str, Any]]: ...

    def jobs(self) -> dict[str, Any]: ...

    def forks(self) -> dict[str, Any]: ...

    def proof(self, entry_id: str) -> bytes: ...

    def audit(self, job_id: str) -> dict[str, Any]: ...

    def carbon(self, job_id: str) -> dict[str, Any]: ...

    def verify(self) -> dict[str, Any]: ...


@contextmanager
def source_of(home: Path | None, file: Path | None = None, *, quiet: bool) -> Iterator[Source]:
    """Raises LocalError: no node and no ledger is there, or the file does not verify."""
    from node.home.offline import open_archive, open_home

    if file is not None:
        with progress("checking", size_of(file), quiet=quiet) as tell, open_archive(file, tell) as offline:
            yield offline
        return
    place = home_of(home)
    live = _running(home, place)
    if live is not None:
        yield live
        return
    with open_home(place) as offline:
        yield offline


def stopped_home(home: Path | None, work: str) -> Home:
    """A home whose ledger this command may change. Raises LocalError where a node runs on it, or none ever did."""
    place = home_of(home)
    if _running(home, place) is not None:
        raise LocalError(
            "HEL-LEDGER-005",
            f"a node runs on {place.path}, and {work} needs its ledger alone",
            "Stop the node first, and start it again afterwards.",
        )
    return place


def the_one(source: Source, digits: str) -> dict[str, Any]:
    """The entry whose id begins with these digits. Raises LocalError unless there is exactly one."""
    found = [entry for entry in source.entries() if entry["id"].startswith(digits.lower())]
    if len(found) != 1:
        cause = f"{len(found) or 'no'} entries have ids that begin with {digits[:64]!r}"
        raise LocalError("HEL-LEDGER-010", cause, "List them with: heliotrope ledger show")
    return found[0]


def size_of(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _running(home: Path | None, place: Home) -> Source | None:
    """The node that runs here; None where it is stopped. Raises Unreachable where there never was one."""
    try:
        client = client_of(home)
        client.node()
    except Unreachable:
        if not place.genesis_path.exists():
            raise
        return None
    return client
