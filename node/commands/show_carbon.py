"""A job's carbon for people: every figure with its bounds and with what it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.commands.show import rows, say
from protocol.units import format_carbon, format_energy, format_picograms

NAMES = {"cheapest": "cheapest-first", "grid_average": "average grid", "start_now": "starting at once"}


def carbon(told: Mapping[str, Any]) -> None:
    """The five figures side by side, then where the energy came from and went, then what another choice would have
    emitted."""
    say(f"{told['name']}  {told['id']}  {told['status']}")
    account = told["account"]
    if not account["energy_j"]:
        say("nothing is receipted yet")
        return
    rows(("figure", "value", "at least", "at most", "what it is"), figures(told))
    say("")
    for line in _energy(account):
        say(line)
    say("")
    rows(
        ("method", "source", "assurance", "energy", "carbon"),
        (
            (
                share["method"],
                share["source"],
                None if share["assurance"] is None else f"A{share['assurance']}",
                format_energy(share["energy_j"]),
                format_carbon(share["carbon_ug"]),
            )
            for share in told["shares"]
        ),
    )
    for line in _otherwise(told["counterfactuals"]):
        say(line)


def figures(told: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each: what it is called, its value, least and most, and what it says."""
    account, score, marginal = told["account"], told["carbon_free"], told["marginal"]
    certified = f"{format_energy(told['certified_j'])} by certificates of the same hour and zone"
    known_permille = told["marginal_known_j"] * 1000 // account["energy_j"]
    known = f"use alone, for the {_permille(known_permille)} of the energy of which it is known"
    unknown = f"of all energy, hour by hour; {_permille(score['unknown_permille'])} unknown, counted as none"
    shown = ("carbon_free_permille", "least_permille", "most_permille")
    return [
        ("location-based", *_carbon(told["location"]), "the headline: each slot at the grid of its place"),
        ("market-based", *_carbon(told["market"]), f"{certified}, the rest at the grid's figure"),
        ("24/7 carbon-free", *(_permille(score[name]) for name in shown), unknown),
        ("marginal", *((*_carbon(marginal), known) if marginal else ("not known", "", "", "no attestation states it"))),
        ("SCI per token", *_rate(told["sci_per_token"], account["tokens"], "tokens")),
        ("SCI per inner step", *_rate(told["sci_per_step"], account["inner_steps"], "inner steps")),
    ]


def _carbon(figure: Mapping[str, int]) -> tuple[str, str, str]:
    value, least, most = (format_carbon(figure[name]) for name in ("carbon_ug", "least_ug", "most_ug"))
    return value, least, most


def _rate(rate: Mapping[str, int] | None, work: int, unit: str) -> tuple[str, str, str, str]:
    if rate is None:
        return "not known", "", "", f"no {unit} are receipted"
    value, least, most = (format_picograms(rate[name]) for name in ("carbon_pg", "least_pg", "most_pg"))
    return value, least, most, f"all grams, the hardware's too, over {work:,} {unit} that count"


def _energy(account: Mapping[str, Any]) -> list[str]:
    """What the joules were for. The parts overlap: idle power is drawn under the same roof, and in vain too."""
    parts = {
        "own surplus": account["surplus_j"],
        "idle power": account["idle_j"],
        "the buildings (PUE)": account["overhead_j"],
        "work lost or refused": account["redundant_j"],
    }
    of_it = ", ".join(f"{format_energy(energy_j)} {name}" for name, energy_j in parts.items())
    error = f"±{_permille(account['uncertainty_permille'])}"
    methods, sources = "+".join(account["methods"]), ", ".join(account["power_sources"])
    how = f"{methods or 'reported'}, {error}, by {sources or 'the peer'}"
    moved = f"{account['moved_bytes'] / 1e6:,.4g} MB moved: {format_energy(account['transfer_j'])} in networks"
    redundant = format_carbon(account["redundant_ug"])
    return [
        f"energy    {format_energy(account['energy_j'])} ({how})",
        f"          of it {of_it}",
        f"transfer  {moved}, {format_carbon(account['transfer_ug'])}",
        f"hardware  {format_carbon(account['embodied_ug'])} of its making",
        f"in vain   {redundant} for work lost or refused",
    ]


def _otherwise(counterfactuals: Mapping[str, Mapping[str, int]] | None) -> list[str]:
    """What each other choice would have emitted, a line for each."""
    if counterfactuals is None:
        return ["other choices: not known, the record of the first matching is not at hand"]
    return [
        f"{NAMES.get(name, name)} would have emitted {format_carbon(other['carbon_ug'])}: "
        + (f"{_permille(saved)} saved" if (saved := other["saving_permille"]) >= 0 else "this job emitted more")
        for name, other in counterfactuals.items()
    ]


def _permille(value: int) -> str:
    return f"{value / 10:.3g} %"
