"""A plan for people and for JSON: one row per candidate with its reason, and the saving against each baseline."""

from __future__ import annotations

from typing import Any

from node.matching.bids.baselines import Baselines
from node.matching.bids.demand import Window
from node.matching.bids.plan import Choice, Plan, Verdict
from protocol.units import format_carbon, format_clock, format_credits, format_energy


def table(plan: Plan) -> list[dict[str, Any]]:
    """One row per candidate, in the order of `plan.choices`; JSON values only, None where there is no number.

    Keys: peer, provider, bid (hexadecimal), zone, device, verdict, shards (indices), first_slot, slots, energy_j,
    carbon_ug, grid_g_per_kwh (mean over the slots), surplus_permille (share of the energy), price_microcredits,
    price_microcredits_per_unit_hour, reason. Energy, carbon and price are sums over the peer's shards if it was chosen,
    else those of one shard. The chosen are paid what their like is paid; the prices of others are those that they ask.
    """
    return [_row(plan, choice) for choice in plan.choices]


def summary(plan: Plan, baselines: Baselines) -> dict[str, Any]:
    """Totals and what the plan saves; JSON values only.

    Keys: start_slot, energy_j, carbon_ug, price_microcredits, surplus_permille, relaxation (text or None), and
    baselines: cheapest, grid_average, start_now, each {carbon_ug, saving_ug, saving_permille}; none without placements.
    A saving is negative where the baseline is greener, which only the grid average can be.
    """
    covered_j = sum(placed.window.surplus_j for placed in plan.placements)
    against = {
        "cheapest": baselines.cheapest.carbon_ug,
        "grid_average": baselines.grid_average_ug,
        "start_now": baselines.start_now.carbon_ug,
    }
    return {
        "start_slot": plan.start_slot,
        "energy_j": plan.energy_j,
        "carbon_ug": plan.carbon_ug,
        "price_microcredits": plan.price_microcredits,
        "surplus_permille": _permille(covered_j, plan.energy_j),
        "relaxation": plan.relaxation.text if plan.relaxation else None,
        "baselines": {
            name: {
                "carbon_ug": carbon_ug,
                "saving_ug": carbon_ug - plan.carbon_ug,
                "saving_permille": _permille(carbon_ug - plan.carbon_ug, carbon_ug),
            }
            for name, carbon_ug in against.items()
            if plan.placements
        },
    }


def reason(plan: Plan, choice: Choice) -> str:
    """Why this candidate got what it got, in one line with numbers."""
    if choice.refusal:
        return choice.refusal.text
    window = choice.windows[0]
    alone = f"{format_carbon(window.carbon_ug)} a shard"
    match choice.verdict:
        case Verdict.CHOSEN:
            energy_j = sum(each.energy_j for each in choice.windows)
            covered = _permille(sum(each.surplus_j for each in choice.windows), energy_j)
            carbon = format_carbon(sum(each.carbon_ug for each in choice.windows))
            share = f"{covered / 10:.3g} % own surplus, grid {_grid(window)} g/kWh"
            return f"{carbon} for {format_energy(energy_j)}: {share}"
        case Verdict.INCOMPLETE:
            others = f"{len(plan.demand.shards)} shards must start together"
            return f"could take one at {_when(plan, window)} with {alone}, but {others}"
        case _:
            return _outbid(plan, window, alone)


def _outbid(plan: Plan, window: Window, alone: str) -> str:
    chosen = [placed.window for placed in plan.placements]
    worst = max(chosen, key=lambda each: (each.carbon_ug, each.price_microcredits))
    if window.first_slot != worst.first_slot:
        return f"not free at {_when(plan, worst)}, when the chosen start; from {_when(plan, window)} {alone}"
    if window.carbon_ug > worst.carbon_ug:
        return f"browner: {alone}, the brownest chosen {format_carbon(worst.carbon_ug)}"
    if window.price_microcredits > worst.price_microcredits:
        prices = f"{format_credits(window.price_microcredits)}, the dearest of these chosen"
        return f"equally green at {alone}, but dearer: {prices} {format_credits(worst.price_microcredits)}"
    return f"a tie at {alone} and {format_credits(window.price_microcredits)}; the lower bid id was taken"


def _row(plan: Plan, choice: Choice) -> dict[str, Any]:
    windows = choice.windows
    energy_j = sum(window.energy_j for window in windows)
    placed = [placed for placed in plan.placements if placed.window in windows]
    price = sum(paid.price_microcredits for paid in placed or windows)
    rate = placed[0].price_microcredits_per_unit_hour if placed else choice.candidate.price_microcredits_per_unit_hour
    return {
        "peer": choice.candidate.label,
        "provider": choice.candidate.provider.hex(),
        "bid": choice.candidate.bid.hex(),
        "zone": choice.candidate.zone,
        "device": choice.candidate.device,
        "verdict": str(choice.verdict),
        "shards": [each.shard for each in placed],
        "first_slot": windows[0].first_slot if windows else None,
        "slots": plan.demand.slots,
        "energy_j": energy_j if windows else None,
        "carbon_ug": sum(window.carbon_ug for window in windows) if windows else None,
        "grid_g_per_kwh": _grid(windows[0]) if windows else None,
        "surplus_permille": _permille(sum(window.surplus_j for window in windows), energy_j) if windows else None,
        "price_microcredits": price if windows else None,
        "price_microcredits_per_unit_hour": rate if windows else None,
        "reason": reason(plan, choice),
    }


def _grid(window: Window) -> int:
    """Mean grid intensity over the window, in whole g/kWh."""
    intensities = window.candidate.grid_during(window.first_slot, window.slots)
    return sum(intensities) // len(intensities)


def _when(plan: Plan, window: Window) -> str:
    return f"slot {window.first_slot} ({format_clock(window.first_slot * plan.demand.slot_ms)})"


def _permille(part: int, whole: int) -> int:
    return part * 1000 // whole if whole else 0
