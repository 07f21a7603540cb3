"""Following a job through its node's events, and what its end means for whoever asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from node.api.problems import NotFound
from node.client import Client
from node.commands import show_jobs
from node.commands.options import Unsuccessful
from protocol.errors import LocalError, NoMatch

Tell = Callable[[Mapping[str, Any]], None]


class KnowsJobs(Protocol):
    """A node, or a ledger without one."""

    def jobs(self) -> dict[str, Any]: ...


def resolve(client: KnowsJobs, digits: str) -> str:
    """The id of the one job whose id begins with these digits."""
    found = [job["id"] for job in client.jobs()["jobs"] if job["id"].startswith(digits.lower())]
    if len(found) != 1:
        cause = f"{len(found) or 'no'} jobs known here have ids that begin with {digits[:64]!r}"
        raise NotFound("HEL-JOB-003", cause, "List them with: heliotrope job list")
    return str(found[0])


def follow(client: Client, job_id: str, tell: Tell, *, to_the_end: bool) -> dict[str, Any]:
    """Call `tell` for each event of an own job until it is over, or, unless `to_the_end`, until its bids have been
    matched; then the job. Raises NoMatch for a job that nobody can run, Unsuccessful for one that failed or was
    cancelled."""
    detail = client.job(job_id)
    if not detail["own"]:
        cause = f"job {job_id[:12]} is another node's; its rounds are known there only"
        raise LocalError("HEL-JOB-009", cause, "See what the ledger says of it: heliotrope job show")
    if not detail["outcome"]:
        _wait(client, job_id, tell, to_the_end)
        detail = client.job(job_id)
    _judge(detail)
    return detail


def _wait(client: Client, job_id: str, tell: Tell, to_the_end: bool) -> None:
    for event in client.events():
        if event["kind"] == "lost":
            tell(event)
            if client.job(job_id)["outcome"]:
                return
        elif event["data"].get("job") == job_id:
            tell(event)
            if event["kind"] == "job over" or (event["kind"] == "matched" and not to_the_end):
                return


def no_match(matching: Mapping[str, Any]) -> NoMatch:
    """Every peer's reason goes to stderr; the error names the smallest change that would help."""
    table, relaxation = matching["table"], matching["summary"]["relaxation"]
    if table:
        show_jobs.choices(table, stderr=True)
    cause = (
        f"no feasible placement among {len(table)} peers" if table else "no feasible placement: no peer offers anything"
    )
    remedy = f"The smallest change that would place it: {relaxation}" if table else "See who is there: heliotrope peers"
    return NoMatch("HEL-JOB-002", cause, remedy)


def _judge(detail: Mapping[str, Any]) -> None:
    if detail["unplaceable"]:
        raise no_match(detail["matchings"][-1])
    if detail["outcome"] not in (None, "done"):
        cause = f"job {detail['id'][:12]} was {detail['outcome']}: {detail['reason']}"
        raise Unsuccessful("HEL-JOB-010", cause, f"See: heliotrope job show {detail['id'][:12]}")
