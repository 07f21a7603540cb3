"""`job …`: from a file with faults to a trained model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.client import Client
from node.commands.follow import follow
from node.commands.options import Unsuccessful
from node.home.jobfile import JobFile
from node.home.toml_file import load
from tests.api.host import Host
from tests.api.test_node import hear_advert
from tests.builders import History, keypair, whole_history
from tests.cli.conftest import Heliotrope, Running, running

JOB = """\
name = "small"
shards = 1
memory_mb = 1024
reference_rate_tps = 1000
price_max_credits_per_unit_hour = 0.3
deadline = "10m"

[model]
vocab_size = 256
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
max_position_embeddings = 8

[training]
data = ["text.txt"]
seed = 1
rounds = 4
inner_steps = 250
batch_size = 10
inner_learning_rate = 0.005
outer_learning_rate = 0.7
outer_momentum = 0.6
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path)


def written(folder: Path, **changes: str) -> Path:
    """The job file, with whole lines replaced, and its text beside it."""
    lines = JOB.splitlines()
    for key, value in changes.items():
        at = next(index for index, line in enumerate(lines) if line.startswith(f"{key} = "))
        lines[at] = f"{key} = {value}"
    (folder / "text.txt").write_text("text")
    file = folder / "job.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


# --- init and validate --------------------------------------------------------------------------------------------


def test_the_template_is_a_valid_job_file(heliotrope: Heliotrope, tmp_path: Path) -> None:
    template = tmp_path / "template.toml"
    template.write_text(heliotrope("job", "init").out)
    assert load(template, JobFile).name == "shakespeare"


def test_a_valid_file_says_what_it_asks_for(heliotrope: Heliotrope, file: Path) -> None:
    said = heliotrope("job", "validate", file)
    assert (said.code, "1 shards of 80000 tokens, 80 s each" in said.out) == (0, True)
    assert heliotrope("job", "validate", file, "--json").json["tokens_per_shard"] == 80_000


def test_every_fault_of_a_file_is_told_with_its_line(heliotrope: Heliotrope, tmp_path: Path) -> None:
    file = written(tmp_path, shards='"two"', inner_learning_rate="0.0000001")
    file.write_text(file.read_text() + "inner_step = 3\n")
    said = heliotrope("job", "validate", file)
    assert said.code == 2
    assert 'line 2: shards: expected a valid integer, not "two"' in said.err
    assert "line 22: training.inner_learning_rate: 1e-07 has more than 6 decimal places" in said.err
    assert "line 25: training.inner_step: unknown key; the nearest known is inner_steps" in said.err
    assert said.err.count("remedy:") == 1


def test_a_missing_text_is_named_with_the_remedy(heliotrope: Heliotrope, file: Path) -> None:
    (file.parent / "text.txt").unlink()
    said = heliotrope("job", "validate", file)
    assert said.code == 2
    assert "training.data.0: " in said.err
    assert "text.txt is missing" in said.err
    assert "Put the text beside the job file" in said.err


