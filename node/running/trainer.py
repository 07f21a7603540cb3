"""Carries out a node's training actions: fetches blobs, runs workers, and returns what came of it as an event.

One worker process per shard, and one more for each job that this node leads. The tensors stay in files and in the
workers; this process sees names and numbers only. What a worker reads and writes lives in a directory of its own and
goes with it: the node's lasting blobs are read here and never removed, whatever a stranger's ticket names.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from node.actions import (
    Action,
    CloseModel,
    FinishModel,
    KeepMoments,
    Match,
    PrepareModel,
    Refold,
    SaveShard,
    StartShard,
    StepOuter,
    StopShard,
    TrainRound,
)
from node.data.client import DataClient
from node.energy.hardware.watch import Watch
from node.events import (
    Event,
    LeadFailed,
    ModelFinished,
    ModelReady,
    MomentsKept,
    OuterStepped,
    Refolded,
    RoundTrained,
    ShardFailed,
    ShardId,
    ShardSaved,
    ShardStarted,
)
from node.training.blobs import BlobStore
from node.training.errors import FaultyDelta, WorkerLost
from node.training.seat import Seat
from node.training.supervisor import Worker
from node.training.wire import Outer, Role
from protocol.direct import Ticket
from protocol.errors import LocalError
from protocol.messages import Blob, ModelSpec, TrainingSpec

SAMPLE_BYTES = 400
SAMPLE_TEMPERATURE_PERMILLE = 600
SAMPLE_PROMPT = "\n"
SAMPLE_SEED = 0
HEADER_BYTES_MAX = 2**20  # of a safetensors file

Key = ShardId | bytes  # a shard, or a job that this node leads


class Trainer:
    """`emit` takes events that nobody asked for: a worker that died."""

    def __init__(
        self,
        work_path: Path,
        blobs: BlobStore,
        data: DataClient,
        now_ms: Callable[[], int],
        emit: Callable[[Event], None],
        power: Watch | None = None,
    ) -> None:
        """`blobs`: the node's lasting ones; `power`: over the hardware's meter, where one is used. Clears `work_path`
        of what a crash left: whatever counts is elsewhere."""
        self._work_path = work_path
        self._blobs = blobs
        self._data = data
        self._now_ms = now_ms
        self._emit = emit
        self._power = power
        self._seats: dict[Key, Seat] = {}
        self._starting: set[Key] = set()
        shutil.rmtree(work_path, ignore_errors=True)

    def find(self, sha256: bytes) -> Path | None:
        """The file of a blob, lasting or a worker's."""
        stores = (self._blobs, *(seat.blobs for seat in self._seats.values()))
        return next((store.path(sha256) for store in stores if sha256 in store), None)

    def carry_out(self, action: Action) -> Coroutine[Any, Any, Event | None]:
        """A training action; what it returns is the next event."""
        return self._carry_out[type(action)](self, action)

    # --- shards -----------------------------------------------------------------------------------------------------

    async def start_shard(self, action: StartShard) -> Event | None:
        shard = action.shard
        if [ticket.blob for ticket in action.data] != list(action.spec.data):
            return ShardFailed(shard, "the lead's data is not what the job names")

        def lost(cause: str) -> None:
            self._emit(ShardFailed(shard, cause))

        resumed = action.moments is not None
        try:
            try:
                seat = await self._sit(shard, "shard", action.spec, action.data, lost, action.moments)
            except LocalError:
                if not resumed:
                    raise
                resumed = False  # moments that cannot be had, or are none, begin at zero
                seat = await self._sit(shard, "shard", action.spec, action.data, lost)
        except (LocalError, OSError) as error:
            return ShardFailed(shard, cause_of(error))
        return None if seat is None else ShardStarted(shard, resumed, seat.tell_fetched_bytes())

    async def save_shard(self, action: SaveShard) -> Event | None:
        seat = self._seats.get(action.shard)
        if seat is None:
            return None
        try:
            saved = await seat.worker.save()
            return ShardSaved(action.shard, await seat.keep(saved.path))
        except WorkerLost:
            return None
        except (LocalError, OSError):
            return ShardSaved(action.shard, None)

    async def train_round(self, action: TrainRound) -> Event | None:
        shard, seat = action.shard, self._seats.get(action.shard)
        if seat is None:
            return None
        try:
            parameters = await self._fetch(action.parameters, seat)
            result = await seat.worker.round(action.round, parameters)
            end_ms = self._now_ms()
            measured = await self._power.take(shard) if self._power else None
            delta = await seat.keep(result.path)
        except WorkerLost:
            return None  # `on_lost` has told it, or we stopped it
        except (LocalError, OSError) as error:
            return ShardFailed(shard, cause_of(error))
        seat.drop_fetched()
        return RoundTrained(
            shard,
            action.round,
            delta,
            result.loss_millinats,
            result.tokens,
            seat.inner_steps,
            end_ms,
            result.cpu_ms,
            measured=measured,
            fetched_bytes=seat.tell_fetched_bytes(),
        )

    async def stop_shard(self, action: StopShard) -> None:
        await self._leave(action.shard)

    # --- leading ----------------------------------------------------------------------------------------------------

    async def prepare_model(self, action: PrepareModel) -> Event | None:
        job = action.job
        try:
            seat = await self._sit(job, "lead", action.spec, (), lambda cause: self._emit(LeadFailed(job, cause)))
        except (LocalError, OSError) as error:
            return LeadFailed(job, cause_of(error))
        if seat is None:
            return None  # the job was closed meanwhile
        try:
            parameters = await self._take_outer(seat, await seat.worker.init())
            return ModelReady(job, parameters, await seat.worker.evaluate(seat.blobs.path(parameters.sha256)))
        except WorkerLost:
            return None
        except (LocalError, OSError) as error:
            return LeadFailed(job, cause_of(error))

    async def step_outer(self, action: StepOuter) -> Event | None:
        job, seat = action.job, self._seats.get(action.job)
        if seat is None or seat.state is None:
            return None  # the job was closed meanwhile
        deltas = []
        for shard, ticket in action.deltas:
            try:
                deltas.append(await self._fetch(ticket, seat))
            except (LocalError, OSError) as error:
                return LeadFailed(job, cause_of(error), shard)
        try:
            outer = await seat.worker.outer_step(action.round, seat.state, deltas)
            parameters = await self._take_outer(seat, outer)
        except FaultyDelta as fault:
            return LeadFailed(job, str(fault), action.deltas[fault.index][0])
        except WorkerLost:
            return None
        except (LocalError, OSError) as error:
            return LeadFailed(job, cause_of(error))
        seat.drop_fetched()
        return OuterStepped(job, action.round, parameters)

    async def _take_outer(self, seat: Seat, outer: Outer) -> Blob:
        """Keep the outer state for the next step, and publish the parameters."""
        if seat.state is not None:
            seat.state.unlink(missing_ok=True)
        seat.state = outer.checkpoint.path
        return await seat.keep(outer.parameters.path)

    async def keep_moments(self, action: KeepMoments) -> Event | None:
        """They stay until the job is over, or newer ones of the shard come. Where this node trained the shard itself
        they are copied: its worker's files go with it."""
        seat, blob = self._seats.get(action.job), action.moments.blob
        if seat is None:
            return MomentsKept(action.job, action.shard, None)  # its model is not made yet
        try:
            brought = blob.sha256 not in seat.blobs
            if brought:
                path = self.find(blob.sha256)
                if path is None:
                    await self._data.fetch(action.moments, seat.blobs)
                else:
                    await asyncio.to_thread(seat.blobs.put, path)
            seat.hold_moments(action.shard.shard, blob.sha256, brought=brought)
        except (LocalError, OSError):
            return MomentsKept(action.job, action.shard, None)
        return MomentsKept(action.job, action.shard, blob)

    async def finish_model(self, action: FinishModel) -> Event | None:
        seat = self._seats.get(action.job)
        if seat is None:
            return None
        try:
            parameters = seat.blobs.path(action.parameters.sha256)
            checkpoint = await asyncio.to_thread(self._blobs.put, parameters)  # it outlives the job
            loss_millinats = await seat.worker.evaluate(parameters)
            sample = await seat.worker.sample(
                parameters, SAMPLE_PROMPT, SAMPLE_BYTES, SAMPLE_TEMPERATURE_PERMILLE, SAMPLE_SEED
            )
        except WorkerLost:
            return None
        except (LocalError, OSError) as error:
            return LeadFailed(action.job, cause_of(error))
        return ModelFinished(action.job, checkpoint, loss_millinats, sample)

    async def close_model(self, action: CloseModel) -> None:
        await self._leave(action.job)

    async def stop(self) -> None:
        """Stop every worker; nothing is left behind."""
        await asyncio.gather(*(self._leave(key) for key in (*self._starting, *self._seats)))
        await asyncio.to_thread(shutil.rmtree, self._work_path, ignore_errors=True)

    # --- seats ------------------------------------------------------------------------------------------------------

    async def _sit(
        self,
        key: Key,
        role: Role,
        spec: TrainingSpec,
        tickets: Sequence[Ticket],
        on_lost: Callable[[str], None],
        moments: Ticket | None = None,
    ) -> Seat | None:
        """Fetch the data, which a lead has, and start a worker; None if it was told to leave meanwhile.

        Raises LocalError, OSError. Unless a seat is returned, nothing is left of it.
        """
        directory = self._work_path / (
            f"lead-{key.hex()}" if isinstance(key, bytes) else f"{key.award.hex()}-{key.shard}"
        )
        self._starting.add(key)
        try:
            size_bytes_max = max(parameters_bytes_max(spec.model), *(blob.size_bytes for blob in spec.data))
            blobs = BlobStore(directory / "blobs", size_bytes_max)
            fetched_bytes = self._missing_bytes(*tickets, *(() if moments is None else (moments,)))
            if role == "shard":
                data = [await self._have(ticket, blobs) for ticket in tickets]
            else:
                data = [self._blobs.path(blob.sha256) for blob in spec.data]
            if key not in self._starting:
                return None
            shard = key.shard if isinstance(key, ShardId) else 0
            worker = await Worker.start(
                role=role,
                directory=directory / "worker",
                spec=spec,
                data=data,
                shard=shard,
                on_lost=on_lost,
                moments=None if moments is None else await self._have(moments, blobs),
            )
            if key not in self._starting:
                await worker.stop(grace_s=0)
                return None
            self._seats[key] = Seat(worker, directory, blobs, spec.inner_steps, fetched_bytes=fetched_bytes)
            if self._power:
                await self._power.sit(key, worker.pid)
            return self._seats.get(key)
        except (LocalError, OSError):
            if key not in self._starting:
                return None  # nobody waits for it any more, nor for another attempt
            raise
        finally:
            self._starting.discard(key)
            if key not in self._seats:
                shutil.rmtree(directory, ignore_errors=True)

    async def _leave(self, key: Key) -> None:
        """Whoever is starting it sees that it is wanted no more."""
        self._starting.discard(key)
        seat = self._seats.pop(key, None)
        if seat is not None:
            try:
                if self._power:
                    await self._power.leave(key)
            finally:
                await seat.worker.stop()
            await asyncio.to_thread(shutil.rmtree, seat.directory, ignore_errors=True)

    async def _have(self, ticket: Ticket, blobs: BlobStore) -> Path:
        return self.find(ticket.blob.sha256) or await self._data.fetch(ticket, blobs)

    def _missing_bytes(self, *tickets: Ticket) -> int:
        return sum(ticket.blob.size_bytes for ticket in tickets if self.find(ticket.blob.sha256) is None)

    async def _fetch(self, ticket: Ticket, seat: Seat) -> Path:
        """A blob that is here already is not fetched, and not ours to remove."""
        path = self.find(ticket.blob.sha256)
        if path is None:
            path = await self._data.fetch(ticket, seat.blobs)
            seat.fetched.add(ticket.blob.sha256)
            seat.fetched_bytes += ticket.blob.size_bytes
        return path

    _carry_out: ClassVar[Mapping[type, Callable[[Trainer, Any], Coroutine[Any, Any, Event | None]]]] = {
        StartShard: start_shard,
        TrainRound: train_round,
        StopShard: stop_shard,
        SaveShard: save_shard,
        KeepMoments: keep_moments,
        PrepareModel: prepare_model,
        StepOuter: step_outer,
        FinishModel: finish_model,
        CloseModel: close_model,
    }


def parameters_bytes_max(model: ModelSpec) -> int:
    """More than any parameters or delta of the model weigh: twice its 32-bit floats (node/training/model.py)."""
    return 8 * model.parameters + HEADER_BYTES_MAX


def cause_of(error: LocalError | OSError) -> str:
    """What may be told to the other side of a job. The path in an OSError is ours alone."""
    return error.cause if isinstance(error, LocalError) else f"{type(error).__name__}: {error.strerror}"


def failure_of(action: Action, reason: str) -> Event | None:
    """The event that ends the wait for a long action's result; None where nobody waits."""
    match action:
        case StartShard(shard) | TrainRound(shard):
            return ShardFailed(shard, reason)
        case Match(job) | PrepareModel(job) | StepOuter(job) | FinishModel(job):
            return LeadFailed(job, reason)
        case SaveShard(shard):
            return ShardSaved(shard, None)
        case KeepMoments(job, shard):
            return MomentsKept(job, shard, None)
        case Refold():
            return Refolded(None, reason)
        case _:
            return None
