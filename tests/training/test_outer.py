"""Facts about the outer loop: Nesterov as torch does it, a function of files, and no delta beyond an honest reach."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from node.training import outer
from node.training.inner import Inner
from node.training.outer import OuterState
from node.training.tensors import layout_of
from protocol.errors import Reject
from protocol.messages import TrainingSpec

from .builders import equal, first_parameters, loaded_text, training_spec


def random_deltas(spec: TrainingSpec, count: int, seed: int = 0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    layout = first_parameters(spec)
    return [
        {name: torch.randn(tensor.shape, generator=generator) * 0.01 for name, tensor in layout.items()}
        for _ in range(count)
    ]


def same(left: OuterState, right: OuterState) -> bool:
    return equal(dict(left.parameters), dict(right.parameters)) and equal(dict(left.momentum), dict(right.momentum))


@pytest.mark.parametrize("momentum_permille", [0, 600])
def test_steps_are_those_of_sgd_with_nesterov_momentum(momentum_permille: int) -> None:
    spec = training_spec(outer_momentum_permille=momentum_permille)
    state = outer.first_state(spec)
    parameters = {name: tensor.clone().requires_grad_() for name, tensor in state.parameters.items()}
    sgd = torch.optim.SGD(
        parameters.values(), lr=0.7, momentum=momentum_permille / 1000, nesterov=momentum_permille > 0
    )
    for seed in range(3):
        (delta,) = random_deltas(spec, 1, seed)
        for name, parameter in parameters.items():
            parameter.grad = delta[name]
        sgd.step()
        state = outer.step(state, [delta], spec)
    assert equal(dict(state.parameters), {name: parameter.detach() for name, parameter in parameters.items()})


def test_deltas_are_averaged() -> None:
    spec = training_spec(outer_momentum_permille=0, outer_learning_rate_permille=1000)
    start = outer.first_state(spec)
    deltas = random_deltas(spec, 3)
    end = outer.step(start, deltas, spec)
    for name, parameter in start.parameters.items():
        mean = torch.stack([delta[name] for delta in deltas]).mean(0)
        assert torch.allclose(end.parameters[name], parameter - mean, atol=1e-7)


def test_equal_inputs_give_equal_bits_and_stay_as_they_were() -> None:
    spec = training_spec()
    start = outer.first_state(spec)
    ends = [outer.step(start, random_deltas(spec, 3), spec) for _ in range(2)]
    assert same(ends[0], ends[1])
    assert same(start, outer.first_state(spec))


def test_another_lead_continues_from_the_file_to_the_same_bytes(tmp_path: Path) -> None:
    spec = training_spec()
    layout = layout_of(first_parameters(spec))
    state = outer.step(outer.first_state(spec), random_deltas(spec, 3), spec)
    outer.write_checkpoint(tmp_path / "1", state)
    resumed = outer.read_checkpoint(tmp_path / "1", layout)
    assert same(resumed, state)
    ends = [outer.step(each, random_deltas(spec, 3, seed=1), spec) for each in (state, resumed)]
    files = [outer.write_checkpoint(tmp_path / f"end-{i}", end) for i, end in enumerate(ends)]
    assert files[0].sha256 == files[1].sha256


def test_parameters_alone_are_no_checkpoint(tmp_path: Path) -> None:
    state = outer.first_state(training_spec())
    outer.write_checkpoint(tmp_path / "1", OuterState(state.parameters, {}))
    with pytest.raises(Reject, match="'momentum"):
        outer.read_checkpoint(tmp_path / "1", layout_of(dict(state.parameters)))


def test_accept_every_honest_delta(tmp_path: Path) -> None:
    # Without warm-up AdamW's first step moves each parameter by a whole learning rate, as far as any step does.
    spec = training_spec(inner_warmup_steps=0, inner_steps=1, inner_learning_rate_micro=300_000)
    start = first_parameters(spec)
    delta = Inner(spec, loaded_text(tmp_path, spec), shard=0).train(0, start, lambda step: None).delta
    assert max(tensor.abs().max().item() for tensor in delta.values()) > 0.29
    outer.refuse_impossible(delta, start, spec)


def test_reject_delta_beyond_the_reach_of_its_steps() -> None:
    spec = training_spec()
    (delta,) = random_deltas(spec, 1)
    delta["model.norm.weight"][3] = 0.11  # 5 steps of at most 2 x 0.01
    with pytest.raises(Reject, match=r"model.norm.weight moved by 0.11 in one round; 5 steps reach at most 0.1"):
        outer.refuse_impossible(delta, first_parameters(spec), spec)
