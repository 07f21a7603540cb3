"""Real traces beside the repository, where there are any: ../shared/data."""

from __future__ import annotations

from pathlib import Path

from node.study.traces import Trace, read

HOME = Path(__file__).resolve().parents[3] / "shared/data"
NAMES = ("ES_2021", "ES_2022", "NO_2021", "US-CAL-CISO_2021", "US-CAL-CISO_2022")


def missing() -> str:
    """What is not there, or nothing."""
    absent = [name for name in NAMES if not path(name).is_file()]
    return f"no ci_{absent[0]}.csv in ../shared/data" if absent else ""


def path(name: str) -> Path:
    return HOME / f"ci_{name}.csv"


def trace(name: str) -> Trace:
    with path(name).open(encoding="utf-8", newline="") as file:
        return read(name, file)
