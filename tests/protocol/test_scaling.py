"""The figures of protocol/SCALING.md are those that its bench prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.market.advertising import FULL_EVERY_HEARTBEATS, HEARTBEATS, PACE_MS
from node.market.offering import LIFETIME_MS
from tests.bench.bench_scale_gossip import MESSAGES
from tests.bench.scaling_model import ASSUMED, day_of_adverts, spread, tables

PAGE = (Path(__file__).parents[2] / "protocol/SCALING.md").read_text()


def test_the_tables_are_those_of_the_bench() -> None:
    said = day_of_adverts()
    assert [line for line in tables(said) if line not in PAGE] == []
    assert f"{said.full_per_hour:.1f} full adverts of {said.full_bytes:.0f} bytes" in PAGE
    assert f"{said.updates_per_hour:.1f} updates of {said.update_bytes:.0f} bytes" in PAGE


def test_the_mesh_is_that_of_the_bench() -> None:
    found = spread(1_000, MESSAGES[1_000])
    assert f"| 1,000 | {found.copies:.2f} | {found.hops_p95} | {found.reached_p50_ms:.0f} |" in PAGE
    assert found.copies == pytest.approx(ASSUMED.copies, rel=0.02)


def test_the_periods_are_those_of_the_program() -> None:
    minutes = LIFETIME_MS // 60_000
    assert f"**heartbeat of {minutes // HEARTBEATS} minutes**" in PAGE
    assert f"**lifetime of {minutes} minutes**" in PAGE
    assert f"**full advert every {minutes // HEARTBEATS * FULL_EVERY_HEARTBEATS} minutes**" in PAGE
    assert PACE_MS == 60_000, "once a minute at most in the long run"
