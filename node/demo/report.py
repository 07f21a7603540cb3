"""What a demo leaves behind: numbers, files, and the checks that it kept its promises."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.errors import LocalError
from protocol.units import UG_PER_G

# "Clearly down": a byte model that learned nothing stays at 5.5 nats, one of single letters at 3.3.
LOSS_RATIO_MAX = 0.75
WORD_SHARE_MIN = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that the demo saw. `detail` and `carbon` are the job as the API gives it, `verified` each survivor's
    ledger."""

    seconds: float
    peers: int
    killed: str
    detail: dict[str, Any]
    carbon: dict[str, Any]
    verified: dict[str, Any]
    sample_word_share: float

    @property
    def losses(self) -> list[float]:
        """Mean training loss of each round, nats per byte."""
        return [r["loss_millinats"] / 1000 for r in self.detail["history"]]

    @property
    def tokens(self) -> int:
        return sum(r["tokens"] for r in self.detail["history"])

    def report(self) -> dict[str, Any]:
        """`report.json`."""
        detail, account = self.detail, self.detail["account"]
        return {
            "seconds": round(self.seconds, 1),
            "peers": self.peers,
            "shards": detail["shards"],
            "replaced_shards": detail["replaced_shards"],
            "killed": self.killed,
            "loss": {
                "first": detail["loss_first_millinats"] / 1000,
                "last": detail["loss_last_millinats"] / 1000,
                "unit": "nats per byte, held-out text",
            },
            "loss_by_round": self.losses,
            "tokens": self.tokens,
            "energy_j": account["energy_j"],
            "surplus_j": account["surplus_j"],
            "lost_energy_j": account["lost_energy_j"],
            "carbon_g": account["carbon_ug"] / UG_PER_G,
            "baseline_carbon_g": {
                name: other["carbon_ug"] / UG_PER_G for name, other in self.carbon["counterfactuals"].items()
            },
            "carbon": {key: value for key, value in self.carbon.items() if key not in ("id", "name", "status")},
            "method": account["methods"],
            "assurance": account["assurance"],
            "uncertainty_permille": account["uncertainty_permille"],
            "sample_word_share": round(self.sample_word_share, 3),
            "ledger_entries": max(v["entries"] for v in self.verified.values()),
            "heads_equal": len({v["fingerprint"] for v in self.verified.values()}) == 1,
            "placements": [
                {
                    "shard": p["shard"],
                    "peer": p["provider"]["label"],
                    "status": p["status"],
                    "first_slot": p["first_slot"],
                    "slots": p["slots"],
                    "reason": p["reason"],
                }
                for p in detail["placements"]
            ],
            "choices": [
                {key: row[key] for key in ("peer", "verdict", "carbon_ug", "energy_j", "grid_g_per_kwh", "reason")}
                for matching in detail["matchings"]
                for row in matching["table"]
            ],
        }

    def check(self) -> None:
        """Raises LocalError for a promise that was not kept."""
        first, last = self.detail["loss_first_millinats"], self.detail["loss_last_millinats"]
        broken = [
            text
            for kept, text in (
                (last <= LOSS_RATIO_MAX * first, f"loss went from {first} to {last} millinats"),
                (
                    self.sample_word_share > WORD_SHARE_MIN,
                    f"{self.sample_word_share:.0%} of the sample's words occur in the corpus",
                ),
                (self.detail["replaced_shards"] >= 1, "no shard was placed anew"),
            )
            if not kept
        ]
        if broken:
            raise LocalError("HEL-DEMO-005", "the demo fell short: " + "; ".join(broken), "Try another --seed.")


def word_share(sample: str, corpus: str) -> float:
    """The share of the sample's words, of two letters or more, that occur in the corpus."""
    words = re.findall(r"[a-z]{2,}", sample.lower())
    known = set(re.findall(r"[a-z]{2,}", corpus.lower()))
    return sum(word in known for word in words) / max(1, len(words))


def write(directory: Path, outcome: Outcome) -> None:
    """Leave report.json, sample.txt and loss.png. Raises LocalError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "report.json").write_text(
            json.dumps(outcome.report(), indent=2, ensure_ascii=False) + "\n", "utf-8"
        )
        (directory / "sample.txt").write_text(outcome.detail["sample"], "utf-8")
        _plot(directory / "loss.png", outcome)
    except OSError as error:
        raise LocalError(
            "HEL-DEMO-006", f"{directory} cannot be written: {error.strerror}", "Choose another --out."
        ) from None


def _plot(path: Path, outcome: Outcome) -> None:
    try:
        import matplotlib as mpl
    except ImportError:
        raise LocalError(
            "HEL-DEMO-007", "matplotlib is not installed, so there is no loss.png", "pip install 'heliotrope[report]'"
        ) from None
    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    rounds = range(1, len(outcome.losses) + 1)
    axes.plot(rounds, outcome.losses, marker="o", color="#2a6f97", label="training, mean of the shards")
    ends = [outcome.detail["loss_first_millinats"] / 1000, outcome.detail["loss_last_millinats"] / 1000]
    axes.plot([0, len(outcome.losses)], ends, "s", color="#d17b0f", label="held-out text, first and last")
    axes.axvline(len(outcome.losses) // 2 + 0.5, color="#999999", linestyle=":", label=f"{outcome.killed} is killed")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round")
    axes.set_ylabel("loss, nats per byte")
    axes.set_title(outcome.detail["name"])
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
