"""The outer loop of DiLoCo: the mean of the shards' deltas is a gradient, and SGD with Nesterov momentum follows it.

A function of files: whoever holds the checkpoint and the deltas computes the same bytes, so the lead can be checked
and replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from node.training import tensors
from node.training.model import Llama, initialise
from node.training.tensors import Layout
from node.training.wire import TensorFile
from protocol.errors import Reject
from protocol.messages import TrainingSpec

MOMENTUM = "momentum."

# An AdamW step moves a parameter by at most 1.17 learning rates plus its weight decay: Cauchy-Schwarz on
# |mean| / sqrt(square) with betas 0.9 and 0.95. Rounded up, so that no honest worker is ever refused.
RATES_PER_STEP_MAX = 2.0


@dataclass(frozen=True, slots=True)
class OuterState:
    """What an outer step starts from and ends with; both by parameter name, fp32."""

    parameters: Mapping[str, Tensor]
    momentum: Mapping[str, Tensor]


def first_state(spec: TrainingSpec) -> OuterState:
    """The state before round 0, drawn from the job's seed."""
    model = Llama(spec.model)
    initialise(model, spec.seed)
    parameters = model.state_dict()
    return OuterState(parameters, {name: torch.zeros_like(tensor) for name, tensor in parameters.items()})


def step(state: OuterState, deltas: Sequence[Mapping[str, Tensor]], spec: TrainingSpec) -> OuterState:
    """The state after following the mean of `deltas`, added in the given order, because fp32 addition has one."""
    parameters = [tensor.clone() for tensor in state.parameters.values()]
    momentum: list[Tensor | None] = [state.momentum[name].clone() for name in state.parameters]
    gradients = []
    for name in state.parameters:
        total = torch.zeros_like(state.parameters[name])
        for delta in deltas:
            total += delta[name]
        gradients.append(total / len(deltas))
    # What torch.optim.SGD calls; the class itself imports torch's compiler, 0.9 s of CPU and 70 MB.
    sgd(
        parameters,
        gradients,
        momentum,
        foreach=False,
        weight_decay=0.0,
        momentum=spec.outer_momentum_permille / 1000,
        lr=spec.outer_learning_rate_permille / 1000,
        dampening=0.0,
        nesterov=spec.outer_momentum_permille > 0,
        maximize=False,
    )
    kept = [tensor for tensor in momentum if tensor is not None]
    return OuterState(
        dict(zip(state.parameters, parameters, strict=True)),
        dict(zip(state.parameters, kept, strict=True)),
    )


def refuse_impossible(delta: Mapping[str, Tensor], start: Mapping[str, Tensor], spec: TrainingSpec) -> None:
    """Raise Reject when a delta is further from `start` than the round's AdamW steps can go.

    The bound stops a single shard from throwing the model away. It does not stop a patient poisoner: data is pinned by
    hash and segments are repeated for that.
    """
    rate = spec.inner_learning_rate_micro / 1e6
    decay = spec.inner_weight_decay_micro / 1e6
    for name, tensor in delta.items():
        reach = spec.inner_steps * rate * (RATES_PER_STEP_MAX + decay * start[name].abs().max().item())
        if (moved := tensor.abs().max().item()) > reach:
            raise Reject(f"{name} moved by {moved:g} in one round; {spec.inner_steps} steps reach at most {reach:g}")


def write_checkpoint(path: Path, state: OuterState) -> TensorFile:
    """One file with the parameters under their names and the momentum under `momentum.<name>`."""
    return tensors.write(path, {**state.parameters, **{MOMENTUM + name: t for name, t in state.momentum.items()}})


def read_checkpoint(path: Path, layout: Layout) -> OuterState:
    """The state in a file that `write_checkpoint` wrote for a model of this layout. Raises Reject, OSError."""
    read = tensors.read(path, {**layout, **{MOMENTUM + name: entry for name, entry in layout.items()}})
    return OuterState({name: read[name] for name in layout}, {name: read[MOMENTUM + name] for name in layout})
