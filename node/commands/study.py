"""`heliotrope study`: a planner of jobs in time and space, on files, on a pipe, and tried on what grids emitted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from node.commands.lines import bounded, lines_of
from node.commands.options import JsonOption, print_json
from protocol.errors import LocalError, NoMatch

if TYPE_CHECKING:
    from node.study.answer import Planned
    from node.study.traces import Trace

STRIDE_H = 151  # coprime to 24 and 168: arrivals at every hour of the day and of the week
SPACE_STRIDE = 5  # in space every fifth arrival: planning over zones takes a hundred times as long

app = App(name="study", help="Shift jobs to greener hours and zones: plan them, and try the planner on real traces.")


@app.command
def plan(
    *,
    jobs: Annotated[Path, Parameter(help="The jobs: JSON lines (node/study/FORMAT.md).")],
    forecast: Annotated[Path, Parameter(help="What is known of each job's zones: JSON lines.")],
    out: Annotated[Path, Parameter(help="Write the plans to this file.")],
) -> None:
    """Plan each job at its arrival. A job that its window is too short for gets no line; exit code 4 if all are so."""
    from node.commands.show import say
    from node.study.answer import jobs_of, plans

    with _lines(jobs) as lines:
        asked = jobs_of(lines)
    with _lines(forecast) as lines:
        made = list(plans(asked, lines))
    enough = [each for each in made if each.is_enough]
    out.write_text("".join(_plan_line(each) for each in enough))
    short = [str(each.job.id) for each in made if not each.is_enough]
    say(f"{len(enough):,} of {len(made):,} jobs planned" + (f"; too short: {', '.join(short[:10])}" if short else ""))
    if short and not enough:
        raise NoMatch(
            "HEL-STUDY-003",
            f"none of the {len(made)} jobs can be done in its window",
            "Give the jobs more time, more width or less work.",
        )


@app.command
def replay() -> None:
    """Decide hour by hour: a line on stdin (a job, its hour, what is left, the last week), a line on stdout at once."""
    from node.study.answer import Replay
    from node.study.lines import LINE_MAX_BYTES, JobHour, read

    replay = Replay()
    for number, job in read(bounded(sys.stdin.buffer, LINE_MAX_BYTES), JobHour):
        sys.stdout.write(json.dumps(replay.decide(job, number)) + "\n")
        sys.stdout.flush()


@app.command
def shift(
    *,
    traces: Annotated[
        Path, Parameter(help="A directory of ci_ZONE_YEAR.csv: hourly ts_utc, gco2e_per_kwh_lca (Electricity Maps).")
    ],
    zones: Annotated[
        list[str] | None, Parameter(consume_multiple=True, help="Only these traces, as ES_2022; else all.")
    ] = None,
    stride: Annotated[
        int, Parameter(validator=Number(gte=1, lte=8_784), help="Hours between two arrivals of jobs.")
    ] = STRIDE_H,
    out: Annotated[Path | None, Parameter(help="Leave shift.json and shift.png (the extra `report`) here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """A year of real hours: jobs placed by our planner, by its rivals, and by an oracle. Grams saved, and above it."""
    from node.commands import show_study
    from node.study.shift import Seen, facts, in_space, in_time, together

    found = _traces(traces, zones)
    scores = {}
    for trace in found:
        show_study.progress(f"{trace.name}: {len(trace.g):,} hours" + f", {trace.filled} filled" * bool(trace.filled))
        scores[trace.name] = in_time(Seen(trace), stride)
    apart = []
    for group in together(found):
        show_study.progress(f"{', '.join(trace.name for trace in group)} together")
        apart.append(in_space(group, stride * SPACE_STRIDE))
    counted = facts(scores, apart)
    if as_json:
        print_json(counted)
    else:
        show_study.shift(counted)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "shift.json").write_text(json.dumps(counted, indent=2) + "\n")
        show_study.plot(counted, out / "shift.png")


def _traces(directory: Path, names: list[str] | None) -> list[Trace]:
    """The traces of a directory, by name. Raises LocalError if one that was asked for is not there, or none is."""
    from node.study.traces import read

    paths = {path.stem.removeprefix("ci_"): path for path in sorted(directory.glob("ci_*.csv"))}
    missing = [name for name in names or () if name not in paths]
    if missing or not paths:
        raise LocalError(
            "HEL-STUDY-004",
            f"{directory} holds no ci_{missing[0] if missing else 'ZONE_YEAR'}.csv",
            f"There are: {', '.join(paths) or 'none'}. Name another directory, or other zones.",
        )
    found = []
    for name in names or paths:
        with paths[name].open(encoding="utf-8", newline="") as file:
            found.append(read(name, file))
    return found


def _plan_line(planned: Planned) -> str:
    return json.dumps({"id": planned.job.id, "plan": planned.runs}, separators=(",", ":")) + "\n"


def _lines(path: Path) -> AbstractContextManager[Iterator[bytes]]:
    from node.study.lines import LINE_MAX_BYTES

    return lines_of(path, LINE_MAX_BYTES)
