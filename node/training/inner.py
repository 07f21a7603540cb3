"""The inner loop of DiLoCo: one shard's AdamW steps between two outer steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from node.training import text as texts
from node.training.model import Llama
from node.training.tensors import Layout
from node.training.text import Text
from protocol.errors import LocalError, Reject
from protocol.messages import TrainingSpec

BETA1, BETA2 = 0.9, 0.95  # Llama's (arXiv:2302.13971)
EPSILON = 1e-8  # Adam's default (arXiv:1412.6980)
GRADIENT_NORM_MAX = 1.0  # Llama's
FINAL_RATE_SHARE = 0.1  # Llama's cosine ends at a tenth of the peak
# What moments can be at all. By Cauchy and Schwarz no mean of gradients exceeds so many roots of their mean square, and
# no gradient the norm it is clipped to; beyond it a stranger's moments would make the next worker's first step as large
# as he likes. With room for rounding, and for squares too small for a float.
MEAN_BY_ROOT_MAX = 1.01 * (1 - BETA1) / math.sqrt((1 - BETA2) * (1 - BETA1**2 / BETA2))
MEAN_MIN = 1e-18
SQUARE_MAX = 1.01 * GRADIENT_NORM_MAX**2
MEAN, SQUARE, STEPS = ".mean", ".square", "steps"  # of a file of moments; parameters have other names


@dataclass(frozen=True, slots=True)
class Segment:
    """What one round of one shard came to."""

    delta: dict[str, Tensor]  # parameters at the start minus at the end: the outer step descends along it
    loss: float  # nats per byte, mean over the batches


class Inner:
    """One shard's model and AdamW moments. The moments live from round to round; they begin at zero in a joiner, unless
    it goes on from those of whoever trained the shard before."""

    def __init__(self, spec: TrainingSpec, text: Text, shard: int) -> None:
        self.spec = spec
        self.text = text
        self.shard = shard
        self.model = Llama(spec.model)
        self._parameters: list[Tensor] = list(self.model.parameters())
        self._mean = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._square = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = [torch.zeros(()) for _ in self._parameters]

    def train(self, round_number: int, start: Mapping[str, Tensor], on_step: Callable[[int], None]) -> Segment:
        """Take the round's inner steps from the parameters `start`; `on_step` gets each step's number since round 0.

        The result is a function of the arguments, the shard and the rounds trained before: bit for bit on the same
        torch build and instruction set. Raises LocalError when training diverges, and whatever `on_step` raises.
        """
        self.model.load_state_dict(dict(start))
        first_step = round_number * self.spec.inner_steps
        losses = []
        for i, tokens in enumerate(texts.batches(self.text, self.spec, self.shard, round_number)):
            on_step(first_step + i)
            losses.append(self._step(tokens, learning_rate(self.spec, first_step + i)))
        delta = {name: start[name] - end for name, end in self.model.state_dict().items()}
        loss = math.fsum(losses) / len(losses)
        if not math.isfinite(loss) or not all(tensor.isfinite().all() for tensor in delta.values()):
            rate = self.spec.inner_learning_rate_micro / 1e6
            raise LocalError(
                "HEL-TRAIN-005",
                f"training diverged in round {round_number}: the mean loss is {loss}",
                f"submit the job with an inner learning rate below {rate:g} or a longer warm-up",
            )
        return Segment(delta, loss)

    def moments(self) -> dict[str, Tensor]:
        """What another worker needs to go on with this shard, beside the parameters of the next round."""
        names = [name for name, _ in self.model.named_parameters()]
        means = {name + MEAN: mean for name, mean in zip(names, self._mean, strict=True)}
        squares = {name + SQUARE: square for name, square in zip(names, self._square, strict=True)}
        return means | squares | {STEPS: self._steps[0]}

    def go_on_from(self, moments: Mapping[str, Tensor]) -> None:
        """Take over moments of `moments_layout`. Raises Reject for such as no training leaves behind."""
        names = [name for name, _ in self.model.named_parameters()]
        steps_max = self.spec.rounds * self.spec.inner_steps
        steps = moments[STEPS].item()
        if not 0 <= steps <= steps_max or steps != int(steps):
            raise Reject(f"moments after {steps} steps, the job has {steps_max}")
        for name in names:
            mean, square = moments[name + MEAN], moments[name + SQUARE]
            if bool((square < 0).any()) or bool((square > SQUARE_MAX).any()):
                raise Reject(f"moments whose squares are not within 0 to {SQUARE_MAX:g}")
            if bool((mean.abs() > MEAN_BY_ROOT_MAX * square.sqrt() + MEAN_MIN).any()):
                raise Reject(f"moments whose means exceed {MEAN_BY_ROOT_MAX:.3f} roots of their squares")
        self._mean = [moments[name + MEAN] for name in names]
        self._square = [moments[name + SQUARE] for name in names]
        self._steps = [moments[STEPS].clone() for _ in names]

    def _step(self, tokens: Tensor, rate: float) -> float:
        loss = self.model.loss(tokens)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, GRADIENT_NORM_MAX)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        with torch.no_grad():
            # What torch.optim.AdamW calls; the class itself imports torch's compiler, 0.9 s of CPU and 70 MB a worker.
            adamw(
                self._parameters,
                gradients,
                self._mean,
                self._square,
                [],
                self._steps,
                foreach=False,
                fused=True,
                amsgrad=False,
                beta1=BETA1,
                beta2=BETA2,
                lr=rate,
                weight_decay=self.spec.inner_weight_decay_micro / 1e6,
                eps=EPSILON,
                maximize=False,
            )
        return loss.item()


def moments_layout(layout: Layout) -> Layout:
    """What a file of moments of a model of this layout holds."""
    means = {name + MEAN: kind for name, kind in layout.items()}
    squares = {name + SQUARE: kind for name, kind in layout.items()}
    return means | squares | {STEPS: (torch.float32, ())}


def learning_rate(spec: TrainingSpec, step: int) -> float:
    """Linear warm-up, then a cosine to a tenth of the peak at the run's end. `step` counts from round 0, so a joiner
    continues where the lost worker stood."""
    peak = spec.inner_learning_rate_micro / 1e6
    warmup = spec.inner_warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, spec.rounds * spec.inner_steps - warmup)
    return peak * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * (1 + math.cos(math.pi * min(1.0, progress))) / 2)
