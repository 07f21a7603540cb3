"""A node's power, as people read it: a figure never without its method, its age and what is wrong with its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from node.commands.show import moment, rows, say
from protocol.units import MS_PER_HOUR, format_energy


def now(answer: Mapping[str, Any]) -> None:
    """Faults first, then the newest reading."""
    faults(answer)
    newest, minimum = answer["newest"], answer["surplus_assurance_min"]
    level = f"A{answer['assurance']}"
    counts = "counts as green here" if answer["assurance"] >= minimum else f"counts as grid: A{minimum} is needed here"
    lines = [("site", f"{answer['carrier']}, {answer['capacity_w']} W, zone {answer['zone'] or 'none'}")]
    if newest is None:
        lines.append(("surplus", "no reading yet"))
    else:
        percent = newest["uncertainty_permille"] / 10
        lines += [
            ("surplus", f"{newest['surplus_w']} W, {newest['method']} by {newest['source']}, ±{percent:g} %"),
            ("until", moment(newest["end_ms"])),
            ("own", f"{newest['own_g_per_kwh']} g/kWh"),
            ("grid", f"{newest['grid_g_per_kwh']} g/kWh, {newest['intensity_kind']}, {newest['intensity_source']}"),
            ("marginal", _figure(newest["marginal_g_per_kwh"], "g/kWh")),
            ("carbon-free", _figure(_percent(newest["carbon_free_permille"]), "% of the grid")),
        ]
    lines.append(("work", f"paused by {answer['paused_by']}" if answer["paused_by"] else "no rule stands against it"))
    lines.append(("assurance", f"{level}: surplus {counts}"))
    rows(("", ""), lines)


def sources(answer: Mapping[str, Any]) -> None:
    """One line for each; then what is wrong with those that are silent."""
    if not answer["sources"]:
        say("no sources: the site is declared and modelled, as [energy] in config.toml says")
        return
    tested(answer["sources"])


def tested(found: Iterable[Mapping[str, Any]]) -> None:
    found = list(found)
    rows(
        ("source", "kind", "figure", "age", "method", "±", "from"),
        (
            (
                s["name"],
                s["kind"],
                f"{s['value']} {s['unit']}" if s["value"] is not None else "not asked yet" if s["well"] else None,
                None if s["age_ms"] is None else f"{s['age_ms'] / 1000:.0f} s",
                s["method"],
                None if s["uncertainty_permille"] is None else f"{s['uncertainty_permille'] / 10:g} %",
                s["provenance"],
            )
            for s in found
        ),
    )
    for s in found:
        if s.get("forecast_ms") is not None:
            say(f"{s['name']} looks {s['forecast_ms'] / MS_PER_HOUR:.0f} h ahead")
        if not s["well"]:
            say(f"{s['name']}: {s['fault']}\n  remedy: {s['remedy']}")


def forecast(answer: Mapping[str, Any]) -> None:
    """By the hour, or by the slot where slots are shorter than the whole forecast is long in hours."""
    faults(answer)
    found = answer["forecast"]
    if found is None:
        say("no forecast yet: the node has not read its meter")
        return
    slot_ms, grid = found["slot_ms"], found["grid_g_per_kwh"]
    step = max(1, min(MS_PER_HOUR // slot_ms, len(grid) // 12 or 1))
    lines = []
    for at in range(0, len(grid), step):
        part = slice(at, at + step)
        lines.append(
            (
                moment((found["first_slot"] + at) * slot_ms)[5:16],
                format_energy(sum(found["surplus_s50_j"][part])),
                format_energy(sum(found["surplus_s20_j"][part])),
                f"{sum(grid[part]) // len(grid[part])} g/kWh",
            )
        )
    say(f"by {found['provenance']}")
    rows(("from, UTC", "surplus s50", "surplus s20", "grid"), lines)


def faults(answer: Mapping[str, Any]) -> None:
    if answer["fault"]:
        say(f"NO READING: {answer['fault']}: power counts as grid")
    for s in answer["sources"]:
        if not s["well"]:
            say(f"SILENT: {s['name']}: {s['fault']}\n  remedy: {s['remedy']}")


def _percent(permille: int | None) -> str | None:
    return None if permille is None else f"{permille / 10:g}"


def _figure(value: object, unit: str) -> str:
    return "not known" if value is None else f"{value} {unit}"
