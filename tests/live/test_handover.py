"""An operator's rule on running nodes: a real worker leaves in the middle of a job, and another goes on for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from node.client import Client
from node.commands.job_texts import read_job
from tests.cli.test_job_commands import written
from tests.live.nodes import devnet, eventually


def has_trained(client: Client, job: str, rounds: int) -> bool:
    return len(client.job(job)["history"]) >= rounds


def is_over(client: Client, job: str) -> bool:
    return client.job(job)["outcome"] is not None


def test_a_real_worker_hands_its_shard_over_and_every_round_is_trained(tmp_path: Path) -> None:
    path = written(tmp_path, rounds="12", reference_rate_tps="12000", deadline='"60s"')
    (tmp_path / "text.txt").write_text("To be, or not to be, that is the question. " * 2000)
    with devnet(tmp_path / "nodes", 3) as (members, _):
        clients = {member.key.hex(): Client.of_home(member.home) for member in members}
        lead = next(iter(clients.values()))
        file, texts = read_job(path)
        job = lead.submit(file.request([lead.upload(text) for text in texts]).model_dump_json())["id"]
        eventually(partial(has_trained, lead, job, 2), timeout_s=60)
        first = lead.job(job)["placements"][0]["provider"]["key"]
        clients[first].set_rules(["grid > 0 => pause"])
        eventually(partial(is_over, lead, job), timeout_s=90)
        detail = lead.job(job)
        assert (detail["outcome"], len(detail["history"])) == ("done", 12)
        placements = detail["placements"]
        assert [p["status"] for p in placements] == ["revoked", "settled"]
        assert placements[0]["reason"] == "handed over: paused by grid > 0 => pause"
        assert placements[1]["provider"]["key"] != first
        assert all(receipt["accepted"] for receipt in detail["receipts"])
