"""What a worker does with each command: a shard trains rounds, the lead keeps the outer state.

Imports torch, so only the worker process imports it, and only once it has a job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from node.training import delta, evaluation, outer, tensors, text, wire
from node.training.errors import FaultyDelta
from node.training.inner import Inner, moments_layout
from node.training.model import Llama
from protocol.errors import LocalError, Reject


class Shard:
    """Trains one shard's rounds."""

    def __init__(self, prepare: wire.Prepare, on_step: Callable[[int], None]) -> None:
        self._spec = prepare.spec
        self._directory = prepare.directory
        self._on_step = on_step
        self._inner = Inner(prepare.spec, text.load(prepare.data, prepare.spec), prepare.shard)
        self.layout = tensors.layout_of(self._inner.model.state_dict())
        if prepare.moments is not None:
            layout = tensors.layout_of(dict(self._inner.model.named_parameters()))
            self._inner.go_on_from(tensors.read(prepare.moments, moments_layout(layout)))

    def handle(self, command: wire.Command) -> wire.Reply:
        """Raises Reject for parameters that are not the model's, LocalError for a command that is not a shard's."""
        match command:
            case wire.TrainRound():
                return self._train(command)
            case wire.Save():
                file = tensors.write(self._directory / "moments.safetensors", self._inner.moments())
                return wire.Saved(path=file.path, sha256=file.sha256, size_bytes=file.size_bytes)
            case _:
                raise not_for("shard", command)

    def _train(self, command: wire.TrainRound) -> wire.Delta:
        start = tensors.read(command.params, self.layout)
        began_s, cpu_began_s = time.monotonic(), time.process_time()
        segment = self._inner.train(command.round, start, self._on_step)
        file = tensors.write(self._directory / f"delta-{command.round:05}.safetensors", delta.quantise(segment.delta))
        return wire.Delta(
            round=command.round,
            loss_millinats=round(segment.loss * 1000),
            tokens=self._spec.tokens_per_round,
            duration_ms=round((time.monotonic() - began_s) * 1000),
            cpu_ms=round((time.process_time() - cpu_began_s) * 1000),
            path=file.path,
            sha256=file.sha256,
            size_bytes=file.size_bytes,
        )


class Lead:
    """Makes, steps, evaluates and samples the global model. Between commands its state is in files alone."""

    def __init__(self, prepare: wire.Prepare, on_step: Callable[[int], None]) -> None:
        self._spec = prepare.spec
        self._directory = prepare.directory
        self._text = text.load(prepare.data, prepare.spec)
        self._model = Llama(prepare.spec.model)
        self.layout = tensors.layout_of(self._model.state_dict())

    def handle(self, command: wire.Command) -> wire.Reply:
        """Raises FaultyDelta or Reject for files that are not the model's, LocalError for a command of a shard."""
        match command:
            case wire.Initialise():
                return self._write(0, outer.first_state(self._spec))
            case wire.OuterStep():
                return self._write(command.round + 1, self._step(command))
            case wire.Evaluate():
                self._load(command.params)
                loss = evaluation.validation_loss(self._model, self._text, self._spec)
                return wire.Evaluated(loss_millinats=round(loss * 1000))
            case wire.Sample():
                self._load(command.params)
                return wire.Sampled(text=self._sample(command))
            case _:
                raise not_for("lead", command)

    def _step(self, command: wire.OuterStep) -> outer.OuterState:
        state = outer.read_checkpoint(command.state, self.layout)
        layout = delta.quantised_layout(self.layout)
        deltas = []
        for index, path in enumerate(command.deltas):
            try:
                pseudo_gradient = delta.dequantise(tensors.read(path, layout))
                outer.refuse_impossible(pseudo_gradient, state.parameters, self._spec)
            except Reject as cause:
                raise FaultyDelta(index, str(cause)) from cause
            deltas.append(pseudo_gradient)
        return outer.step(state, deltas, self._spec)

    def _write(self, next_round: int, state: outer.OuterState) -> wire.Outer:
        return wire.Outer(
            checkpoint=outer.write_checkpoint(self._directory / f"outer-{next_round:05}.safetensors", state),
            parameters=tensors.write(self._directory / f"parameters-{next_round:05}.safetensors", state.parameters),
        )

    def _load(self, params: Path) -> None:
        self._model.load_state_dict(tensors.read(params, self.layout))

    def _sample(self, command: wire.Sample) -> str:
        sampled = evaluation.sample(
            self._model,
            self._spec,
            command.prompt.encode(),
            command.size_bytes,
            command.temperature_permille / 1000,
            command.seed,
        )
        return sampled.decode(errors="replace")


def take_role(prepare: wire.Prepare, isolation: str, on_step: Callable[[int], None]) -> tuple[Shard | Lead, wire.Ready]:
    """The role that `prepare` asks for and what to say once it is ready. Raises what `load_text` raises, and Reject for
    moments that are not this model's."""
    role = (Shard if prepare.role == "shard" else Lead)(prepare, on_step)
    return role, wire.Ready(
        parameters=sum(torch.Size(shape).numel() for _, shape in role.layout.values()),
        torch=torch.__version__,
        isa=torch.backends.cpu.get_cpu_capability(),
        device="cpu",
        isolation=isolation,
    )


def not_for(role: str, command: wire.Command) -> LocalError:
    """The daemon asked the wrong worker."""
    return LocalError("HEL-TRAIN-007", f"a {role} does not answer '{command.op}'", "this is a fault in Heliotrope")
