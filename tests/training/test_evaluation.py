"""Facts about evaluation: the same number at every call, the same sample for the same seed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from node.training import evaluation
from node.training.inner import Inner
from node.training.model import Llama

from .builders import first_parameters, loaded_text, training_spec

SPEC = training_spec(inner_steps=200, rounds=1, batch_size=8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Llama:
    start = first_parameters(SPEC)
    inner = Inner(SPEC, loaded_text(tmp_path_factory.mktemp("text"), SPEC), shard=0)
    inner.train(0, start, lambda step: None)
    return inner.model


def write(model: Llama, temperature: float = 0.5, seed: int = 0, size_bytes: int = 60) -> bytes:
    return evaluation.sample(model, SPEC, b"9 green ", size_bytes, temperature, seed)


def test_training_lowers_the_loss_on_held_out_text(tmp_path: Path, trained: Llama) -> None:
    text = loaded_text(tmp_path, SPEC)
    fresh = Llama(SPEC.model)
    fresh.load_state_dict(first_parameters(SPEC))
    assert evaluation.validation_loss(fresh, text, SPEC) == pytest.approx(math.log(256), abs=0.1)
    assert evaluation.validation_loss(trained, text, SPEC) < 1.5


def test_loss_is_the_same_however_windows_are_batched(
    tmp_path: Path, trained: Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = loaded_text(tmp_path, SPEC)
    loss = evaluation.validation_loss(trained, text, SPEC)
    monkeypatch.setattr(evaluation, "BATCH_TOKENS", 48)
    assert evaluation.validation_loss(trained, text, SPEC) == pytest.approx(loss, rel=1e-6)


def test_sample_has_the_asked_size_and_repeats_with_its_seed(trained: Llama) -> None:
    sampled = write(trained, seed=1)
    assert len(sampled) == 60
    assert write(trained, seed=1) == sampled
    assert write(trained, seed=2) != sampled


def test_temperature_zero_writes_what_is_likeliest(trained: Llama) -> None:
    assert write(trained, temperature=0, seed=1, size_bytes=24) == b"bottles hanging on the w"
    assert write(trained, temperature=0, seed=2, size_bytes=24) == b"bottles hanging on the w"
