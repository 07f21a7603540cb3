"""`python -m tests.fuzz [TARGET ...] [--runs N] [--seconds N]`: each target in a process of its own, one by one."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tests.fuzz.engines import ENGINES, Limits, default_engine


def main() -> None:
    options = arguments()
    if len(options.targets) == 1:
        run(options.targets[0], options)
    from tests.fuzz.targets import TARGETS

    same = [f"--{name}={getattr(options, name)}" for name in ("runs", "seconds", "seed", "engine", "out")]
    for name in options.targets or TARGETS:
        print(f"--- {name}", flush=True)
        finished = subprocess.run([sys.executable, "-m", "tests.fuzz", name, *same], check=False)
        if finished.returncode:
            sys.exit(f"{name} fails; the input is in {options.out / name}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all of them by default")
    parser.add_argument("--runs", type=int, default=0, help="end after so many inputs")
    parser.add_argument("--seconds", type=int, default=0, help="end after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=ENGINES, default=default_engine())
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), help="what is found is kept here")
    return parser.parse_args()


def run(name: str, options: argparse.Namespace) -> NoReturn:
    """Ends the process."""
    found, seeded = (options.out / name / part for part in ("found", "seeds"))
    for folder in (found, seeded):
        folder.mkdir(parents=True, exist_ok=True)

    def load() -> Callable[[bytes], None]:
        from tests.fuzz.targets import TARGETS, seeds

        for number, raw in enumerate(seeds(name)):
            (seeded / f"{number:03}").write_bytes(raw)
        return TARGETS[name]

    ENGINES[options.engine](load, [found, seeded], Limits(options.runs, options.seconds, options.seed))


main()