def test_an_empty_text_is_named(heliotrope: Heliotrope, file: Path) -> None:
    (file.parent / "text.txt").write_text("")
    assert "text.txt is empty" in heliotrope("job", "validate", file).err


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "link.txt"])
def test_a_text_outside_the_files_folder_is_refused(heliotrope: Heliotrope, tmp_path: Path, name: str) -> None:
    """A job file from a stranger must not send away what it has no business with."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    said = heliotrope("job", "validate", written(folder, data=f'["{name}"]'))
    assert said.code == 6
    assert "lies outside its own folder" in said.err


def test_a_deadline_shorter_than_the_work_is_named(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = heliotrope("job", "validate", written(tmp_path, deadline='"1m"'))
    assert said.code == 2
    assert "deadline: 1m is too short: a shard takes 80 s at the reference rate" in said.err


# --- plan ---------------------------------------------------------------------------------------------------------


def test_a_plan_shows_the_chosen_and_with_explain_the_others(heliotrope: Heliotrope, node: Running, file: Path) -> None:
    node.do(hear_advert, node.host)
    said = heliotrope("job", "plan", file)
    assert said.code == 0
    assert "lead" in said.out
    assert "peer-1" not in said.out
    assert "against grid average" in said.out
    explained = heliotrope("job", "plan", file, "--explain")
    assert "browner" in next(line for line in explained.out.splitlines() if line.startswith("peer-1"))
    assert "per unit-hour" in explained.out


def test_a_plan_that_nobody_fits_is_exit_code_4_with_every_reason(
    heliotrope: Heliotrope, node: Running, tmp_path: Path
) -> None:
    node.do(hear_advert, node.host)
    said = heliotrope("job", "plan", written(tmp_path, memory_mb="32768"))
    assert said.code == 4
    assert "memory: 2048 of 32768 MB per unit needed" in said.err
    assert "memory: 16384 of 32768 MB per unit needed" in said.err
    assert "remedy: The smallest change that would place it: memory 32768 -> 16384 MB per unit" in said.err


def test_a_plan_as_json(heliotrope: Heliotrope, node: Running, file: Path) -> None:
    assert heliotrope("job", "plan", file, "--json").json["feasible"] is True


# --- submit and watch ---------------------------------------------------------------------------------------------


def test_submit_prints_the_id_alone_and_the_placement_beside_it(
    heliotrope: Heliotrope, node: Running, file: Path
) -> None:
    said = heliotrope("job", "submit", file)
    assert said.code == 0
    (job_id,) = said.out.split()
    assert bytes.fromhex(job_id) in node.do(lambda: list(node.host.node.ledger.state.jobs))
    assert "chosen" in said.err


def test_submit_and_watch_follow_a_job_to_its_end(heliotrope: Heliotrope, node: Running, file: Path) -> None:
    said = heliotrope("job", "submit", file, "--watch")
    assert said.code == 0
    assert [f"round {number}/4" in said.out for number in (1, 2, 3, 4)] == [True] * 4
    assert "nats per byte on held-out text" in said.out
    assert "To be, or not to be" in said.out
    carbon = next(line for line in said.out.splitlines() if line.startswith("carbon"))
    assert "modelled" in carbon  # how the grams were found stands beside them


def test_submit_as_json_is_one_document(heliotrope: Heliotrope, node: Running, file: Path) -> None:
    job = heliotrope("job", "submit", file, "--watch", "--json").json
    assert (job["status"], job["rounds_done"]) == ("done", 4)


def test_a_job_that_nobody_can_run_is_exit_code_4_with_every_reason(
    heliotrope: Heliotrope, node: Running, tmp_path: Path
) -> None:
    said = heliotrope("job", "submit", written(tmp_path, memory_mb="32768"))
    assert said.code == 4
    assert len(said.out.split()) == 1  # the id: the job is in the ledger all the same
    assert "memory: 2048 of 32768 MB per unit needed" in said.err
    assert "remedy: The smallest change that would place it: memory 32768 -> 2048 MB per unit" in said.err


def test_a_detached_job_can_be_listed_shown_watched_and_cancelled(
    heliotrope: Heliotrope, node: Running, file: Path
) -> None:
    node.host.closes_bids_when_followed = False  # nobody answers yet
    job_id = heliotrope("job", "submit", file, "--detach").out.strip()
    assert [job["id"] for job in heliotrope("job", "list", "--json").json["jobs"]] == [job_id]
    assert job_id[:12] in heliotrope("job", "list").out
    assert "open (bidding)" in heliotrope("job", "show", job_id[:8]).out
    assert heliotrope("job", "show", job_id[:8], "--json").json["id"] == job_id
    assert heliotrope("job", "cancel", job_id[:8]).out == f"{job_id} is cancelled\n"
    assert heliotrope("job", "cancel", job_id[:8]).code == 2
    watched = heliotrope("job", "watch", job_id[:8])
    assert watched.code == 1
    assert "was cancelled: cancelled by its owner" in watched.err


def test_watch_as_json_is_one_event_a_line(heliotrope: Heliotrope, node: Running, file: Path) -> None:
    job_id = heliotrope("job", "submit", file, "--detach").out.strip()
    said = heliotrope("job", "watch", job_id, "--json")
    kinds = [json.loads(line)["kind"] for line in said.out.splitlines()]
    assert (kinds[0], kinds[-1]) == ("job submitted", "job over")
    assert kinds.count("round") == 4


def test_an_unknown_job_is_named(heliotrope: Heliotrope, node: Running) -> None:
    for command in ("show", "carbon", "watch", "cancel"):
        said = heliotrope("job", command, "beef")
        assert said.code == 2
        assert "no jobs known here have ids that begin with 'beef'" in said.err


def test_a_model_that_is_not_there_yet_says_how_to_wait(heliotrope: Heliotrope, node: Running, file: Path) -> None:
    job_id = heliotrope("job", "submit", file, "--detach").out.strip()
    said = heliotrope("job", "show", job_id, "--checkpoint", file.parent / "model")
    assert said.code == 2
    assert "has no checkpoint: it is open" in said.err


def test_a_finished_job_is_shown_with_its_receipts(heliotrope: Heliotrope, tmp_path: Path) -> None:
    history = whole_history()
    host = Host(tmp_path, raws=tuple(e.raw for e in history.entries), network=history.ledger.genesis)
    with running(host, tmp_path / "home"):
        said = heliotrope("job", "show", next(e for e in history.entries if e.kind == "job").id.hex())
    assert said.code == 0
    assert "done, 4 of 4 rounds" in said.out
    assert "5.500 -> 2.500 nats per byte" in said.out
    assert "(modelled, A1, ±25 %)" in said.out
    assert "of it 50 mg on shards that were lost" in said.out
    assert said.out.count("0.2 credits") == 3  # what each placement is paid per unit and hour
    assert said.out.count("settled") == 2 + 1  # two placements and the receipts' heading


def test_the_carbon_of_a_job_is_told_in_five_ways_side_by_side(heliotrope: Heliotrope, tmp_path: Path) -> None:
    history = whole_history()
    host = Host(tmp_path, raws=tuple(e.raw for e in history.entries), network=history.ledger.genesis)
    job_id = next(e for e in history.entries if e.kind == "job").id.hex()
    with running(host, tmp_path / "home"):
        said = heliotrope("job", "carbon", job_id)
        told = heliotrope("job", "carbon", job_id, "--json").json
    assert told["location"]["carbon_ug"] == told["account"]["carbon_ug"]
    lines = {line.split("  ")[0]: line for line in said.out.splitlines()}
    assert "1.45 g" in lines["location-based"]
    assert "1.36 g" in lines["market-based"]
    assert "0.278 Wh by certificates of the same hour and zone" in lines["market-based"]
    assert "53 %" in lines["24/7 carbon-free"]
    assert "47 % unknown, counted as none" in lines["24/7 carbon-free"]
    assert "no attestation states it" in lines["marginal"]
    assert "over 640 tokens that count" in lines["SCI per token"]
    assert "(modelled, ±25 %, by declared)" in said.out
    assert "0.139 Wh work lost or refused" in said.out
    assert "other choices: not known" in said.out


def test_the_carbon_of_a_job_without_receipts_is_not_there_yet(
    heliotrope: Heliotrope, node: Running, file: Path
) -> None:
    job_id = heliotrope("job", "submit", file, "--detach").out.strip()
    assert "nothing is receipted yet" in heliotrope("job", "carbon", job_id).out


def test_another_nodes_job_is_shown_but_not_watched(heliotrope: Heliotrope, tmp_path: Path) -> None:
    history = History(surplus_assurance_min=0)
    job = history.job(keypair(1))
    with running(Host(tmp_path, raws=(job.raw,)), tmp_path / "home"):
        assert heliotrope("job", "show", job.id.hex()).code == 0
        said = heliotrope("job", "watch", job.id.hex())
    assert said.code == 2
    assert "is another node's" in said.err


class Scripted(Client):
    """A client whose node says what a test wrote down."""

    def __init__(self, states: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
        self.states, self.script = states, events

    def job(self, job_id: str) -> dict[str, Any]:
        return self.states.pop(0)

    def events(self, after: int | None = None) -> Iterator[dict[str, Any]]:
        yield from self.script
        raise AssertionError("the job is over, and it was waited for more")


def state(outcome: str | None) -> dict[str, Any]:
    return {"id": "ab" * 32, "own": True, "outcome": outcome, "unplaceable": False, "reason": "", "matchings": []}


def test_a_job_whose_end_was_missed_is_asked_for() -> None:
    client = Scripted([state(None), state("done"), state("done")], [{"kind": "lost", "data": {"reason": "restart"}}])
    assert follow(client, "ab" * 32, lambda _: None, to_the_end=True)["outcome"] == "done"


def test_a_job_that_fails_while_watched_is_unsuccessful() -> None:
    over = {"kind": "job over", "data": {"job": "ab" * 32}}
    of_another = {"kind": "job over", "data": {"job": "cd" * 32}}
    client = Scripted([state(None), state("failed")], [of_another, over])
    with pytest.raises(Unsuccessful):
        follow(client, "ab" * 32, lambda _: None, to_the_end=True)


def test_nobody_there_at_all_is_exit_code_4(heliotrope: Heliotrope, tmp_path: Path) -> None:
    host = Host(tmp_path)  # it only buys
    host.start()
    host.closes_bids_when_followed = True
    with running(host, tmp_path / "home"):
        said = heliotrope("job", "submit", written(tmp_path))
    assert said.code == 4
    assert "no feasible placement: no peer offers anything" in said.err
