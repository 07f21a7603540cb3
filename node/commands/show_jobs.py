"""Jobs for people: what was chosen and why, how far the training is, what it drew and emitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from node.commands.show import moment, rows, say, unconfirmed
from protocol.units import format_carbon, format_clock, format_credits, format_energy

BARS = "▁▂▃▄▅▆▇█"
ROUNDS_SHOWN = 40


def jobs(answer: Mapping[str, Any]) -> None:
    rows(
        ("id", "name", "owner", "status", "rounds", "submitted"),
        (
            (
                job["id"][:12],
                job["name"],
                "this node" if job["own"] else job["owner"]["label"],
                job["status"],
                f"{job['rounds_done']}/{job['rounds']}",
                moment(job["submitted_at_ms"]),
            )
            for job in answer["jobs"]
        ),
    )


def choices(table: Sequence[Mapping[str, Any]], *, stderr: bool = False) -> None:
    """One line per peer of a matching, with its reason."""
    rows(
        ("peer", "zone", "verdict", "shards", "carbon", "price", "per unit-hour", "why"),
        (
            (
                row["peer"],
                row["zone"],
                row["verdict"],
                ",".join(map(str, row["shards"])),
                None if row["carbon_ug"] is None else format_carbon(row["carbon_ug"]),
                _money(row["price_microcredits"]),
                _money(row["price_microcredits_per_unit_hour"]),
                row["reason"],
            )
            for row in table
        ),
        stderr=stderr,
    )


def _money(amount_microcredits: int | None) -> str | None:
    return None if amount_microcredits is None else format_credits(amount_microcredits)


def baselines(summary: Mapping[str, Any], slot_ms: int) -> None:
    """What a plan comes to, and what it saves against other choices. All of it is forecast."""
    if summary["start_slot"] is None:
        return
    start = format_clock(summary["start_slot"] * slot_ms)
    own = f"{summary['surplus_permille'] / 10:.3g} % own surplus"
    money = format_credits(summary["price_microcredits"])
    total = f"{format_carbon(summary['carbon_ug'])} CO2e for {format_energy(summary['energy_j'])}"
    say(f"forecast: {total}, {own}, {money}, from slot {summary['start_slot']} ({start})")
    for name, against in summary["baselines"].items():
        saved = f"{against['saving_permille'] / 10:.3g} % saved"
        say(f"  against {name.replace('_', ' ')}: {format_carbon(against['carbon_ug'])}, {saved}")


def job(detail: Mapping[str, Any]) -> None:
    """A job from its request to its receipts."""
    say(f"{detail['name']}  {detail['id']}")
    reason = f": {detail['reason']}" if detail["reason"] else ""
    phase = f" ({detail['phase']})" if detail["phase"] and not detail["outcome"] else ""
    say(f"{detail['status']}{phase}{reason}, {detail['rounds_done']} of {detail['rounds']} rounds")
    if detail["matchings"] and not detail["placements"]:
        choices(detail["matchings"][-1]["table"])
    if detail["placements"]:
        rows(
            ("shard", "peer", "status", "slots", "forecast", "per unit-hour", "note"),
            (
                (
                    p["shard"],
                    p["provider"]["label"],
                    p["status"],
                    f"{p['first_slot']}-{p['first_slot'] + p['slots'] - 1}",
                    format_carbon(p["carbon_ug"]),
                    _money(p["price_microcredits_per_unit_hour"]),
                    p["reason"] or unconfirmed(p["confirmed"]),
                )
                for p in detail["placements"]
            ),
        )
    if detail["history"]:
        say(f"loss    {losses([r['loss_millinats'] for r in detail['history']])}")
    if detail["loss_last_millinats"]:
        first, last = detail["loss_first_millinats"] / 1000, detail["loss_last_millinats"] / 1000
        say(f"        {first:.3f} -> {last:.3f} nats per byte on held-out text")
    say(f"carbon  {carbon(detail['account'])}")
    if detail["receipts"]:
        _receipts(detail["receipts"])
    if detail["checkpoint"]:
        say(f"model   {detail['checkpoint']['sha256']} ({detail['checkpoint']['size_bytes']} bytes)")
    if detail["sample"]:
        say("sample")
        say("\n".join(f"  {line}" for line in detail["sample"].splitlines()))


def _receipts(receipts: Sequence[Mapping[str, Any]]) -> None:
    rows(
        ("receipt", "peer", "shard", "rounds", "energy", "carbon", "method", "settled"),
        (
            (
                r["id"][:12],
                r["provider"]["label"],
                r["shard"],
                r["rounds"],
                format_energy(r["energy_j"]),
                format_carbon(r["carbon_ug"]),
                _basis((r["method"],), r["assurance"], r["uncertainty_permille"]),
                _settled(r),
            )
            for r in receipts
        ),
    )


def _settled(receipt: Mapping[str, Any]) -> str:
    if receipt["accepted"] is None:
        return "not yet"
    return format_credits(receipt["amount_microcredits"]) if receipt["accepted"] else f"refused: {receipt['reason']}"


def event(kind: str, data: Mapping[str, Any], loss_millinats: list[int]) -> None:
    """One line for one event of a job that is watched; `loss_millinats` collects its rounds."""
    match kind:
        case "matched":
            choices(data["table"])
        case "shard ready":
            say(f"shard {data['shard']} is ready at {data['provider']}")
        case "round":
            loss_millinats.append(data["loss_millinats"])
            drawn = f"{data['watts']} W, {format_carbon(data['carbon_ug'])} CO2e so far (reported)"
            done = f"round {data['round']}/{data['rounds']}  {data['shards']} shards"
            say(f"{done}  {losses(loss_millinats)}  {drawn}")
        case "shard lost":
            say(f"shard {data['shard']} is lost at {data['provider']}: {data['reason']}; it is placed anew")
        case "lost":
            say(f"some events were missed: {data['reason']}")
        case _:
            pass  # told when it is over, or of no interest to a researcher


def carbon(account: Mapping[str, Any]) -> str:
    """Grams with what they rest on: the receipts, or, before there are any, what the shards reported."""
    if not account["energy_j"]:
        drawn = format_energy(account["reported_energy_j"])
        return f"{format_carbon(account['reported_carbon_ug'])} CO2e for {drawn} reported so far, not receipted"
    basis = _basis(account["methods"], account["assurance"], account["uncertainty_permille"])
    text = f"{format_carbon(account['carbon_ug'])} CO2e for {format_energy(account['energy_j'])} ({basis})"
    lost = format_carbon(account["lost_carbon_ug"])
    return text + (f", of it {lost} on shards that were lost" if account["lost_carbon_ug"] else "")


def losses(values: Sequence[int]) -> str:
    """Losses in thousandths of a nat as a row of bars, and the last one as a number."""
    top = max(values)
    bars = "".join(BARS[value * (len(BARS) - 1) // max(1, top)] for value in values[-ROUNDS_SHOWN:])
    return f"{bars} {values[-1] / 1000:.3f} nats per byte"


def _basis(methods: Sequence[str], assurance: int | None, uncertainty_permille: int) -> str:
    level = "no surplus" if assurance is None else f"A{assurance}"
    return f"{'+'.join(methods)}, {level}, ±{uncertainty_permille / 10:.3g} %"
