"""Carries out a node's training actions: fetches blobs, runs workers, and returns what came of it as an event.

One worker process per shard, and one more for each job that this node leads. The tensors stay in files and in the
workers; this process sees names and numbers only.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.data import DataClient
from node.events import (
    Event,
    FinishModel,
    LeadFailed,
    ModelFinished,
    ModelReady,
    OuterStepped,
    PrepareModel,
    RoundTrained,
    ShardFailed,
    ShardId,
    ShardStarted,
    StartShard,
    StepOuter,
    TrainRound,
)
from node.training.blobs import BlobStore
from node.training.errors import FaultyDelta
from node.training.supervisor import Worker
from node.training.wire import Outer, Role
from protocol.errors import LocalError
from protocol.messages import Blob, TrainingSpec

SAMPLE_BYTES = 400
SAMPLE_TEMPERATURE_PERMILLE = 600
SAMPLE_PROMPT = "\n"
SAMPLE_SEED = 0
KEPT_BLOBS = 4  # parameters or deltas of the last rounds that somebody may still fetch


@dataclass(slots=True)
class Seat:
    """A worker and its files."""

    worker: Worker
    directory: Path
    inner_steps: int
    state: Path | None = None  # the lead's outer checkpoint
    recent: deque[bytes] = field(default_factory=deque)


class Trainer:
    """`emit` takes events that nobody asked for: a worker that died."""

    def __init__(
        self, work_path: Path, blobs: BlobStore, data: DataClient, now_ms: Callable[[], int], emit: Callable[[Event], None]
    ) -> None:
        self._work_path = work_path
        self._blobs = blobs
        self._data = data
        self._now_ms = now_ms
        self._emit = emit
        self._shards: dict[ShardId, Seat] = {}
        self._leads: dict[bytes, Seat] = {}
        self._stopped: set[ShardId] = set()
        shutil.rmtree(work_path, ignore_errors=True)  # left by a crash; whatever counts is in the ledger or a blob

    # --- shards -----------------------------------------------------------------------------------------------------

    async def start_shard(self, action: StartShard) -> Event | None:
        shard = action.shard
        try:
            data = [await self._data.fetch(ticket) for ticket in action.data]
            if [t.blob for t in action.data] != list(action.spec.data):
                return ShardFailed(shard, "the lead's data is not what the job names")
            seat = await self._seat(
                "shard",
                f"shard-{shard.award.hex()[:16]}-{shard.shard}",
                action.spec,
                data,
                shard.shard,
                lambda cause: self._emit(ShardFailed(shard, cause)),
            )
        except LocalError as error:
            return ShardFailed(shard, error.cause)
        if shard in self._stopped:
            await self._leave(seat)
            return None
        self._shards[shard] = seat
        return ShardStarted(shard)

    async def train_round(self, action: TrainRound) -> Event | None:
        shard, seat = action.shard, self._shards.get(action.shard)
        if seat is None:
            return None
        try:
            parameters = await self._data.fetch(action.parameters)
            result = await seat.worker.round(action.round, parameters)
            delta = self._keep(seat, result.path)
            self._forget(seat, action.parameters.blob.sha256)
        except LocalError as error:
            return None if shard in self._stopped else ShardFailed(shard, error.cause)
        return RoundTrained(
            shard,
            action.round,
            delta,
            result.loss_millinats,
            result.tokens,
            seat.inner_steps,
            self._now_ms(),
            result.cpu_ms,
        )

    async def stop_shard(self, shard: ShardId) -> None:
        self._stopped.add(shard)
        seat = self._shards.pop(shard, None)
        if seat is not None:
            await self._leave(seat)

    # --- leading ----------------------------------------------------------------------------------------------------

    async def prepare_model(self, action: PrepareModel) -> Event:
        job = action.job
        try:
            data = [self._blobs.path(blob.sha256) for blob in action.spec.data]
            seat = await self._seat(
                "lead", f"lead-{job.hex()[:16]}", action.spec, data, 0, lambda cause: self._emit(LeadFailed(job, cause))
            )
            self._leads[job] = seat
            return await self._take_outer(job, seat, await seat.worker.init(), None)
        except LocalError as error:
            return LeadFailed(job, error.cause)

    async def step_outer(self, action: StepOuter) -> Event | None:
        job, seat = action.job, self._leads.get(action.job)
        if seat is None or seat.state is None:
            return None  # the job was closed meanwhile
        deltas = []
        for shard, ticket in action.deltas:
            try:
                deltas.append(await self._data.fetch(ticket))
            except LocalError as error:
                return LeadFailed(job, error.cause, shard)
        try:
            outer = await seat.worker.outer_step(action.round, seat.state, deltas)
            event = await self._take_outer(job, seat, outer, action.round)
        except FaultyDelta as fault:
            return LeadFailed(job, str(fault), action.deltas[fault.index][0])
        except LocalError as error:
            return LeadFailed(job, error.cause)
        for _, ticket in action.deltas:
            self._forget(seat, ticket.blob.sha256)
        return event

    async def _take_outer(self, job: bytes, seat: Seat, outer: Outer, number: int | None) -> Event:
        """Keep the outer state for the next step, and publish the parameters."""
        if seat.state is not None:
            seat.state.unlink(missing_ok=True)
        seat.state, parameters = outer.checkpoint.path, outer.parameters.path
        if number is None:
            loss_millinats = await seat.worker.evaluate(parameters)
            return ModelReady(job, self._keep(seat, parameters), loss_millinats)
        return OuterStepped(job, number, self._keep(seat, parameters))

    async def finish_model(self, action: FinishModel) -> Event | None:
        seat = self._leads.get(action.job)
        if seat is None:
            return None
        try:
            parameters = self._blobs.path(action.parameters.sha256)
            loss_millinats = await seat.worker.evaluate(parameters)
            sample = await seat.worker.sample(
                parameters, SAMPLE_PROMPT, SAMPLE_BYTES, SAMPLE_TEMPERATURE_PERMILLE, SAMPLE_SEED
            )
        except LocalError as error:
            return LeadFailed(action.job, error.cause)
        with contextlib.suppress(ValueError):
            seat.recent.remove(action.parameters.sha256)  # the checkpoint outlives the job
        return ModelFinished(action.job, action.parameters, loss_millinats, sample)

    async def close_model(self, job: bytes) -> None:
        seat = self._leads.pop(job, None)
        if seat is not None:
            await self._leave(seat)

    async def stop(self) -> None:
        """Stop every worker; nothing is left behind."""
        self._stopped.update(self._shards)
        seats = [*self._shards.values(), *self._leads.values()]
        self._shards.clear()
        self._leads.clear()
        await asyncio.gather(*(self._leave(seat) for seat in seats))

    # --- files ------------------------------------------------------------------------------------------------------

    async def _seat(
        self,
        role: Role,
        name: str,
        spec: TrainingSpec,
        data: Sequence[Path],
        shard: int,
        on_lost: Callable[[str], None],
    ) -> Seat:
        directory = self._work_path / name
        worker = await Worker.start(
            role=role, directory=directory, spec=spec, data=data, shard=shard, on_lost=on_lost
        )
        return Seat(worker, directory, spec.inner_steps)

    async def _leave(self, seat: Seat) -> None:
        await seat.worker.stop()
        while seat.recent:
            self._blobs.remove(seat.recent.popleft())
        shutil.rmtree(seat.directory, ignore_errors=True)

    def _keep(self, seat: Seat, path: Path) -> Blob:
        """Take a worker's file into the store, and let the oldest of its kind go."""
        blob = self._blobs.put(path)
        path.unlink(missing_ok=True)
        self._forget(seat, blob.sha256)
        return blob

    def _forget(self, seat: Seat, sha256: bytes) -> None:
        """Remove this blob some rounds from now."""
        seat.recent.append(sha256)
        while len(seat.recent) > KEPT_BLOBS:
            self._blobs.remove(seat.recent.popleft())
