"""What a study counted, for people: tables and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node.commands.show import rows, say
from protocol.errors import LocalError

COLOURS = ("#bbbbbb", "#8d99ae", "#b5838d", "#d17b0f", "#74a57f", "#2a6f97", "#98c1d9", "#333333")


def progress(text: str) -> None:
    say(text, stderr=True)


def shift(counted: Mapping[str, Any]) -> None:
    """Grams saved against starting now, and above the oracle, each planner in each zone; then zones together."""
    zones = list(counted["time"])
    for title, field in (("grams saved against starting now", "saved"), ("grams above the oracle", "above_oracle")):
        say(f"{title}, mean over the jobs:")
        rows(
            ("planner", *zones, "mean"),
            (
                (
                    mean["planner"],
                    *(_percent(counted["time"][zone][row][field]) for zone in zones),
                    _percent(mean[field]),
                )
                for row, mean in enumerate(counted["mean"])
            ),
        )
        say("")
    if counted["space"]:
        say("several zones, planned each hour, against the cleanest of them alone:")
        rows(
            ("zones", "cleanest", "of its hours", "saved", "by an oracle", "moves a job"),
            (
                (
                    " ".join(each["zones"]),
                    each["cleanest"],
                    _percent(each["cleanest_hours"]),
                    _percent(each["saved"]),
                    _percent(each["saved_by_oracle"]),
                    f"{each['moves']:.2f}",
                )
                for each in counted["space"]
            ),
        )


def plot(counted: Mapping[str, Any], path: Path) -> None:
    """Draw both tables. Raises LocalError without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise LocalError(
            "HEL-STUDY-005", f"matplotlib is not installed, so there is no {path}", "pip install 'heliotrope[report]'"
        ) from None
    mpl.use("Agg")
    from matplotlib import pyplot

    zones = [*counted["time"], "mean"]
    by_zone = [*counted["time"].values(), counted["mean"]]
    figure, panes = pyplot.subplots(2, 1, figsize=(10, 8), layout="constrained", sharex=True)
    for pane, field, title in (
        (panes[0], "saved", "grams saved against starting now, %"),
        (panes[1], "above_oracle", "grams above the oracle, %"),
    ):
        width = 0.85 / len(counted["mean"])
        for row, mean in enumerate(counted["mean"]):
            offsets = [zone + (row + 0.5) * width - 0.425 for zone in range(len(zones))]
            heights = [100 * scores[row][field] for scores in by_zone]
            pane.bar(offsets, heights, width, color=COLOURS[row % len(COLOURS)], label=mean["planner"])
        pane.set_ylabel(title)
        pane.grid(axis="y", alpha=0.3)
    panes[1].set_xticks(range(len(zones)), zones)
    handles, labels = panes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
