"""`match`: the engine on a file, without a node: an instance in, a plan out, or a plan recounted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from node.commands.lines import lines_of
from node.commands.options import JsonOption, print_json
from protocol.errors import LocalError, NoMatch

if TYPE_CHECKING:
    from node.matching.load import Load
    from node.matching.problem import Problem

SECONDS = 5.0
SECONDS_MAX = 86_400.0  # a day: more is a slip of the hand, and work has to be a finite number


def match(
    instance: Annotated[Path, Parameter(help="Peers, their forecasts and jobs: JSON lines (files/FORMAT.md).")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Write the plan to this file.")] = None,
    check: Annotated[
        Path | None, Parameter(help="Make no plan, but recount this one. Exit code 5 if it breaks a limit.")
    ] = None,
    surplus: Annotated[
        Literal["s50", "s20"], Parameter(help="Plan with the median forecast of surplus, or its 20 % quantile.")
    ] = "s50",
    seconds: Annotated[
        float,
        Parameter(
            validator=Number(gte=0, lte=SECONDS_MAX),
            help="How long to look for better plans, at a fixed count of work for each second.",
        ),
    ] = SECONDS,
    seed: Annotated[int, Parameter(help="Of the search: the same seed and seconds give the same plan.")] = 0,
    bound: Annotated[
        bool, Parameter(negative="", show_default=False, help="Prove how far from the best the plan can be.")
    ] = False,
    solver: Annotated[
        bool, Parameter(negative="", show_default=False, help="Prove a little more with HiGHS (the extra `solver`).")
    ] = False,
    bound_out: Annotated[
        Path | None, Parameter(help="Write the proof to this file: prices, from which anyone recomputes the bound.")
    ] = None,
    check_bound: Annotated[
        Path | None, Parameter(help="Recompute the bound from such a file instead. Exit code 5 if it does not hold.")
    ] = None,
    explain: Annotated[
        bool, Parameter(negative="", show_default=False, help="Say of every job what it saves, or what would place it.")
    ] = False,
    refused_by: Annotated[
        str | None, Parameter(help="List every peer that this job refused, each with its reason.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Place the jobs of a file where they emit least. Exit code 4 if there are jobs and none could be placed."""
    from node.commands import show_match
    from node.matching import explain as why
    from node.matching.files.instance import read
    from node.matching.files.plan import plan_lines, read_plan
    from node.matching.solve import solve
    from node.matching.work import units_of

    _refuse_files(instance, out, bound_out, check_bound)
    began = time.monotonic()
    with _lines(instance) as lines:
        problem = read(lines, surplus)
    refusing = None if refused_by is None else _job(problem, refused_by)
    was_read = time.monotonic()
    if check is None:
        load = solve(problem, units_of(seconds), seed)
    else:
        with _lines(check) as lines:
            load = read_plan(problem, lines)
    planned = time.monotonic()
    plan = "".join(line + "\n" for line in plan_lines(load)).encode()
    if out is not None:
        out.write_bytes(plan)
    facts = _facts(load) | {
        "instance": str(instance),
        "surplus": surplus,
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
        "seconds": {"reading": round(was_read - began, 3), "planning": round(planned - was_read, 3)},
    }
    if bound or solver or bound_out is not None or check_bound is not None:
        facts |= _bound(load, facts["seconds"], solver, bound_out, check_bound)
    if explain:
        facts["explanation"] = why.explain(load)
    if refusing is not None:
        facts["refusals"] = list(why.refusals(load, refusing))
    if as_json:
        print_json(facts)
    else:
        show_match.facts(facts)
        show_match.explanation(facts)
    if problem.jobs and not load.placements and check is None:
        raise NoMatch(
            "HEL-MATCH-005",
            f"none of the {len(problem.jobs)} jobs of {instance} could be placed",
            "Ask for less, accept more peers, or give the jobs more time.",
        )


def _refuse_files(instance: Path, out: Path | None, bound_out: Path | None, check_bound: Path | None) -> None:
    """What would be lost without a word: the instance, overwritten, or a proof that nobody makes."""
    cause = ""
    if instance.resolve() in {path.resolve() for path in (out, bound_out) if path is not None}:
        cause = f"{instance} would be overwritten"
    elif bound_out is not None and check_bound is not None:
        cause = "a bound is either proved, with --bound-out, or checked, with --check-bound"
    if cause:
        raise LocalError("HEL-MATCH-011", cause, "Name another file, or leave one of the options out.")


def _bound(load: Load, seconds: dict[str, float], solver: bool, out: Path | None, check: Path | None) -> dict[str, Any]:
    """What no plan falls below, by what, and the gap to it; adds to `seconds` how long finding or checking it took."""
    from node.commands.show import say
    from node.matching.proof.bound import bound
    from node.matching.proof.certificate import certificate_lines, gap_permyriad, read_certificate, verify

    began = time.monotonic()
    if check is None:
        peers = len(load.problem.peers.ids)
        say(f"the plan is made; proving a bound, for 10,000 peers a minute or two, here {peers:,}", stderr=True)
        proof = bound(load.problem, load, solver=solver)
        proved, by = proof.bound, "prices and solver" if solver else "prices"
        if out is not None:
            out.write_text("".join(line + "\n" for line in certificate_lines(load.problem, proof)))
    else:
        with _lines(check) as lines:
            proved, by = verify(load.problem, read_certificate(load.problem, lines)), "checked prices"
    seconds["bound"] = round(time.monotonic() - began, 3)
    return {"bound_mg": proved, "bound_by": by, "gap_permyriad": gap_permyriad(load, proved)}


def _lines(path: Path) -> AbstractContextManager[Iterator[bytes]]:
    from node.matching.files.lines import LINE_MAX_BYTES

    return lines_of(path, LINE_MAX_BYTES)


def _job(problem: Problem, name: str) -> int:
    """The row of the job of this id."""
    rows = {job.id: row for row, job in enumerate(problem.jobs)}
    if name not in rows:
        raise LocalError(
            "HEL-MATCH-006", f"the instance has no job {name!r}", "The job lines of the instance name their ids."
        )
    return rows[name]


def _facts(load: Load) -> dict[str, Any]:
    problem = load.problem
    return {
        "peers": len(problem.peers.ids),
        "zones": len(problem.zones),
        "slots": problem.slots,
        "jobs": len(problem.jobs),
        "declined_jobs": len(load.declined),
        "shard_slots": sum(job.work for job in problem.jobs),
        "declined_shard_slots": sum(problem.jobs[index].work for index in load.declined),
        "carbon_mg": load.carbon,
        "objective_mg": load.objective,
        "energy_wh": int(load.energy.sum()),
        "declined": [problem.jobs[index].id for index in load.declined],
    }
