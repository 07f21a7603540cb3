"""Facts about the runtime, with a real store, API and loop, a link that notes, and a core that says what it is told.

What the core decides is tested elsewhere; here it is whether the runtime does it, in what order, and what it survives.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest

from ledger.store.sqlite import SqliteStore
from node import actions as ac
from node import events as ev
from node.api.server import serve
from node.home import lasting
from node.home.home import Home
from node.home.lasting import load_rules
from node.home.offline import open_home
from node.home.secret import write_private
from node.running import runtime as module
from node.running.runtime import Runtime
from protocol.envelope import Entry
from protocol.errors import LocalError
from protocol.genesis import Clock
from protocol.messages import Blob
from tests import postgres
from tests.builders import digest, entry, genesis
from tests.shells.runtime_scene import (
    MESSAGE,
    NETWORK,
    PEER,
    TIMER,
    NotingLink,
    made,
    note,
    persist,
    refuse,
    running,
)


async def test_nothing_is_said_of_what_could_not_be_stored_and_the_node_stops(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, core, said = made(home)
    monkeypatch.setattr(runtime.store, "append", refuse)
    core.script[ev.Started] = [persist(), ac.Publish("t", b"x"), ac.Send(PEER, MESSAGE)]
    with pytest.raises(LocalError, match="the disk is full") as failure:
        await runtime.run(serve)
    assert failure.value.code == "HEL-LEDGER-007"
    assert said == []
    assert not home.runtime_path.exists()
    SqliteStore(home.ledger_path, NETWORK.network_id()).close()  # its lock is free


async def test_no_snapshot_is_kept_of_what_could_not_be_stored(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does trying to hide why the node stopped."""
    runtime, core, _ = made(home)
    monkeypatch.setattr(module, "SNAPSHOT_ENTRIES_MIN", 1)
    monkeypatch.setattr(runtime.store, "append", refuse)
    core.ledger.extend(note(), note().time_ms)
    core.script[ev.Started] = [persist()]
    with pytest.raises(LocalError, match="the disk is full"):
        await runtime.run(serve)
    store = SqliteStore(home.ledger_path, NETWORK.network_id())
    assert store.snapshot() is None
    store.close()


async def test_whoever_submitted_what_could_not_be_stored_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, core, said = made(home)
    monkeypatch.setattr(runtime.store, "append", refuse)
    core.script[ev.JobCancelled] = [persist(), ac.Send(PEER, MESSAGE)]
    run = asyncio.create_task(runtime.run(serve))
    with pytest.raises(LocalError, match="nothing of them was said"):
        await runtime.submit(ev.JobCancelled(b""))
    with pytest.raises(LocalError, match="the disk is full"):
        await run
    assert said == []


