"""Forks, proofs and audits through the API; what a node lacks for an audit it asks of the job's owner."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ledger.feed import prove_fork
from ledger.proof import verify
from node.actions import Action, Send
from node.api import ledger_routes
from node.api.problems import Conflict, NotFound
from node.client import Client
from node.documents import Invalid
from node.events import Event, MatchingsWanted
from protocol.direct import WantMatching
from tests.api.host import TOKEN, Host, served
from tests.builders import keypair
from tests.ledger.archives import forked
from tests.matched import OWNER, Matched, matched


@pytest.fixture(scope="module")
def scene() -> Matched:
    return matched()


class Auditor(Host):
    """A node that neither asked nor sold. Its only neighbour is the job's owner, who `answers` or not."""

    def __init__(self, directory: Path, scene: Matched, *, answers: bool) -> None:
        history = scene.history
        raws = tuple(entry.raw for entry in history.entries)
        super().__init__(directory, raws=raws, network=history.ledger.genesis, key=8)
        self.node.peers.connected.add(OWNER.public)
        self.asked: list[bytes] = []
        self._scene = scene
        self._answers = answers

    async def submit(self, event: Event) -> list[Action]:
        actions = await super().submit(event)
        assert event == MatchingsWanted(self._scene.job.id)
        for action in actions:
            assert isinstance(action, Send)
            assert isinstance(action.message, WantMatching)
            assert action.peer == OWNER.public
            self.asked.append(action.message.award)
            if self._answers:
                award = self._scene.history.state.jobs[self._scene.job.id].awards[action.message.award]
                self.blobs.put(self._scene.records[award.instance_sha256])
        return actions


async def ask(host: Host, question: str, *arguments: Any) -> Any:
    async with served(host) as url:
        return await asyncio.to_thread(getattr(Client(url, TOKEN), question), *arguments)


async def test_what_is_missing_is_asked_of_the_owner_and_the_audit_goes_through(tmp_path: Path, scene: Matched) -> None:
    host = Auditor(tmp_path, scene, answers=True)
    found = await ask(host, "audit", scene.job.id.hex())
    assert found["ok"] is True
    assert host.asked == [entry.id for entry in scene.history.entries if entry.kind == "award"]
    again = await ask(host, "audit", scene.job.id.hex())
    assert (again["ok"], len(host.asked)) == (True, 2)


async def test_an_owner_that_does_not_answer_leaves_the_audit_undone(
    tmp_path: Path, scene: Matched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_routes, "MATCHINGS_WAIT_S", 0.2)
    found = await ask(Auditor(tmp_path, scene, answers=False), "audit", scene.job.id.hex())
    assert found["ok"] is False
    assert [award["follows"] for award in found["awards"]] == [None, None]


async def test_an_owner_that_is_away_is_not_waited_for(tmp_path: Path, scene: Matched) -> None:
    host = Auditor(tmp_path, scene, answers=True)
    host.node.peers.connected.clear()
    assert (await ask(host, "audit", scene.job.id.hex()))["ok"] is False
    assert host.asked == []


async def test_an_audit_of_no_job_is_not_found(tmp_path: Path, scene: Matched) -> None:
    with pytest.raises(NotFound):
        await ask(Auditor(tmp_path, scene, answers=True), "audit", "ab" * 32)


async def test_own_entries_are_proven_and_others_where_a_checkpoint_covers_them(tmp_path: Path, scene: Matched) -> None:
    history = scene.history
    raws = tuple(entry.raw for entry in history.entries)
    host = Host(tmp_path, raws=raws, network=history.ledger.genesis)
    proof = await ask(host, "proof", scene.job.id.hex())
    assert verify(proof, history.ledger.genesis).entry.raw == scene.job.raw
    bid = next(entry for entry in history.entries if entry.kind == "bid")
    with pytest.raises(Conflict, match="no checkpoint of"):
        await ask(host, "proof", bid.id.hex())
    with pytest.raises(NotFound):
        await ask(host, "proof", "ab" * 32)


async def test_forks_have_both_entries(tmp_path: Path, scene: Matched) -> None:
    told, lie = forked(scene.history)
    host = Host(tmp_path, raws=tuple(e.raw for e in scene.history.entries), network=scene.history.ledger.genesis)
    assert await ask(host, "forks") == {"forks": []}
    host.node.ledger.freeze(prove_fork(told, lie))
    (fork,) = (await ask(host, "forks"))["forks"]
    assert fork["raws"] == [told.raw.hex(), lie.raw.hex()]
    assert (fork["author"]["key"], fork["frozen_from"]) == (keypair(3).public.hex(), told.seq)


async def test_entries_of_a_job_and_of_none(tmp_path: Path, scene: Matched) -> None:
    host = Host(tmp_path, raws=tuple(e.raw for e in scene.history.entries), network=scene.history.ledger.genesis)
    found = await ask(host, "verify")
    assert (found["entries"], found["forks"]) == (len(scene.history.entries), 0)
    async with served(host) as url:
        client = Client(url, TOKEN)
        of_job = await asyncio.to_thread(lambda: list(client.entries(job=scene.job.id.hex())))
        assert {entry["kind"] for entry in of_job} >= {"job", "bid", "award", "lease", "receipt", "settlement"}
        assert not {"offer", "attestation"} & {entry["kind"] for entry in of_job}
        with pytest.raises(NotFound):
            await asyncio.to_thread(lambda: list(client.entries(job="ab" * 32)))
        with pytest.raises(Invalid):
            await asyncio.to_thread(lambda: list(client.entries(job="ab")))
