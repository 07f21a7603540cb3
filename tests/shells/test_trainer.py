"""Facts about the trainer, with real files and a fake worker: what it takes it gives back, every end is told once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node import actions as ac
from node import events as ev
from node.energy.power import Measured
from node.running.trainer import Trainer
from node.training.errors import WorkerLost
from node.training.seat import KEPT_BLOBS
from tests.builders import digest
from tests.shells.trainer_scene import JOB, SHARD, FakeWorker, Scene, made


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return made(tmp_path, monkeypatch)


async def started(scene: Scene) -> asyncio.Task[ev.Event | None]:
    """A start whose worker is not up yet."""
    FakeWorker.may_start.clear()
    start = asyncio.create_task(scene.trainer.carry_out(scene.start()))
    await FakeWorker.is_starting.wait()
    return start


async def test_a_shard_that_is_stopped_while_it_starts_leaves_nothing_behind(scene: Scene) -> None:
    start = await started(scene)
    await scene.trainer.carry_out(ac.StopShard(SHARD))
    FakeWorker.may_start.set()
    assert await start is None
    assert scene.worker.stopped == 1
    assert list(scene.work_path.iterdir()) == []


async def test_a_job_that_is_closed_while_its_lead_starts_leaves_nothing_behind(scene: Scene) -> None:
    scene.blobs.put(b"a text")
    FakeWorker.may_start.clear()
    prepare = asyncio.create_task(scene.trainer.carry_out(ac.PrepareModel(JOB, scene.spec)))
    await FakeWorker.is_starting.wait()
    await scene.trainer.carry_out(ac.CloseModel(JOB))
    FakeWorker.may_start.set()
    assert await prepare is None
    assert scene.worker.stopped == 1


async def test_the_end_of_the_node_reaches_what_is_only_starting(scene: Scene) -> None:
    start = await started(scene)
    await scene.trainer.stop()
    FakeWorker.may_start.set()
    assert await start is None
    assert scene.worker.stopped == 1
    assert scene.left() == []


async def test_data_that_the_job_does_not_name_is_not_even_fetched(scene: Scene) -> None:
    event = await scene.trainer.carry_out(scene.start(data=(scene.data.ticket(b"other"),)))
    assert event == ev.ShardFailed(SHARD, "the lead's data is not what the job names")
    assert not scene.work_path.exists()


async def test_data_that_cannot_be_had_fails_the_shard_and_leaves_nothing(scene: Scene) -> None:
    scene.data.contents.clear()
    assert await scene.trainer.carry_out(scene.start()) == ev.ShardFailed(SHARD, "gone")
    assert list(scene.work_path.iterdir()) == []


async def test_what_is_fetched_is_told_once_and_what_is_here_is_not_fetched(scene: Scene) -> None:
    started = await scene.trainer.carry_out(scene.start())
    assert started == ev.ShardStarted(SHARD, fetched_bytes=len(b"a text"))
    scene.blobs.put(b"at home")
    for content, fetched_bytes in ((b"from afar", 9), (b"at home", 0)):
        event = await scene.trainer.carry_out(ac.TrainRound(SHARD, 0, scene.data.ticket(content)))
        assert isinstance(event, ev.RoundTrained)
        assert event.fetched_bytes == fetched_bytes


async def test_a_shard_keeps_its_last_deltas_and_nothing_else(scene: Scene) -> None:
    await scene.trainer.carry_out(scene.start())
    deltas = []
    for number in range(3 * KEPT_BLOBS):
        round_ = ac.TrainRound(SHARD, number, scene.data.ticket(b"parameters %d" % number))
        event = await scene.trainer.carry_out(round_)
        assert isinstance(event, ev.RoundTrained)
        deltas.append(event.delta.sha256)
    assert [scene.trainer.find(d) is not None for d in deltas] == [False] * 2 * KEPT_BLOBS + [True] * KEPT_BLOBS
    assert len(scene.left()) == KEPT_BLOBS + 1  # the text
    await scene.trainer.carry_out(ac.StopShard(SHARD))
    assert scene.left() == []
    assert scene.worker.stopped == 1


class FakeWatch:
    """Each worker drew 5 J in each round, until the meter breaks."""

    def __init__(self) -> None:
        self.sitting: set[object] = set()
        self.is_broken = False

    async def sit(self, key: object, pid: int) -> None:
        await asyncio.sleep(0)
        self.sitting.add(key)

    async def leave(self, key: object) -> None:
        self.sitting.discard(key)

    async def take(self, key: object) -> Measured | None:
        return None if self.is_broken or key not in self.sitting else Measured(5_000, 1_000, 50, "a meter")


async def test_a_round_tells_what_its_worker_drew_by_the_meter(scene: Scene) -> None:
    watch = FakeWatch()
    scene.trainer = Trainer(scene.work_path, scene.blobs, scene.data, lambda: 0, scene.told.append, watch)  # type: ignore[arg-type]
    await scene.trainer.carry_out(scene.start())
    await scene.lead()
    assert watch.sitting == {SHARD, JOB}  # a lead draws too, and its part is no shard's
    told = []
    for number in range(2):
        event = await scene.trainer.carry_out(ac.TrainRound(SHARD, number, scene.data.ticket(b"parameters")))
        assert isinstance(event, ev.RoundTrained)
        told.append(event.measured)
        watch.is_broken = True
    assert told == [Measured(5_000, 1_000, 50, "a meter"), None]
    await scene.trainer.stop()
    assert watch.sitting == set()


@pytest.mark.parametrize("shards", [1, 12])
async def test_a_lead_of_many_shards_still_serves_the_parameters_of_the_round(scene: Scene, shards: int) -> None:
    parameters = await scene.lead()
    for number in range(3):
        deltas = tuple(
            (ev.ShardId(digest("award"), i), scene.data.ticket(b"delta %d %d" % (number, i))) for i in range(shards)
        )
        event = await scene.trainer.carry_out(ac.StepOuter(JOB, number, deltas))
        assert isinstance(event, ev.OuterStepped)
        assert scene.trainer.find(parameters.sha256) is not None  # a slow peer may still want the last ones
        parameters = event.parameters
        assert scene.trainer.find(parameters.sha256) is not None
        assert all(scene.trainer.find(ticket.blob.sha256) is None for _, ticket in deltas)


async def test_a_delta_that_cannot_be_had_names_its_shard(scene: Scene) -> None:
    await scene.lead()
    ticket = scene.data.ticket(b"delta")
    scene.data.contents.clear()
    event = await scene.trainer.carry_out(ac.StepOuter(JOB, 0, ((SHARD, ticket),)))
    assert event == ev.LeadFailed(JOB, "gone", SHARD)


async def test_the_checkpoint_outlives_its_job(scene: Scene) -> None:
    parameters = await scene.lead()
    event = await scene.trainer.carry_out(ac.FinishModel(JOB, parameters))
    assert event == ev.ModelFinished(JOB, parameters, 1, "Once upon a time")
    await scene.trainer.carry_out(ac.CloseModel(JOB))
    assert parameters.sha256 in scene.blobs
    assert scene.left() == []


async def test_a_ticket_that_names_a_lasting_blob_does_not_remove_it(scene: Scene) -> None:
    """Else a lead could empty its provider's store: the hashes of checkpoints are public."""
    checkpoint = scene.data.ticket(b"a checkpoint of the provider's own")
    scene.blobs.put(b"a checkpoint of the provider's own")
    await scene.trainer.carry_out(scene.start())
    for number in range(2 * KEPT_BLOBS):
        assert isinstance(await scene.trainer.carry_out(ac.TrainRound(SHARD, number, checkpoint)), ev.RoundTrained)
    await scene.trainer.carry_out(ac.StopShard(SHARD))
    assert checkpoint.blob.sha256 in scene.blobs


async def test_a_lost_worker_fails_its_shard_once(scene: Scene) -> None:
    await scene.trainer.carry_out(scene.start())
    scene.worker.fails = WorkerLost("it ended")
    scene.worker.on_lost("it ended")  # the supervisor tells it, and fails the request
    assert await scene.trainer.carry_out(ac.TrainRound(SHARD, 0, scene.data.ticket(b"parameters"))) is None
    assert scene.told == [ev.ShardFailed(SHARD, "it ended")]


async def test_a_full_disk_fails_the_shard_without_naming_our_paths(scene: Scene) -> None:
    await scene.trainer.carry_out(scene.start())
    scene.worker.fails = OSError(28, "No space left on device", "/secret/place")
    event = await scene.trainer.carry_out(ac.TrainRound(SHARD, 0, scene.data.ticket(b"parameters")))
    assert event == ev.ShardFailed(SHARD, "OSError: No space left on device")


async def test_a_new_trainer_clears_what_a_crash_left(scene: Scene) -> None:
    await scene.trainer.carry_out(scene.start())
    assert scene.left()
    Trainer(scene.work_path, scene.blobs, scene.data, lambda: 0, scene.told.append)  # type: ignore[arg-type]
    assert scene.left() == []
