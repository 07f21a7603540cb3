"""Several requesters who ask at the same time: with turns fewer of them are refused, and all are served."""

from __future__ import annotations

import pytest

from node.devnet.sites import sites
from node.market import question
from node.sim.world import World
from tests.sim.worlds import assert_all_is_well, is_closed, job, record_of, world

SITES = sites(9, seed=42)
REQUESTERS = [site.name for site in SITES[:3]]


def all_ask_at_once() -> tuple[World, dict[str, bytes]]:
    """Three jobs of two shards, and nine peers with one unit each."""
    rivals = world(sites=SITES)
    return rivals, {
        name: rivals.submit(name, job(rivals, name=name, shards=2, slots=2, training={"rounds": 2}))
        for name in REQUESTERS
    }


def end(rivals: World, jobs: dict[str, bytes]) -> list[str]:
    """Let all come to their end; why placements were taken back."""
    for name, job_id in jobs.items():
        rivals.run_until(is_closed(rivals, job_id, name), within_ms=300_000)
    records = [record_of(rivals, name, job_id) for name, job_id in jobs.items()]
    assert [record.closure.outcome for record in records if record.closure] == ["done"] * len(jobs)
    assert_all_is_well(rivals)
    return [placed.revocation_reason for record in records for placed in record.placements if placed.revocation_reason]


def test_rivals_who_take_turns_are_refused_less_than_those_who_take_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    in_turn = end(*all_ask_at_once())
    monkeypatch.setattr(question, "RIVALS_MAX", 0)
    best = end(*all_ask_at_once())
    assert len(best) >= 4
    assert set(best) == {"0 of 1 units are free"}
    assert in_turn == []
