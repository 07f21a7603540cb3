"""Facts about the inner loop: AdamW as torch does it, on schedule, and a segment that anyone can repeat bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from node.training.inner import (
    BETA1,
    BETA2,
    EPSILON,
    GRADIENT_NORM_MAX,
    STEPS,
    Inner,
    learning_rate,
    moments_layout,
)
from node.training.model import Llama
from node.training.tensors import layout_of, read, write
from node.training.text import batches
from protocol.errors import LocalError, Reject

from .builders import equal, first_parameters, loaded_text, training_spec


def inner(directory: Path, shard: int = 0) -> Inner:
    spec = training_spec()
    return Inner(spec, loaded_text(directory, spec), shard)


def ignore(step: int) -> None:
    """Nobody watches."""


def test_steps_are_those_of_adamw(tmp_path: Path) -> None:
    spec = training_spec(inner_weight_decay_micro=100_000)
    text = loaded_text(tmp_path, spec)
    start = first_parameters(spec)
    model = Llama(spec.model)
    model.load_state_dict(start)
    adamw = torch.optim.AdamW(model.parameters(), betas=(BETA1, BETA2), eps=EPSILON, weight_decay=0.1, fused=True)
    for step, tokens in enumerate(batches(text, spec, shard=0, round_number=0)):
        adamw.param_groups[0]["lr"] = learning_rate(spec, step)
        adamw.zero_grad()
        model.loss(tokens).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM_MAX)
        adamw.step()
    delta = Inner(spec, text, shard=0).train(0, start, ignore).delta
    assert equal(delta, {name: start[name] - end for name, end in model.state_dict().items()})


def test_loss_falls_when_rounds_follow_each_other(tmp_path: Path) -> None:
    shard = inner(tmp_path)
    parameters = first_parameters(shard.spec)
    losses = []
    for round_number in range(shard.spec.rounds):
        segment = shard.train(round_number, parameters, ignore)
        parameters = {name: parameters[name] - segment.delta[name] for name in parameters}
        losses.append(segment.loss)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 1


def test_segment_repeats_bit_for_bit(tmp_path: Path) -> None:
    start = first_parameters(training_spec())
    first, second = (inner(tmp_path) for _ in range(2))
    for round_number in range(3):  # the moments of earlier rounds included
        done, again = first.train(round_number, start, ignore), second.train(round_number, start, ignore)
        assert equal(done.delta, again.delta)
        assert done.loss == again.loss


def test_other_shard_or_round_trains_on_other_text(tmp_path: Path) -> None:
    start = first_parameters(training_spec())
    delta = inner(tmp_path).train(0, start, ignore).delta
    assert not equal(inner(tmp_path, shard=1).train(0, start, ignore).delta, delta)
    assert not equal(inner(tmp_path).train(1, start, ignore).delta, delta)


def test_steps_are_counted_from_round_zero_even_by_a_joiner(tmp_path: Path) -> None:
    steps: list[int] = []
    inner(tmp_path).train(2, first_parameters(training_spec()), steps.append)
    assert steps == [10, 11, 12, 13, 14]


def test_a_shard_that_moves_goes_on_bit_for_bit_as_if_it_had_stayed(tmp_path: Path) -> None:
    start = first_parameters(training_spec())
    stayed, left, joined = (inner(tmp_path, shard=1) for _ in range(3))
    for each in (stayed, left):
        each.train(0, start, ignore)
        each.train(1, start, ignore)
    layout = moments_layout(layout_of(dict(joined.model.named_parameters())))
    file = write(tmp_path / "moments.safetensors", left.moments())
    joined.go_on_from(read(file.path, layout))
    moved, expected = joined.train(2, start, ignore), stayed.train(2, start, ignore)
    assert equal(moved.delta, expected.delta)
    assert moved.loss == expected.loss
    fresh = inner(tmp_path, shard=1).train(2, start, ignore)
    assert not equal(fresh.delta, expected.delta)


@pytest.mark.parametrize(
    ("name", "value"),
    [(STEPS, -1.0), (STEPS, 1e6), (STEPS, 0.5), (".square", -1e-9), (".square", 1.1), (".mean", 1e30), (".mean", -0.5)],
)
def test_reject_moments_that_no_training_leaves_behind(tmp_path: Path, name: str, value: float) -> None:
    shard = inner(tmp_path)
    shard.train(0, first_parameters(shard.spec), ignore)
    moments = {key: tensor.clone() for key, tensor in shard.moments().items()}
    first = next(key for key in moments if key.endswith(name))
    moments[first].view(-1)[0] = value
    with pytest.raises(Reject):
        inner(tmp_path).go_on_from(moments)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_moments_of_any_gradients_are_taken(tmp_path: Path, scale: float) -> None:
    """At this rate of growth the mean is the largest that there can be beside its square."""
    shard = inner(tmp_path)
    mean, square = torch.zeros(()), torch.zeros(())
    for step in range(200):
        gradient = torch.tensor(min(1.0, scale * (BETA2 / BETA1) ** (step - 199)))
        mean, square = BETA1 * mean + (1 - BETA1) * gradient, BETA2 * square + (1 - BETA2) * gradient**2
    moments = {name: torch.zeros_like(tensor) for name, tensor in shard.moments().items()}
    for name, tensor in moments.items():
        tensor.view(-1)[0] = mean if name.endswith(".mean") else square if name.endswith(".square") else 7
    shard.go_on_from(moments)


def test_start_is_left_as_it_was(tmp_path: Path) -> None:
    start = first_parameters(training_spec())
    inner(tmp_path).train(0, start, ignore)
    assert equal(start, first_parameters(training_spec()))


def test_divergence_is_named(tmp_path: Path) -> None:
    start = {name: tensor * 1e30 for name, tensor in first_parameters(training_spec()).items()}
    with pytest.raises(LocalError, match="training diverged in round 1: the mean loss is nan"):
        inner(tmp_path).train(1, start, ignore)


@pytest.mark.parametrize(
    ("step", "share_of_peak"),
    [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (12, 0.55), (20, 0.1), (1000, 0.1)],
    ids=["first", "warming", "warm", "peak", "half way", "last", "after"],
)
def test_rate_warms_up_and_falls_as_a_cosine(step: int, share_of_peak: float) -> None:
    spec = training_spec(inner_warmup_steps=4)  # of 4 rounds with 5 steps each
    assert learning_rate(spec, step) == pytest.approx(0.01 * share_of_peak)


def test_rate_without_warmup_begins_at_the_peak() -> None:
    assert learning_rate(training_spec(inner_warmup_steps=0), 0) == pytest.approx(0.01)


def test_warmup_longer_than_the_run_never_divides_by_zero() -> None:
    assert learning_rate(training_spec(inner_warmup_steps=1000), 19) == pytest.approx(0.01 * 20 / 1000)
