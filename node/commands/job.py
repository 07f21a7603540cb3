"""`job …`: a researcher's commands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from node.commands.ledger_source import FileOption, source_of
from node.commands.options import HomeOption, JsonOption, client_of, print_json
from protocol.errors import LocalError

if TYPE_CHECKING:
    from node.commands.follow import Tell

app = App(name="job", help="Train a model: describe the job, plan it, submit it, follow it.")

EXAMPLE = "shakespeare.toml"
FileArgument = Annotated[Path, Parameter(help="A job file (TOML); `heliotrope job init` prints one.")]
JobArgument = Annotated[str, Parameter(help="A job's id, or its first digits.")]


@app.command
def init() -> None:
    """Print a job file with comments, to be changed: heliotrope job init > job.toml"""
    from importlib.resources import files

    print((files("node") / "examples" / EXAMPLE).read_text(), end="")


@app.command
def validate(file: FileArgument, /, *, as_json: JsonOption = False) -> None:
    """Check a job file and the texts it names; needs no node."""
    from node.client import blob_of
    from node.commands.job_texts import read_job
    from node.documents import Fault, invalid
    from node.home.jobfile import duration_ms

    job, texts = read_job(file)
    tokens = job.request([blob_of(text) for text in texts]).spec().tokens_per_shard
    work_s = tokens / job.reference_rate_tps
    if work_s * 1000 > duration_ms(job.deadline):
        text = f"{job.deadline} is too short: a shard takes {work_s:.0f} s at the reference rate"
        raise invalid(str(file), [Fault("deadline", text)])
    if as_json:
        print_json({"valid": True, "tokens_per_shard": tokens, "seconds_per_shard": round(work_s, 3)})
    else:
        print(f"{file} is valid: {job.shards} shards of {tokens} tokens, {work_s:.0f} s each at the reference rate")


@app.command
def plan(
    file: FileArgument,
    /,
    *,
    explain: Annotated[
        bool, Parameter(negative="", show_default=False, help="Say of every peer why it is chosen or not.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what would be chosen now; nothing is submitted. Exit code 4 if nobody could run it."""
    from node.client import blob_of
    from node.commands import show_jobs
    from node.commands.follow import no_match
    from node.commands.job_texts import read_job

    job, texts = read_job(file)
    client = client_of(home)
    answer = client.plan(job.request([blob_of(text) for text in texts]).model_dump_json())
    if as_json:
        print_json(answer)
    elif answer["feasible"]:
        show_jobs.choices([row for row in answer["table"] if explain or row["verdict"] == "chosen"])
        show_jobs.baselines(answer["summary"], client.node()["slot_ms"])
    if not answer["feasible"]:
        raise no_match(answer)


@app.command
def submit(
    file: FileArgument,
    /,
    *,
    watch: Annotated[bool, Parameter(negative="", show_default=False, help="Follow the job to its end.")] = False,
    detach: Annotated[
        bool, Parameter(negative="", show_default=False, help="Do not wait until the job is placed.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Submit a job, print its id and wait until it is placed. Exit code 4 if nobody can run it."""
    from node.commands import show_jobs
    from node.commands.follow import follow
    from node.commands.job_texts import read_job

    job, texts = read_job(file)
    client = client_of(home)
    detail = client.submit(job.request([client.upload(text) for text in texts]).model_dump_json())
    if not as_json:
        print(detail["id"], flush=True)
    if not detach:
        detail = follow(client, detail["id"], _teller() if watch and not as_json else _silent, to_the_end=watch)
    if as_json:
        print_json(detail)
    elif watch:
        show_jobs.job(detail)
    elif not detach:
        show_jobs.choices(detail["matchings"][-1]["table"], stderr=True)


@app.command(name="list")
def list_jobs(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every job that this node knows of, the newest first."""
    from node.commands import show_jobs

    answer = client_of(home).jobs()
    if as_json:
        print_json(answer)
    else:
        show_jobs.jobs(answer)


@app.command
def show(
    job: JobArgument,
    /,
    *,
    checkpoint: Annotated[Path | None, Parameter(help="Save the trained model (safetensors) as this file.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """A job's placements, rounds, carbon and receipts."""
    from node.commands import show_jobs
    from node.commands.follow import resolve

    client = client_of(home)
    detail = client.job(resolve(client, job))
    if as_json:
        print_json(detail)
    else:
        show_jobs.job(detail)
    if checkpoint is not None:
        if detail["checkpoint"] is None:
            cause = f"job {detail['id'][:12]} has no checkpoint: it is {detail['status']}"
            raise LocalError("HEL-JOB-007", cause, f"Follow it to its end: heliotrope job watch {detail['id'][:12]}")
        client.download(detail["checkpoint"]["sha256"], checkpoint)


@app.command
def carbon(
    job: JobArgument, /, *, file: FileOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """A job's carbon in five ways side by side, with bounds, sources, and what other choices would have emitted; of a
    running node, a stopped one, or an exported ledger."""
    from node.commands import show_carbon
    from node.commands.follow import resolve

    with source_of(home, file, quiet=as_json) as source:
        told = source.carbon(resolve(source, job))
    if as_json:
        print_json(told)
    else:
        show_carbon.carbon(told)


@app.command
def watch(job: JobArgument, /, *, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Follow a job to its end; with --json one event a line."""
    from node.commands import show_jobs
    from node.commands.follow import follow, resolve

    client = client_of(home)
    detail = follow(client, resolve(client, job), _json_line if as_json else _teller(), to_the_end=True)
    if not as_json:
        show_jobs.job(detail)


@app.command
def cancel(job: JobArgument, /, *, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Close an own job; what was done until now is paid."""
    from node.commands.follow import resolve

    client = client_of(home)
    detail = client.cancel(resolve(client, job))
    if as_json:
        print_json(detail)
    else:
        print(f"{detail['id']} is {detail['status']}")


def _teller() -> Tell:
    """Tells a person what happens, one line for each event."""
    from node.commands import show_jobs

    loss_millinats: list[int] = []

    def tell(event: Mapping[str, Any]) -> None:
        show_jobs.event(event["kind"], event["data"], loss_millinats)

    return tell


def _json_line(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def _silent(event: Mapping[str, Any]) -> None:
    """The caller shows the end alone."""
