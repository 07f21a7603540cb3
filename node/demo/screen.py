"""What the demo prints: one line per happening, a table where there are several of a kind.

Plain lines, no cursor tricks: a pipe, a log and a narrow terminal all show the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from node.commands.show import printable
from node.commands.show_carbon import NAMES, figures
from node.devnet.network import Member
from protocol.units import format_carbon, format_clock, format_credits, format_energy

if TYPE_CHECKING:
    from node.demo.report import Outcome

BARS = "▁▂▃▄▅▆▇█"
PIPE_WIDTH = 140
LOSS_TOP_MILLINATS = 4000


class Screen:
    """Prints with the seconds since the start."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        console = Console(highlight=False)
        self._console = console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)
        self._losses: list[int] = []
        self._basis = ""

    def say(self, text: str, clock_ms: int | None = None) -> None:
        """One line of what is going on."""
        clock = "" if clock_ms is None else f" {format_clock(clock_ms)} UTC"
        seconds = time.monotonic() - self._began_s
        self._console.print(f"[dim]{seconds:6.1f} s[/dim]  {escape(text)}{clock}")

    def sites(self, members: list[Member], offers: list[dict[str, Any]], node: Mapping[str, Any]) -> None:
        """Who is where in the day, with what power."""
        table = Table(box=None, padding=(0, 2), header_style="bold")
        for heading, justify in (
            ("node", "left"),
            ("zone", "left"),
            ("sun time", "left"),
            ("power", "left"),
            ("surplus now", "right"),
            ("own g/kWh", "right"),
            ("grid g/kWh", "right"),
            ("price/unit-hour", "right"),
        ):
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        by_label = {offer["identity"]["label"]: offer for offer in offers}
        for member in members:
            offer = by_label[member.site.name]
            sun_ms = int(node["now_ms"] + member.site.energy.longitude / 15 * 3_600_000)
            index = max(0, node["slot"] - offer["first_slot"])  # a slot may have begun since `node` was asked
            table.add_row(
                member.site.name,
                member.site.energy.zone,
                format_clock(sun_ms),
                member.site.energy.carrier,
                f"{offer['surplus_s50_j'][index] * 1000 // node['slot_ms']} W",
                str(member.site.energy.own_g_per_kwh) if member.site.energy.capacity_w else "-",
                str(offer["grid_g_per_kwh"][index]),
                format_credits(offer["offer"]["price_microcredits_per_unit_hour"]),
            )
        self._console.print(table)
        level = node["surplus_assurance_min"]
        self._basis = f"modelled, A{level}"
        self.say(f"this network accepts assurance A{level}: energy is declared and modelled, and every gram says so")

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """One event of the job."""
        match kind:
            case "matched":
                self._matched(data)
            case "shard ready":
                self.say(f"shard {data['shard']}: a PyTorch worker is ready at {data['provider']}")
            case "round":
                self._round(data)
            case "shard lost":
                self.say(
                    f"shard {data['shard']} is lost in round {data['round'] + 1}: {data['provider']}: {data['reason']}"
                )
            case "job over":
                self.say(f"job over: {data['outcome']} {data['reason']}".rstrip())
            case _:
                pass

    def _matched(self, data: Mapping[str, Any]) -> None:
        self.say("bids are in; the matching looks for the greenest feasible peers:")
        table = Table(box=None, padding=(0, 2), header_style="bold")
        for heading in ("peer", "verdict", "shards", "why"):
            table.add_column(heading, overflow="fold")
        for row in data["table"]:
            chosen = row["verdict"] == "chosen"
            shards = ", ".join(map(str, row["shards"])) or "-"
            table.add_row(
                escape(row["peer"]),
                f"[green]{row['verdict']}[/green]" if chosen else row["verdict"],
                shards,
                escape(row["reason"]),
            )
        self._console.print(table)
        summary = data["summary"]
        for name, baseline in summary["baselines"].items():
            saving = baseline["saving_permille"] / 10
            self.say(
                f"planned {format_carbon(summary['carbon_ug'])} against {format_carbon(baseline['carbon_ug'])}"
                f" {name.replace('_', ' ')}: {saving:.3g} % saved ({self._basis})"
            )
        if summary["baselines"]:
            self.say("award, leases and tickets go out: every step a signed ledger entry")

    def _round(self, data: Mapping[str, Any]) -> None:
        self._losses.append(data["loss_millinats"])
        self.say(
            f"round {data['round']:2d}/{data['rounds']}  {data['shards']} shards"
            f"  loss {data['loss_millinats'] / 1000:.3f} {sparkline(self._losses)}"
            f"  {data['watts']:3d} W  {format_energy(data['energy_j'])}, {format_carbon(data['carbon_ug'])} so far"
            f" ({self._basis})"
        )

    def killed(self, name: str) -> None:
        self.say(f"SIGKILL to {name}, in the middle of its work")

    def outcome(self, outcome: Outcome) -> None:
        """The account at the end."""
        detail, account = outcome.detail, outcome.detail["account"]
        table = Table(box=None, padding=(0, 2), header_style="bold")
        for heading in ("receipt", "peer", "shard", "rounds", "tokens", "energy", "own surplus", "gCO2e", "settled"):
            table.add_column(heading)
        for receipt in detail["receipts"]:
            table.add_row(
                receipt["id"][:12],
                escape(receipt["provider"]["label"]),
                str(receipt["shard"]),
                str(receipt["rounds"]),
                str(receipt["tokens"]),
                format_energy(receipt["energy_j"]),
                format_energy(receipt["surplus_j"]),
                f"{format_carbon(receipt['carbon_ug'])} ({self._basis})",
                format_credits(receipt["amount_microcredits"]) if receipt["accepted"] else escape(receipt["reason"]),
            )
        self._console.print(table)
        if account["lost_energy_j"]:
            self.say(
                f"spent and lost with {outcome.killed}: {format_energy(account['lost_energy_j'])},"
                f" {format_carbon(account['lost_carbon_ug'])}, as it last reported; they count below"
            )
        first, last = detail["loss_first_millinats"] / 1000, detail["loss_last_millinats"] / 1000
        self.say(f"loss on held-out text: {first:.3f} -> {last:.3f} nats per byte over {outcome.tokens:,} tokens")
        self.say(f"a sample ({outcome.sample_word_share:.0%} of its words occur in the corpus):")
        self._console.print(escape(printable(detail["sample"])), style="italic")
        kwh = account["energy_j"] / 3_600_000
        uncertainty = f"±{account['uncertainty_permille'] / 10:.3g} %"
        self.say(f"{kwh:.6f} kWh, {account['carbon_ug'] / 1e6:.4f} gCO2e ({self._basis}, {uncertainty})")
        moved, transfer = f"{account['moved_bytes'] / 1e6:,.4g} MB", format_carbon(account["transfer_ug"])
        self.say(
            f"  of it {transfer} to move {moved}, {format_carbon(account['embodied_ug'])} of the hardware's making"
        )
        for name, other in outcome.carbon["counterfactuals"].items():
            saving = other["saving_permille"]
            saved = f"{saving / 10:.0f} % saved" if saving >= 0 else "less, for a baseline loses no shard"
            self.say(
                f"  {NAMES[name]} would have emitted {other['carbon_ug'] / 1e6:.4f} gCO2e: {saved} ({self._basis})"
            )
        self.say("the same in five ways, side by side:")
        self._figures(outcome.carbon)
        for name, verified in outcome.verified.items():
            self.say(f"{name}: ledger verify: OK ({verified['entries']} entries), heads {verified['fingerprint']}")

    def _figures(self, carbon: Mapping[str, Any]) -> None:
        table = Table(box=None, padding=(0, 2), header_style="bold")
        for heading in ("figure", "value", "at least", "at most", "what it is"):
            table.add_column(heading, overflow="fold")
        for row in figures(carbon):
            table.add_row(*map(escape, row))
        self._console.print(table)


def sparkline(losses: list[int]) -> str:
    """The last losses as bars; full height is LOSS_TOP_MILLINATS."""
    top = len(BARS) - 1
    return "".join(BARS[min(top, loss * top // LOSS_TOP_MILLINATS)] for loss in losses[-24:])
