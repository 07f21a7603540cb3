"""From the researcher's words to the signed job: exact decimals, durations, slots."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import node
from node.documents import Invalid, read_json
from node.home.jobfile import JobFile, JobRequest, duration_ms
from node.home.toml_file import load
from protocol.genesis import Clock
from protocol.identity import peer_id
from protocol.messages import Blob, Job
from tests.api.requests import job_request, with_training
from tests.builders import FIRST_SLOT, NOW_MS, digest, genesis, keypair

EXAMPLES = Path(node.__file__).parent / "examples"


def read(request: dict[str, Any]) -> JobRequest:
    return read_json(json.dumps(request).encode(), JobRequest)


def made(**changes: Any) -> Job:
    return read(job_request(**changes)).job(genesis(), NOW_MS)


def complaint(request: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        read(request).job(genesis(), NOW_MS)
    return str(caught.value.faults[0])


@given(st.integers(1, 1_000_000))
def test_every_millionth_survives_the_decimal(micro: int) -> None:
    literal = format(Decimal(micro).scaleb(-6), "f")
    raw = json.dumps(job_request()).replace('"inner_learning_rate": 0.005', f'"inner_learning_rate": {literal}')
    assert read_json(raw.encode(), JobRequest).spec().inner_learning_rate_micro == micro


def test_more_decimals_than_fit_are_refused() -> None:
    assert "0.0000001 has more" in complaint(with_training(inner_learning_rate=1e-7)).replace("1e-07", "0.0000001")
    assert "more than 3 decimal places" in complaint(with_training(outer_momentum=0.6001))
    assert "more than 6 decimal places" in complaint(job_request(price_max_credits_per_unit_hour=0.1234567))


@pytest.mark.parametrize(
    ("text", "expected_ms"), [("1ms", 1), ("2s", 2000), ("10m", 600_000), ("3h", 10_800_000), ("2d", 172_800_000)]
)
def test_a_duration_in_milliseconds(text: str, expected_ms: int) -> None:
    assert duration_ms(text) == expected_ms


@pytest.mark.parametrize("text", ["10", "0s", "-1s", "1.5h", "1 h", "m", "1h30m", "9999999999s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert complaint(job_request(deadline=text)).startswith("deadline: ")


def test_work_becomes_slots_by_the_reference_rate_and_a_margin() -> None:
    job = made()  # 4 x 250 x 10 x 8 = 80,000 tokens at 1000 tokens/s and 15 s to start: 95 s in slots of 60 s
    assert job.training.tokens_per_shard == 80_000
    assert job.slots == 2 + 1
    assert job.rate_tps == 1000


def test_slots_pass_faster_on_a_faster_clock() -> None:
    network = genesis(clock=Clock(unix_ms=0, network_ms=0, speed=60))
    job = read(job_request(deadline="3h")).job(network, NOW_MS)
    assert job.slots == 95 + 1
    assert job.bids_close_at_ms == NOW_MS + 2000 * 60


def test_the_window_begins_when_bids_close_and_ends_by_the_deadline() -> None:
    job = made(bids_window="90s", deadline="9m")
    assert (job.first_slot, job.deadline_slot) == (FIRST_SLOT + 1, FIRST_SLOT + 9)
    assert job.bids_close_at_ms == NOW_MS + 90_000


def test_a_deadline_that_leaves_too_few_slots_says_how_many() -> None:
    expected = "deadline: 2m leaves 2 slots of 60000 ms after bidding; the work takes 3"
    assert complaint(job_request(deadline="2m")) == expected


def test_work_beyond_what_a_job_can_hold_says_so() -> None:
    assert "the work takes 80002 slots of 60000 ms; a job has at most 256" in complaint(
        with_training(rounds=256, inner_steps=58_594, batch_size=40)
    )


def test_heads_that_do_not_divide_the_width_are_named() -> None:
    model = job_request()["model"] | {"num_attention_heads": 3}
    assert complaint(job_request(model=model)).startswith("model: hidden_size 16 must be a multiple")


def test_a_file_and_a_request_say_the_same() -> None:
    file = load(EXAMPLES / "shakespeare.toml", JobFile)
    request = file.request([Blob(sha256=digest("text"), size_bytes=5)])
    assert read_json(request.model_dump_json().encode(), JobRequest) == request
    assert request.training.data[0].sha256 == digest("text").hex()


def test_the_example_names_texts_that_are_there() -> None:
    file = load(EXAMPLES / "shakespeare.toml", JobFile)
    assert all((EXAMPLES / name).is_file() for name in file.training.data)


def test_a_job_names_auditors_of_its_own_by_peer_id() -> None:
    auditor = keypair(1).public
    assert made(auditors=[peer_id(auditor)] * 2).auditors == (auditor,)
    assert made().auditors == ()
    assert "auditors" in complaint(job_request(auditors=["somebody"]))
