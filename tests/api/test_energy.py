"""A node's power through the API: readings, sources that are silent, and the same in numbers for Prometheus."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from node.api import views
from node.api.metrics import exposition
from node.client import Client
from node.energy.profile import Profile
from node.energy.source import Kind
from node.energy.watched import Health
from node.events import MeterFailed, MeterRead
from protocol.errors import Unreachable
from tests.api.host import SITE, TOKEN, Host, seller, served
from tests.builders import SLOT_MS
from tests.energy.scripted import reading

SILENT = Health("energy.grid (test)", Kind.AVG_LIFECYCLE, None, 3, "it sleeps", "wake it", 0)


def well(host: Host) -> Health:
    return Health("energy.generation (test)", Kind.POWER, reading(250, host.clock_ms), 0, "", "", 0)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path, sells=seller())
    host.start()
    return host


def hear(host: Host, *sources: Health, **changes: Any) -> None:
    """A reading of the next slot."""
    supply = Profile(SITE)
    start_ms, host.clock_ms = host.clock_ms, host.clock_ms + SLOT_MS
    forecast = supply.forecast(host.clock_ms // SLOT_MS, 64, SLOT_MS)
    host.turn(MeterRead(replace(supply.read(start_ms, host.clock_ms), **changes), forecast, sources))


async def ask(host: Host) -> dict[str, Any]:
    async with served(host) as url:
        return await asyncio.to_thread(Client(url, TOKEN).energy)


async def reasons(host: Host) -> str:
    async with served(host) as url:
        with pytest.raises(Unreachable) as raised:
            await asyncio.to_thread(Client(url, TOKEN).ready)
    return raised.value.cause


async def test_the_newest_reading_stands_with_its_method_and_its_sources(host: Host) -> None:
    hear(host, well(host), marginal_g_per_kwh=480, carbon_free_permille=615)
    now = await ask(host)
    assert now["newest"]["surplus_w"] == 200
    assert (now["newest"]["method"], now["newest"]["marginal_g_per_kwh"]) == ("modelled", 480)
    assert (now["sources"][0]["value"], now["sources"][0]["unit"], now["sources"][0]["well"]) == (250, "W", True)
    assert now["sources"][0]["age_ms"] == SLOT_MS
    assert len(now["forecast"]["surplus_s50_j"]) == 64


async def test_a_silent_source_is_told_and_the_node_is_not_ready(host: Host) -> None:
    hear(host, well(host), SILENT)
    assert "energy: energy.grid (test): it sleeps" in await reasons(host)
    told = [record for record in host.log.since(0) if record.kind == "energy source is silent"]
    hear(host, well(host), SILENT)
    assert len(told) == 1
    assert [record for record in host.log.since(0) if record.kind == "energy source is silent"] == told


async def test_the_status_tells_what_was_read_and_not_what_was_expected(host: Host) -> None:
    hear(host, well(host), energy_j=1, grid_g_per_kwh=7)
    power = views.this_node(host.node, host.clock_ms, version="", started_at_unix_ms=0).power
    assert (power.surplus_w, power.grid_g_per_kwh, power.assurance) == (0, 7, 0)
    host.turn(MeterFailed("no answer"))
    power = views.this_node(host.node, host.clock_ms, version="", started_at_unix_ms=0).power
    assert (power.surplus_w, power.method, power.assurance) == (0, None, None)


async def test_without_a_reading_surplus_has_no_assurance(host: Host) -> None:
    hear(host, well(host), method="metered")
    assert (await ask(host))["assurance"] == 1
    host.turn(MeterFailed("no answer", (SILENT,)))
    now = await ask(host)
    assert (now["assurance"], now["fault"]) == (0, "no answer")
    assert set(now["forecast"]["surplus_s50_j"]) == {0}


def test_metrics_are_what_prometheus_reads(host: Host) -> None:
    hear(host, well(host), SILENT)
    samples = {
        (sample.name, sample.labels.get("source", "")): sample.value
        for family in text_string_to_metric_families(
            exposition(host.node, host.guarding.facts(), host.traffic, host.clock_ms)
        )
        for sample in family.samples
    }
    assert samples["heliotrope_ready", ""] == 0
    assert samples["heliotrope_reachable", ""] == -1
    assert samples["heliotrope_energy_surplus_watts", ""] == 200
    assert samples["heliotrope_energy_source_up", "energy.generation (test)"] == 1
    assert samples["heliotrope_energy_source_up", "energy.grid (test)"] == 0
    assert samples["heliotrope_energy_source_failures", "energy.grid (test)"] == 3
    assert samples["heliotrope_energy_source_watts", "energy.generation (test)"] == 250
    assert samples["heliotrope_energy_source_age_seconds", "energy.generation (test)"] == SLOT_MS / 1000
