"""`ledger …`: what was said, and whether it holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from node.commands.options import HomeOption, JsonOption, client_of, print_json
from protocol.errors import LocalError

if TYPE_CHECKING:
    from ledger.archive import Verified

app = App(name="ledger", help="Read, check and hand on what the network's peers have signed.")


@app.command
def verify(
    file: Annotated[Path | None, Parameter(help="An exported ledger; without it the running node's own.")] = None,
    /,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every signature, chain, rule and sum; a FILE needs no node. Exit code 5 if anything does not hold."""
    facts = client_of(home).verify() if file is None else _facts(_read(file))
    if as_json:
        print_json(facts)
        return
    from node.commands.show import moment, say

    say(f"ledger verify: OK ({facts['entries']} entries)")
    say(f"  heads     {facts['fingerprint']}")
    say(f"  network   {facts['network']} {facts['network_name']}")
    if file is not None:
        say(f"  exporter  {facts['exporter']} at {moment(facts['exported_at_ms'])}")


@app.command
def export(
    file: Annotated[Path, Parameter(help="Where to write it.")] = Path("ledger.bin"),
    /,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the node's ledger to a file that anyone can check, and check it."""
    client_of(home).export(file)
    facts = {"file": str(file), "bytes": file.stat().st_size, **_facts(_read(file))}
    if as_json:
        print_json(facts)
    else:
        print(f"{file}: {facts['entries']} entries, {facts['bytes']} bytes, fingerprint {facts['fingerprint']}")


@app.command
def show(
    entry: Annotated[str | None, Parameter(help="An entry's id, or its first digits; without it the newest.")] = None,
    /,
    *,
    last: Annotated[int, Parameter(name=["--last", "-n"], help="How many of the newest.")] = 20,
    author: Annotated[str | None, Parameter(help="Only this author's: a peer id, or a key in hexadecimal.")] = None,
    kind: Annotated[str | None, Parameter(help="Only of this kind: offer, bid, receipt ...")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The newest entries of the ledger, or one entry whole."""
    from node.commands import show as shown

    client = client_of(home)
    if entry is not None:
        print_json(_the_one(client.entries(), entry))
        return
    unfiltered = author is None and kind is None
    after = max(0, client.heads()["entries"] - last) if unfiltered else 0
    newest = deque(client.entries(after, author=author, kind=kind), maxlen=max(1, last))
    if as_json:
        print_json({"entries": list(newest)})
    else:
        shown.entries(newest)


def _the_one(entries: Iterator[dict[str, Any]], digits: str) -> dict[str, Any]:
    found = [entry for entry in entries if entry["id"].startswith(digits.lower())]
    if len(found) != 1:
        cause = f"{len(found) or 'no'} entries have ids that begin with {digits[:64]!r}"
        raise LocalError("HEL-LEDGER-010", cause, "List them with: heliotrope ledger show")
    return found[0]


def _read(file: Path) -> Verified:
    """The archive in a file. Raises VerificationFailed, naming the byte, and LocalError if it cannot be read."""
    from ledger.archive import read

    try:
        with file.open("rb") as opened:
            return read(opened)
    except OSError as error:
        cause, remedy = (
            f"{file} cannot be read: {error.strerror}",
            "Name an exported ledger: heliotrope ledger export FILE",
        )
        raise LocalError("HEL-LEDGER-011", cause, remedy) from None


def _facts(verified: Verified) -> dict[str, Any]:
    from ledger.archive import fingerprint
    from protocol.identity import peer_id

    ledger = verified.ledger
    return {
        "ok": True,
        "entries": ledger.count,
        "fingerprint": fingerprint(ledger.head_list()),
        "network": ledger.network.hex(),
        "network_name": ledger.genesis.name,
        "exporter": peer_id(verified.exporter),
        "exported_at_ms": verified.time_ms,
    }
