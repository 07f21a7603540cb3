"""`heliotrope study`: a planner of jobs in time and space, on files, on a pipe, and tried on what grids emitted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

from cyclopts import App, Parameter

from protocol.errors import NoMatch

if TYPE_CHECKING:
    from node.study.answer import Planned

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
    from node.study.lines import JobHour, read

    replay = Replay()
    for number, job in read(_bounded(sys.stdin.buffer), JobHour):
        sys.stdout.write(json.dumps(replay.decide(job, number)) + "\n")
        sys.stdout.flush()


def _plan_line(planned: Planned) -> str:
    return json.dumps({"id": planned.job.id, "plan": planned.runs}, separators=(",", ":")) + "\n"


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a stranger's file, none held that is longer than a reader takes; a refusal says which file it is."""
    from node.study.lines import Malformed

    with path.open("rb") as file:
        try:
            yield _bounded(file)
        except Malformed as error:
            raise Malformed(error.code, f"{path}: {error.cause}", error.remedy) from None


def _bounded(file: BinaryIO) -> Iterator[bytes]:
    from node.study.lines import LINE_MAX_BYTES

    return iter(lambda: file.readline(LINE_MAX_BYTES + 1), b"")
