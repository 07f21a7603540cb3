"""`heliotrope energy`: readings and faults as people read them, and sources asked without a node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node.home.secret import write_private
from tests.energy.standin import Answer, StandIn, stand_in

from .conftest import Heliotrope, Running


@pytest.fixture
def service(tmp_path: Path, heliotrope: Heliotrope) -> Iterator[StandIn]:
    """Home Assistant with a fresh counter, and a home whose configuration names it."""

    def answer(_: object) -> Answer:
        now = datetime.fromtimestamp(time.time_ns() // 10**9, UTC).isoformat()
        attributes = {"unit_of_measurement": "kWh"}
        return Answer({"entity_id": "sensor.pv", "state": "2.5", "attributes": attributes, "last_updated": now})

    with stand_in(answer) as running:
        site = ("--zone", "ES", "--latitude", "39.5", "--longitude=-0.4", "--carrier", "solar", "--capacity-w", "500")
        assert heliotrope("init", *site).code == 0
        write_private(tmp_path / "token", "a-token")
        with (tmp_path / "home" / "config.toml").open("a") as config:
            config.write(
                f'[energy.generation]\nsource = "homeassistant"\nbase_url = "{running.base_url}"\n'
                f'entity = "sensor.pv"\nkey_file = "{tmp_path / "token"}"\n'
            )
        yield running


def test_a_source_is_asked_without_a_node(heliotrope: Heliotrope, service: StandIn) -> None:
    said = heliotrope("energy", "test")
    assert said.code == 0
    assert "9000000 J" in said.out
    (answer,) = heliotrope("energy", "test", "generation", "--json").json
    assert (answer["value"], answer["well"]) == (9_000_000, True)


def test_a_source_that_fails_says_what_to_do(heliotrope: Heliotrope, service: StandIn) -> None:
    service.answer = lambda _: Answer("", 401)
    said = heliotrope("energy", "test", "generation")
    assert said.code == 3
    assert "the key is refused" in said.out
    assert "remedy: Check key_file" in said.out
    assert "1 of 1 sources gave no good figure" in said.err
    assert "a-token" not in said.out + said.err


def test_a_section_that_is_not_there_is_named(heliotrope: Heliotrope, service: StandIn) -> None:
    said = heliotrope("energy", "test", "grid")
    assert said.code == 2
    assert "no section [energy.grid], only generation" in said.err


def test_a_declared_site_has_no_sources(heliotrope: Heliotrope, node: Running) -> None:
    assert "declared and modelled" in heliotrope("energy", "sources").out
    assert heliotrope("energy", "sources", "--json").json == []


def test_the_newest_reading_is_shown_with_what_it_is_worth(heliotrope: Heliotrope, node: Running) -> None:
    said = heliotrope("energy", "show")
    assert said.code == 0
    assert "modelled by declared profile" in said.out
    assert "A0" in said.out
    assert "not known" in said.out
    assert heliotrope("energy", "show", "--json").json["newest"]["method"] == "modelled"


def test_the_forecast_is_shown_in_steps(heliotrope: Heliotrope, node: Running) -> None:
    said = heliotrope("energy", "forecast")
    assert "surplus s50" in said.out
    assert said.out.count("g/kWh") >= 12


def test_rules_of_a_stopped_node_are_kept_for_its_start(heliotrope: Heliotrope, service: StandIn) -> None:
    assert "no rules" in heliotrope("energy", "rule", "list").out
    assert heliotrope("energy", "rule", "add", "carbon  >  300 => pause").code == 0
    heliotrope("energy", "rule", "add", "surplus_w > 400 => resume")
    heliotrope("energy", "rule", "add", "carbon > 300 => pause")
    assert heliotrope("energy", "rule", "list", "--json").json == ["carbon > 300 => pause", "surplus_w > 400 => resume"]
    assert heliotrope("energy", "rule", "remove", "1").code == 0
    assert heliotrope("energy", "rule", "remove", "surplus_w > 400 => resume", "--json").json == []


def test_a_rule_about_what_no_source_tells_says_so(heliotrope: Heliotrope, service: StandIn) -> None:
    said = heliotrope("energy", "rule", "add", "grid > 250 and carbon_free < 60 => pause")
    assert said.code == 0
    assert "no source gives carbon_free here" in said.err


def test_a_running_node_follows_a_rule_at_once(heliotrope: Heliotrope, node: Running) -> None:
    said = heliotrope("energy", "rule", "add", "grid > 0 => pause", "--json")
    assert said.json == ["grid > 0 => pause"]
    assert "PAUSED by grid > 0 => pause" in heliotrope("status").out
    assert "paused by grid > 0 => pause" in heliotrope("energy", "show").out
    heliotrope("energy", "rule", "remove", "1")
    assert "PAUSED" not in heliotrope("status").out


@pytest.mark.parametrize(
    "arguments", [("add", "carbon > x => pause"), ("remove", "3"), ("remove", "carbon > 9 => pause")]
)
def test_a_rule_that_is_none_is_refused(heliotrope: Heliotrope, service: StandIn, arguments: tuple[str, str]) -> None:
    said = heliotrope("energy", "rule", *arguments)
    assert said.code == 2
    assert "HEL-RULE-" in said.err


def test_a_damaged_file_of_rules_is_not_taken_for_none(
    heliotrope: Heliotrope, service: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "home" / "rules.json").write_text('["carbon > 300 =>')
    said = heliotrope("energy", "rule", "list")
    assert said.code == 2
    assert "HEL-RULE-003" in said.err
