"""The API's answers for people: aligned tables and short lines; jobs are in `show_jobs`.

What strangers wrote is made harmless before it is printed. Colour only where a terminal shows it and NO_COLOR is not
set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 200  # where nobody says how wide: wide enough that a line stays a line for grep
STYLES = {"chosen": "green", "refused": "red", "done": "green", "failed": "red", "cancelled": "yellow"}

Row = Sequence[object]


def printable(text: object) -> str:
    """A stranger's text without anything that could move a cursor, ring a bell or hide what follows; lines are kept."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in str(text))


def say(text: str, *, stderr: bool = False) -> None:
    """Print lines as they are: no markup is understood, no line is broken."""
    _console(stderr).print(Text(printable(text)), soft_wrap=True)


def rows(headings: Sequence[str], lines: Iterable[Row], *, stderr: bool = False) -> None:
    """Print a table, without a heading where all are empty. The last column takes what room is left."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_header=any(headings))
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=len(table.columns) < len(headings) - 1)
    for line in lines:
        cells = [printable("-" if cell is None or cell == "" else cell) for cell in line]
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
    console = _console(stderr)
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        console.out(line.rstrip(), highlight=False)


class _Console(Console):
    """Leaves a reader that has gone to `cli`, which knows the exit code."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _console(stderr: bool) -> Console:
    console = _Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    return console


# --- the node -----------------------------------------------------------------------------------------------------


def status(node: Mapping[str, Any], faults: str) -> None:
    """First what is wrong, if anything: nobody is there, and what to do; why it cannot work. Then what it does, or why
    nothing; then who and where it is."""
    if nobody := node["nobody"]:
        say(f"NOBODY IS CONNECTED: {nobody['reason']}")
        for number, remedy in enumerate(nobody["remedies"], start=1):
            say(f"  {number}. {remedy}")
    if faults:
        say(faults.upper()[:9] + faults[9:])
    shards, jobs, power = node["shards"], node["jobs"], node["power"]
    if shards:
        for s in shards:
            say(f"TRAINING: {s['name']}, shard {s['shard']}, {s['rounds_done']} of {s['rounds']} rounds done")
    else:
        keeps = [part for part in ("witness", "auditor") if node[part] and node["offer"] is None]
        what = " AND ".join(keeps).upper() or "IDLE"
        met = f"{jobs['seen']} jobs seen, {jobs['bids']} bid for, {jobs['placed']} won"
        say(f"{what}: {met if jobs['seen'] else 'no job of others was seen yet'}")
    if power["paused_by"]:
        say(f"PAUSED by {power['paused_by']}")
    for reason in jobs["declined"]:
        say(f"NO BID: {reason}")
    if node["admission_warning"]:
        say(f"NOT FOR LONG: {node['admission_warning']}")
    if power["unaudited"] and not power["unattested"]:
        say(f"NOT AUDITED: {power['unaudited']}")
    surplus = "no forecast" if power["surplus_w"] is None else f"{power['surplus_w']} W surplus now"
    grid = "" if power["grid_g_per_kwh"] is None else f", grid {power['grid_g_per_kwh']} g/kWh"
    nothing = "nothing attested yet" if power["attested_until_ms"] is None else "nothing attested now"
    attested = nothing if power["method"] is None else f"{power['method']}, A{power['assurance']}"
    known, connected = node["peers_known"], node["peers_connected"]
    rows(
        ("", ""),
        (
            ("node", f"{node['identity']['label']}  {node['identity']['peer_id']}"),
            (
                "network",
                f"{node['network_name']}  {node['network'][:16]}  slot {node['slot']}, {moment(node['now_ms'])}",
            ),
            ("mode", _mode(node)),
            ("power", f"{power['carrier']} in {power['zone'] or 'no zone'}: {surplus}{grid} ({attested})"),
            ("peers", f"{connected} connected, {known} known"),
            *(("address", address) for address in node["addresses"]),
            ("reach", node["reachability"]["text"]),
            ("ledger", f"{node['ledger_entries']} entries" + (f", {node['forks']} forks" if node["forks"] else "")),
        ),
    )


def _mode(node: Mapping[str, Any]) -> str:
    """Who may join, and by what this node has."""
    if node["admission"] != "closed":
        return str(node["admission"])
    if node["admitted_until_ms"] is not None:
        return f"closed, invited until {moment(node['admitted_until_ms'])}"
    return "closed" + (", may invite" if node["admitter"] else "")


def peers(answer: Mapping[str, Any]) -> None:
    """Peers, and the addresses that do not answer."""
    rows(
        ("peer", "id", "connected", "zone", "carrier", "device", "advert", "round trip", "score"),
        (
            (
                p["identity"]["label"],
                p["identity"]["peer_id"],
                "yes" if p["connected"] else "no",
                p["zone"],
                p["carrier"],
                p["device"],
                None if p["advert_age_ms"] is None else f"{p['advert_age_ms'] / 1000:.0f} s ago",
                None if p["round_trip_ms"] is None else f"{p['round_trip_ms']} ms",
                p["score"],
            )
            for p in answer["peers"]
        ),
    )
    for p in answer["peers"]:
        if p["doubt"]:
            say(f"DOUBT: {p['identity']['label']} {p['doubt']}")
    for failed in answer["unreachable"]:
        say(f"no answer from {failed['address']} ({failed['failures']} times): {failed['reason']}")
    if answer["banned"] or answer["denied"]:
        kept_out(answer)


def kept_out(answer: Mapping[str, Any]) -> None:
    """Peers and networks with which there is no connection."""

    def left(seconds: int | None) -> str:
        return "until it is lifted" if seconds is None else f"for {seconds} s more"

    for p in answer["banned"]:
        say(f"banned {left(p['seconds_left'])}: {p['identity']['label']} {p['identity']['peer_id']}, {p['reason']}")
    for each in answer["denied"]:
        say(f"denied {left(each['seconds_left'])}: {each['network']}")
    if not answer["banned"] and not answer["denied"]:
        say("nobody is kept out")


# --- the ledger ---------------------------------------------------------------------------------------------------


def entries(answer: Iterable[Mapping[str, Any]]) -> None:
    rows(
        ("position", "id", "time", "author", "seq", "kind", "note"),
        (
            (
                e["position"],
                e["id"][:12],
                moment(e["time_ms"]),
                e["author"]["label"],
                e["seq"],
                e["kind"],
                e["void"] or unconfirmed(e["confirmed"]),
            )
            for e in answer
        ),
    )


def unconfirmed(confirmed: bool | None) -> str:
    """What to say of that which no quorum of witnesses has cosigned yet; None: the network has no witnesses."""
    return "unconfirmed" if confirmed is False else ""


def moment(time_ms: int) -> str:
    """Network time as a date and an hour, UTC; what no calendar holds, as it is."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OSError, OverflowError, ValueError):
        return f"{time_ms} ms"
