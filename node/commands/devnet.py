"""`demo` and `devnet …`: whole networks on one machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from node.commands.options import JsonOption, print_json

app = App(name="devnet", help="Real nodes as processes on this machine, made from a seed, alike on every run.")

SeedOption = Annotated[int, Parameter(help="Keys, sites and ports follow from it.")]
DirectoryOption = Annotated[Path | None, Parameter(help="Where the nodes live; else beside this user's own node.")]


def demo(
    *,
    out: Annotated[
        Path | None, Parameter(help="Leave report, model, sample, plot and ledger in this directory.")
    ] = None,
    seed: SeedOption = 42,
) -> None:
    """Five real nodes train one model where the power is green; one of them is lost on the way."""
    from node.demo import run

    run(out, seed)


@app.command
def up(
    *,
    nodes: Annotated[int, Parameter(name=["--nodes", "-n"], help="How many nodes.")] = 5,
    witnesses: Annotated[int, Parameter(help="How many witnesses beside them: four bear one that fails.")] = 0,
    auditors: Annotated[int, Parameter(help="How many auditors, who have approved the nodes' devices.")] = 0,
    seed: SeedOption = 42,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a devnet that runs until `devnet down`."""
    from node.commands import show
    from node.devnet.commands import up as start

    started = start(_directory(directory), nodes, seed, witnesses, auditors)
    if as_json:
        print_json([asdict(row) for row in started])
    else:
        headings = ("name", "peer", "api", "zone", "carrier", "device", "home")
        show.rows(headings, ([getattr(row, heading) for heading in headings] for row in started))
        show.say("Speak to one of them with --home HOME; end all with: heliotrope devnet down")


@app.command
def down(*, directory: DirectoryOption = None) -> None:
    """Stop the devnet and remove it."""
    from node.devnet.commands import down as stop

    print(f"{stop(_directory(directory))} nodes stopped")


def _directory(option: Path | None) -> Path:
    from node.home.home import default_home

    return option or default_home().path.with_name("heliotrope-devnet")
