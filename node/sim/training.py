"""Simulated training: answers what `node.running.trainer` answers, after virtual time and without a tensor.

Every blob is a hash of what it depends on, so equal runs make equal blobs and a mixed-up round shows. Losses only fall
with the round; they mean nothing. Tickets are checked in earnest before a blob counts as fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from node.actions import (
    Action,
    CloseModel,
    FinishModel,
    KeepMoments,
    PrepareModel,
    SaveShard,
    StartShard,
    StepOuter,
    StopShard,
    TrainRound,
)
from node.events import (
    Event,
    LeadFailed,
    ModelFinished,
    ModelReady,
    MomentsKept,
    OuterStepped,
    RoundTrained,
    ShardFailed,
    ShardId,
    ShardSaved,
    ShardStarted,
)
from protocol.direct import Ticket
from protocol.messages import Blob, TrainingSpec

START_MS = 1500
STEP_MS = 60
SAVE_MS = 100
EVALUATE_MS = 300
FETCH_FAILED_MS = 200
FLOAT_BYTES = 4

Answer = tuple[int, Event]  # after how many ms of the machine's time, and what


@dataclass(slots=True)
class Worker:
    """One shard's process; it does one thing at a time."""

    spec: TrainingSpec
    free_at_ms: int


@dataclass(slots=True)
class Trainer:
    """The workers of one host. `fetch` says why a ticket's blob cannot be had, or "" once it is in `blobs`.

    A result that crosses a stop on its way still arrives: the core must not mind.
    """

    blobs: set[bytes]
    fetch: Callable[[Ticket], str]
    round_ms: int
    clock_speed: int
    shards: dict[ShardId, Worker] = field(default_factory=dict)
    leads: dict[bytes, TrainingSpec] = field(default_factory=dict)

    def answer(self, action: Action, now_ms: int) -> Answer | None:
        """Carry out an action of training; None for those that want no answer, and those that come too late."""
        match action:
            case StopShard(shard):
                self.shards.pop(shard, None)
            case CloseModel(job):
                self.leads.pop(job, None)
            case StartShard() | TrainRound() | SaveShard():
                return self._answer_as_shard(action, now_ms)
            case KeepMoments(job, shard, moments) if job in self.leads:
                reason = self.fetch(moments)
                return FETCH_FAILED_MS, MomentsKept(job, shard, None if reason else moments.blob)
            case PrepareModel():
                return self._prepare_model(action)
            case StepOuter():
                return self._step_outer(action)
            case FinishModel():
                return self._finish_model(action)
        return None

    def _answer_as_shard(self, action: StartShard | TrainRound | SaveShard, now_ms: int) -> Answer | None:
        match action:
            case StartShard():
                return self._start_shard(action, now_ms)
            case TrainRound():
                return self._train_round(action, now_ms)
            case SaveShard(shard) if shard in self.shards:
                size_bytes = 2 * FLOAT_BYTES * self.shards[shard].spec.model.parameters
                return SAVE_MS, ShardSaved(shard, self._keep(size_bytes, "moments", shard.award, shard.shard))
        return None

    def _start_shard(self, action: StartShard, now_ms: int) -> Answer:
        if action.shard in self.shards:
            raise AssertionError(f"{action.shard} was started twice")
        wanted = action.data if action.moments is None else (*action.data, action.moments)
        fetched_bytes = self._missing_bytes(*wanted)
        for ticket in action.data:
            if reason := self.fetch(ticket):
                return FETCH_FAILED_MS, ShardFailed(action.shard, reason)
        if [ticket.blob for ticket in action.data] != list(action.spec.data):
            return 0, ShardFailed(action.shard, "the lead's data is not what the job names")
        resumed = action.moments is not None and not self.fetch(action.moments)
        self.shards[action.shard] = Worker(action.spec, now_ms)
        return START_MS, ShardStarted(action.shard, resumed, fetched_bytes)

    def _train_round(self, action: TrainRound, now_ms: int) -> Answer | None:
        worker = self.shards.get(action.shard)
        if worker is None:
            return None
        fetched_bytes = self._missing_bytes(action.parameters)
        if reason := self.fetch(action.parameters):
            return FETCH_FAILED_MS, ShardFailed(action.shard, reason)
        weight_bytes = worker.spec.model.parameters  # int8
        delta = self._keep(weight_bytes, "delta", action.parameters.blob.sha256, action.round, action.shard.shard)
        start_ms = max(now_ms, worker.free_at_ms)
        worker.free_at_ms = start_ms + self.round_ms * self.clock_speed
        trained = RoundTrained(
            shard=action.shard,
            round=action.round,
            delta=delta,
            loss_millinats=loss_millinats(action.round),
            tokens=worker.spec.tokens_per_round,
            inner_steps=worker.spec.inner_steps,
            end_ms=worker.free_at_ms,
            cpu_ms=worker.free_at_ms - start_ms,
            fetched_bytes=fetched_bytes,
        )
        return (worker.free_at_ms - now_ms) // self.clock_speed, trained

    def _prepare_model(self, action: PrepareModel) -> Answer:
        missing = [blob for blob in action.spec.data if blob.sha256 not in self.blobs]
        if missing:
            return 0, LeadFailed(action.job, f"{len(missing)} blobs of its data are missing")
        self.leads[action.job] = action.spec
        parameters = self._keep(FLOAT_BYTES * action.spec.model.parameters, "parameters", action.job, action.spec.seed)
        return START_MS, ModelReady(action.job, parameters, loss_millinats(-1))

    def _step_outer(self, action: StepOuter) -> Answer | None:
        spec = self.leads.get(action.job)
        if spec is None:
            return None
        for shard, ticket in action.deltas:
            if reason := self.fetch(ticket):
                return FETCH_FAILED_MS, LeadFailed(action.job, reason, shard)
        deltas = b"".join(ticket.blob.sha256 for _, ticket in action.deltas)
        parameters = self._keep(FLOAT_BYTES * spec.model.parameters, "outer", deltas, action.round)
        return STEP_MS, OuterStepped(action.job, action.round, parameters)

    def _finish_model(self, action: FinishModel) -> Answer | None:
        spec = self.leads.get(action.job)
        if spec is None:
            return None
        loss = loss_millinats(spec.rounds)
        return EVALUATE_MS, ModelFinished(action.job, action.parameters, loss, "To be, or not to be")

    def _missing_bytes(self, *tickets: Ticket) -> int:
        """What of these is not here yet."""
        return sum(ticket.blob.size_bytes for ticket in tickets if ticket.blob.sha256 not in self.blobs)

    def _keep(self, size_bytes: int, kind: str, seed: bytes, *numbers: int) -> Blob:
        sha256 = hashlib.sha256(f"{kind} {seed.hex()} {numbers}".encode()).digest()
        self.blobs.add(sha256)
        return Blob(sha256=sha256, size_bytes=size_bytes)


def loss_millinats(round_: int) -> int:
    """After so many rounds, -1 before the first: 5.5 nats per byte, falling towards 1.5."""
    return 1500 + 4000 // (2 + round_)