async def test_what_is_submitted_is_durable_when_the_answer_comes_and_said_only_then(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, core, said = made(home)
    said_at_commit: list[list[str]] = []
    append = runtime.store.append

    def noting(entries: Sequence[Entry], durable: bool) -> None:
        time.sleep(0.05)  # a slow disk: whoever does not wait for it is caught
        said_at_commit.append(list(said))
        append(entries, durable)

    monkeypatch.setattr(runtime.store, "append", noting)
    async with running(runtime):
        core.script[ev.JobCancelled] = [persist(), ac.Send(PEER, MESSAGE)]
        actions = await runtime.submit(ev.JobCancelled(b""))
        assert runtime.store.entry(note().id) == note().raw
        assert isinstance(actions[0], ac.Persist)
    assert said_at_commit == [[]]
    assert said == ["sent"]


@pytest.mark.parametrize("ours", [False, True])
async def test_a_batch_survives_a_power_cut_if_an_entry_of_ours_is_in_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    runtime, core, _ = made(home)
    own = entry(runtime.keypair, network=NETWORK.network_id())
    committed: list[bool] = []
    monkeypatch.setattr(runtime.store, "append", lambda entries, durable: committed.append(durable))
    core.script[ev.JobCancelled] = [ac.Persist((note(),)), *([ac.Persist((own,))] if ours else [])]
    async with running(runtime):
        await runtime.submit(ev.JobCancelled(b""))
    assert committed == [ours]


async def test_rules_are_kept_for_the_next_start(home: Home) -> None:
    runtime, core, _ = made(home)
    core.script[ev.JobCancelled] = [ac.KeepRules(("carbon > 300 => pause",))]
    async with running(runtime):
        await runtime.submit(ev.JobCancelled(b""))
        await asyncio.gather(*runtime._tasks.running)
    assert [str(rule) for rule in load_rules(home)] == ["carbon > 300 => pause"]


async def test_a_node_runs_on_postgresql(home: Home, postgres_server: postgres.Server) -> None:
    home.config_path.write_text(home.config_path.read_text().replace('store = "sqlite"', 'store = "postgres"'))
    write_private(home.dsn_path, postgres_server.database())
    runtime, core, said = made(home)
    core.script[ev.JobCancelled] = [persist(), ac.Send(PEER, MESSAGE)]
    async with running(runtime):
        await runtime.submit(ev.JobCancelled(b""))
    assert said == ["sent"]
    assert not home.ledger_path.exists()
    again = Runtime(home)
    assert [raw for _, raw in again.store.replay()] == [note().raw]
    again.store.close()
    with open_home(home) as stopped:
        assert [raw for _, raw in stopped.store.replay()] == [note().raw]
    assert not home.ledger_path.exists()


async def test_the_first_event_is_started_whatever_came_in_before(home: Home) -> None:
    runtime, core, _ = made(home)
    async with running(runtime):
        await core.until(ev.MessageReceived(PEER, b"early"))
    assert isinstance(core.heard[0], ev.Started)
    assert core.heard[0].data_url.startswith("https://127.0.0.1:")


async def test_a_node_on_all_interfaces_names_the_one_that_leads_out(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can dial `0.0.0.0`: neither peers nor those who fetch blobs, nor whom its operator gives the address."""
    runtime, core, _ = made(home)
    monkeypatch.setattr(NotingLink, "addresses", ("/ip4/0.0.0.0/tcp/8471/p2p/x",))
    monkeypatch.setattr(lasting, "outward_host", lambda family, far_away: "192.0.2.6")
    async with running(runtime):
        await core.until(ev.MessageReceived(PEER, b"early"))
        assert json.loads(home.runtime_path.read_bytes())["addresses"] == ["/ip4/192.0.2.6/tcp/8471/p2p/x"]
    started = core.heard[0]
    assert isinstance(started, ev.Started)
    assert started.addresses == runtime.addresses == ("/ip4/192.0.2.6/tcp/8471/p2p/x",)
    assert started.data_url.startswith("https://192.0.2.6:")
    assert not started.is_data_host_given


async def test_a_node_from_which_nothing_leads_out_starts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, core, _ = made(home)
    monkeypatch.setattr(NotingLink, "addresses", ("/ip4/0.0.0.0/tcp/8471/p2p/x",))
    monkeypatch.setattr(lasting, "outward_host", lambda family, far_away: None)
    async with running(runtime):
        await core.until(ev.MessageReceived(PEER, b"early"))
    assert core.heard


async def test_a_timeout_fires_and_a_timer_fires_never_early(home: Home) -> None:
    """Under a clock so fast that a millisecond of the world is 100 seconds: rounding down would be early."""
    fast = genesis(slot_ms=3_600_000, clock=Clock(unix_ms=time.time_ns() // 10**6, network_ms=0, speed=100_000))
    home.genesis_path.write_text(fast.model_dump_json())
    runtime, core, _ = made(home)
    at_ms = runtime.now_ms() + 40_000_000 + 77_777
    later = ev.Timer(ev.TimerKind.REDIAL)
    core.script[ev.Started] = [ac.SetTimer(TIMER, at_ms), ac.SetTimeout(later, 1)]
    async with running(runtime):
        await core.until(ev.TimerFired(TIMER))
        await core.until(ev.TimerFired(later))
    assert core.heard_at_ms[core.heard.index(ev.TimerFired(TIMER))] >= at_ms


async def test_a_timer_follows_a_clock_that_is_set(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, core, _ = made(home)
    monkeypatch.setattr(module, "CLOCK_CHECK_MS", 1)
    monkeypatch.setattr(runtime, "now_ms", lambda: 1000)
    core.script[ev.Started] = [ac.SetTimer(TIMER, 10**15), ac.SetTimeout(ev.Timer(ev.TimerKind.SYNC), 5)]
    async with running(runtime):
        await core.until(ev.TimerFired(ev.Timer(ev.TimerKind.SYNC)))
        assert ev.TimerFired(TIMER) not in core.heard
        monkeypatch.setattr(runtime, "now_ms", lambda: 10**15)
        await core.until(ev.TimerFired(TIMER))


async def test_an_action_that_fails_is_logged_and_answered_and_the_loop_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runtime, core, _ = made(home)

    async def fail(action: ac.Action) -> NoReturn:
        raise RuntimeError("a bug")

    monkeypatch.setattr(runtime._trainer, "carry_out", fail)
    shard = ev.ShardId(digest("award"), 0)
    core.script[ev.JobCancelled] = [ac.TrainRound(shard, 0, None), ac.StopShard(shard)]  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR, "heliotrope"):
        async with running(runtime):
            await runtime.submit(ev.JobCancelled(b""))
            await core.until(ev.ShardFailed(shard, "a fault of this program: RuntimeError"))
            await runtime.submit(ev.JobCancelled(b""))
    assert "TrainRound failed" in caplog.text
    assert "StopShard failed" in caplog.text


async def test_a_fold_that_fails_is_answered_so_that_the_next_may_be_asked_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, core, _ = made(home)

    def fail(*_: Any) -> NoReturn:
        raise RuntimeError("a bug")

    monkeypatch.setattr(module, "read_event", fail)
    core.script[ev.JobCancelled] = [ac.Refold()]
    async with running(runtime):
        await runtime.submit(ev.JobCancelled(b""))
        await core.until(ev.Refolded(None, "a fault of this program: RuntimeError"))


async def test_addresses_are_kept_in_order_and_a_disk_that_refuses_them_costs_only_them(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, core, _ = made(home)
    async with running(runtime):
        for number in range(5):
            core.script[ev.JobCancelled] = [ac.RememberPeers(((f"/a/{number}", number),))] * 2
            await runtime.submit(ev.JobCancelled(b""))
        await asyncio.gather(*runtime._tasks.running)
        assert json.loads(home.peers_path.read_bytes()) == [["/a/4", 4]]
        monkeypatch.setattr("node.running.keeping.write_private", lambda *_: refuse((), durable=True))
        core.script[ev.JobCancelled] = [ac.RememberPeers((("/b", 0),))]
        await runtime.submit(ev.JobCancelled(b""))
        await runtime.submit(ev.JobCancelled(b""))
    assert json.loads(home.peers_path.read_bytes()) == [["/a/4", 4]]


async def test_a_node_that_ends_leaves_no_task_no_lock_and_no_notice(home: Home) -> None:
    runtime, core, _ = made(home)
    core.script[ev.Started] = [ac.SetTimer(TIMER, runtime.now_ms() + 10**12)]
    before = asyncio.all_tasks()
    async with running(runtime):
        assert json.loads(home.runtime_path.read_bytes())["api"] == runtime.api_url
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()
    assert not home.runtime_path.exists()
    SqliteStore(home.ledger_path, NETWORK.network_id()).close()


def test_a_runtime_that_cannot_be_made_lets_go_of_the_ledger(home: Home) -> None:
    home.blobs_path.write_text("in the way")
    with pytest.raises(OSError, match="blobs"):
        Runtime(home)
    SqliteStore(home.ledger_path, NETWORK.network_id()).close()


def test_a_second_node_on_the_home_touches_nothing_of_the_first(home: Home) -> None:
    first = Runtime(home)
    home.work_path.mkdir()
    with pytest.raises(LocalError, match="another process holds"):
        Runtime(home)
    assert home.work_path.exists()
    first.store.close()


async def test_a_record_of_a_matching_is_sent_where_it_is_here_and_kept_under_its_hash_only(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, core, said = made(home)
    mine = runtime.blobs.put(b"mine")
    is_kept = asyncio.Event()
    keep, loop = runtime.blobs.keep, asyncio.get_running_loop()

    def keep_and_tell(blob: Blob, content: bytes) -> None:
        keep(blob, content)
        loop.call_soon_threadsafe(is_kept.set)

    monkeypatch.setattr(runtime.blobs, "keep", keep_and_tell)
    core.script[ev.JobCancelled] = [
        ac.SendMatching(PEER, digest("award"), digest("not here")),
        ac.SendMatching(PEER, digest("award"), mine.sha256),
        ac.KeepMatching(digest("theirs"), b"forged"),
        ac.KeepMatching(digest("theirs"), b"theirs"),
    ]
    async with running(runtime):
        await runtime.submit(ev.JobCancelled(b""))
        async with asyncio.timeout(10):
            await is_kept.wait()
            while not said:  # noqa: ASYNC110 - the link only notes; it is asked from another thread's turn
                await asyncio.sleep(0.01)
    assert said == ["sent"]
    assert set(runtime.blobs.names()) == {mine.sha256, digest("theirs")}
