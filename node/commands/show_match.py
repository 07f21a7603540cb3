"""A matching of a file, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.commands.show import rows, say
from node.matching.explain import lines as explained
from protocol.units import format_carbon

DECLINED_SHOWN = 10


def facts(matched: Mapping[str, Any]) -> None:
    """What was read, what was placed, what it emits and how long it took."""
    declined = matched["declined"]
    named = ", ".join(declined[:DECLINED_SHOWN]) + (", …" if len(declined) > DECLINED_SHOWN else "")
    seconds = matched["seconds"]
    lines = [
        ("peers", f"{matched['peers']:,} in {matched['zones']} zones, {matched['slots']} slots"),
        ("jobs", f"{matched['jobs']:,} of {matched['shard_slots']:,} shard-slots"),
        (
            "declined",
            f"{len(declined):,} of {matched['declined_shard_slots']:,} shard-slots" + (f": {named}" if named else ""),
        ),
        ("carbon", f"{format_carbon(matched['carbon_mg'] * 1000)} CO2e planned with {matched['surplus']}"),
        ("objective", f"{matched['objective_mg']:,} mg with the penalties of what is declined"),
        ("bound", _bound(matched)),
        ("time", ", ".join(f"{each:.3f} s {what}" for what, each in seconds.items())),
        ("plan", f"SHA-256 {matched['plan_sha256']}"),
    ]
    rows(("", ""), [line for line in lines if line[1]])


def explanation(matched: Mapping[str, Any]) -> None:
    """Why the plan is as it is, and why a job refused each of its peers: whichever was asked for."""
    if "explanation" in matched:
        say("")
        for line in explained(matched["explanation"]):
            say(line)
    if "refusals" in matched:
        say("")
        for row in matched["refusals"]:  # no table: they may be a hundred thousand
            say(f"{row['peer']}  {row['text']}")
        if not matched["refusals"]:
            say("no peer is refused")


def _bound(matched: Mapping[str, Any]) -> str:
    if "bound_mg" not in matched:
        return ""
    gap = matched["gap_permyriad"]
    above = "" if gap is None else f"; the plan's carbon is at most {gap / 100:.2f} % above the best"
    return f"{matched['bound_mg']:,} mg, below which no plan's objective is, by {matched['bound_by']}{above}"
