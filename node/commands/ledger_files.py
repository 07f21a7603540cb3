"""Ledgers as files, and the care of one's own: export, import, compact."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from node.commands.ledger_reads import file_facts
from node.commands.ledger_source import size_of, source_of, stopped_home
from node.commands.options import HomeOption, JsonOption, print_json
from node.commands.progress import progress

if TYPE_CHECKING:
    from node.home.offline import Offline


def export(
    file: Annotated[Path | None, Parameter(help="Where to write it; else ledger.bin or ledger.jsonl.")] = None,
    /,
    *,
    form: Annotated[
        Literal["bin", "jsonl"], Parameter(name="--format", help="Bytes, or JSON lines that people can read.")
    ] = "bin",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the ledger to a file that anyone can check, and check it. A node need not run."""
    from node.client import Client
    from node.home.archives import rewrite
    from node.home.offline import Offline

    path = file or Path(f"ledger.{form}")
    with source_of(home, quiet=as_json) as source, progress("writing", None, quiet=as_json) as tell:
        if isinstance(source, Offline):
            source.export(path, form, _now_ms(source), tell)
        elif isinstance(source, Client):
            source.export(path, tell)
            rewrite(path, form)
    facts = {"file": str(path), "bytes": path.stat().st_size, **file_facts(path, as_json)}
    if as_json:
        print_json(facts)
    else:
        print(f"{path}: {facts['entries']} entries, {facts['bytes']} bytes, fingerprint {facts['fingerprint']}")


def import_(
    file: Annotated[Path, Parameter(help="An exported ledger, in bytes or JSON lines.")],
    /,
    *,
    dry_run: Annotated[
        bool, Parameter(negative="", show_default=False, help="Say what would be done, and change nothing.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check an exported ledger, and take what continues the own one into a home whose node is stopped."""
    from node.commands.show import say
    from node.commands.show_ledger import forks
    from node.home.offline import open_home

    place = stopped_home(home, "an import")
    with open_home(place) as own, progress("checking", size_of(file), quiet=as_json) as tell:
        found = own.take(file, _now_ms(own), dry_run, tell)
    if as_json:
        print_json(found)
        return
    act = "would be added" if dry_run else "added"
    say(f"{act}: {found['added']} entries, of them {found['own']} of this node's own")
    say(f"known already: {found['known']}, left out: {found['left_out']}, kept aside: {found['aside']}")
    say(f"checkpoints: {found['checkpoints']}, recorded matchings: {found['matchings']}")
    if found["forks"]:
        say("forks that were not known here:")
        forks(found)
    if found["own_fork"]:
        say("THIS NODE'S KEY HAS SIGNED TWO HISTORIES: make a new node, and let nobody use this key again.")


def compact(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make a stopped node's ledger small and its next start quick: write the snapshot, drop recorded matchings that no
    award names, give free pages back."""
    from node.home.offline import open_home

    place = stopped_home(home, "compacting")
    with progress("compacting", None, quiet=as_json), open_home(place) as own:
        facts: dict[str, Any] = own.compact()
    if as_json:
        print_json(facts)
        return
    where = place.ledger_path if place.ledger_path.exists() else "the database"
    print(
        f"{where}: {facts['bytes_before']} bytes before, {facts['bytes']} now; a snapshot of {facts['entries']}"
        f" entries; {facts['matchings_pruned']} recorded matchings that no award names are gone"
    )


def _now_ms(own: Offline) -> int:
    return own.genesis.clock.network_time_ms(time.time_ns() // 10**6)
