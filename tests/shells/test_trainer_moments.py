"""Facts about moments: a shard takes them along, its lead keeps the newest, bad ones cost nothing but themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node import actions as ac
from node import events as ev
from node.training.blobs import BlobStore
from protocol.direct import Ticket
from protocol.errors import LocalError
from tests.shells.trainer_scene import GARBAGE, JOB, OTHER, SHARD, FakeWorker, Scene, made


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return made(tmp_path, monkeypatch)


async def test_a_shard_goes_on_from_the_moments_that_it_is_given(scene: Scene) -> None:
    event = await scene.trainer.carry_out(scene.start(moments=scene.data.ticket(b"moments")))
    assert event == ev.ShardStarted(SHARD, resumed=True, fetched_bytes=len(b"a text" + b"moments"))
    assert scene.worker.moments is not None
    assert scene.worker.moments.read_bytes() == b"moments"


@pytest.mark.parametrize("content", [GARBAGE, b"gone"])
async def test_moments_that_are_none_or_gone_begin_at_zero(scene: Scene, content: bytes) -> None:
    ticket = scene.data.ticket(content)
    if content == b"gone":
        del scene.data.contents[ticket.blob.sha256]
    event = await scene.trainer.carry_out(scene.start(moments=ticket))
    assert isinstance(event, ev.ShardStarted)
    assert not event.resumed
    assert scene.worker.moments is None


async def test_a_shard_that_leaves_writes_its_moments_for_the_lead_who_keeps_them(scene: Scene) -> None:
    await scene.lead()
    await scene.trainer.carry_out(scene.start())
    event = await scene.trainer.carry_out(ac.SaveShard(SHARD))
    assert isinstance(event, ev.ShardSaved)
    assert event.moments is not None
    path = scene.trainer.find(event.moments.sha256)
    assert path is not None
    ticket = scene.data.ticket(path.read_bytes())
    await scene.trainer.carry_out(ac.StopShard(SHARD))
    assert scene.trainer.find(event.moments.sha256) is None
    kept = await scene.trainer.carry_out(ac.KeepMoments(JOB, SHARD, ticket))
    assert kept == ev.MomentsKept(JOB, SHARD, event.moments)
    await scene.trainer.carry_out(ac.StepOuter(JOB, 0, ((SHARD, scene.data.ticket(b"delta")),)))
    assert scene.trainer.find(event.moments.sha256) is not None


async def test_moments_that_cannot_be_had_are_said_to_be_none(scene: Scene) -> None:
    await scene.lead()
    ticket = scene.data.ticket(b"moments")
    scene.data.contents.clear()
    event = await scene.trainer.carry_out(ac.KeepMoments(JOB, SHARD, ticket))
    assert event == ev.MomentsKept(JOB, SHARD, None)


async def test_moments_are_none_while_the_model_is_not_made(scene: Scene) -> None:
    event = await scene.trainer.carry_out(ac.KeepMoments(JOB, SHARD, scene.data.ticket(b"moments")))
    assert event == ev.MomentsKept(JOB, SHARD, None)


async def test_moments_of_a_shard_that_the_lead_trained_itself_outlive_its_worker(scene: Scene) -> None:
    await scene.lead()
    await scene.trainer.carry_out(scene.start())
    saved = await scene.trainer.carry_out(ac.SaveShard(SHARD))
    assert isinstance(saved, ev.ShardSaved)
    assert saved.moments is not None
    ticket = scene.data.ticket(b"moments").model_copy(update={"blob": saved.moments})
    assert await scene.trainer.carry_out(ac.KeepMoments(JOB, SHARD, ticket)) == ev.MomentsKept(
        JOB, SHARD, saved.moments
    )
    await scene.trainer.carry_out(ac.StopShard(SHARD))
    assert scene.trainer.find(saved.moments.sha256) is not None


async def test_newer_moments_of_a_shard_take_the_place_of_older_ones(scene: Scene) -> None:
    await scene.lead()
    older, newer = scene.data.ticket(b"older"), scene.data.ticket(b"newer")
    for shard, ticket in ((SHARD, older), (OTHER, older), (SHARD, newer)):
        await scene.trainer.carry_out(ac.KeepMoments(JOB, shard, ticket))
    assert scene.trainer.find(older.blob.sha256) is not None, "those of the other shard"
    await scene.trainer.carry_out(ac.KeepMoments(JOB, OTHER, newer))
    assert scene.trainer.find(older.blob.sha256) is None
    assert scene.trainer.find(newer.blob.sha256) is not None


async def test_moments_that_name_the_parameters_do_not_remove_them(scene: Scene) -> None:
    parameters = await scene.lead()
    hostile = scene.data.ticket(b"").model_copy(update={"blob": parameters})
    for ticket in (hostile, scene.data.ticket(b"others")):
        await scene.trainer.carry_out(ac.KeepMoments(JOB, SHARD, ticket))
    assert scene.trainer.find(parameters.sha256) is not None


async def test_a_shard_that_is_stopped_while_its_moments_are_fetched_is_not_started_without(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching, may_fail = asyncio.Event(), asyncio.Event()
    ticket = scene.data.ticket(GARBAGE)

    async def fetch(asked: Ticket, blobs: BlobStore) -> Path:
        if asked == ticket:
            fetching.set()
            await may_fail.wait()
            raise LocalError("HEL-DATA-002", "gone", "")
        return blobs.path(blobs.put(scene.data.contents[asked.blob.sha256]).sha256)

    monkeypatch.setattr(scene.data, "fetch", fetch)
    start = asyncio.create_task(scene.trainer.carry_out(scene.start(moments=ticket)))
    await fetching.wait()
    await scene.trainer.carry_out(ac.StopShard(SHARD))
    may_fail.set()
    assert await start is None
    assert FakeWorker.all == []
