"""What makes inputs: `coverage` keeps those that reach new code (atheris, libFuzzer's port to Python), `mutations`
spoils good inputs by seeded chance, where atheris has no build. Both repeat themselves exactly for a seed."""

from __future__ import annotations

import importlib.util
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

INPUT_MAX_BYTES = 4096
TELLING = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\x90",
    b"\xc0",
    b"\xc1",
    b"\xcb",
    b"\xcf\0\x20\0\0\0\0\0\0",
    b"\xdd\xff\xff\xff\xff",
)
INSTRUMENTED = ["ledger", "node.link", "node.matching", "protocol"]
INSTRUMENTED_IN_LONG_RUNS = ["libp2p"]  # which takes ten seconds

Target = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a run ends: after so many inputs, or seconds, whichever comes first; 0 is without end."""

    runs: int = 0
    seconds: int = 0
    seed: int = 1


def default_engine() -> str:
    return "coverage" if importlib.util.find_spec("atheris") else "mutations"


def coverage(load: Callable[[], Target], folders: Sequence[Path], limits: Limits) -> NoReturn:
    """Fuzz what `load` imports until a limit or a fault, then end the process, as libFuzzer does. New inputs go to the
    first folder; the input that fails goes beside it."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED + (INSTRUMENTED_IN_LONG_RUNS if limits.seconds else [])):
        target = load()
    options = [f"-runs={limits.runs or -1}", f"-seed={limits.seed}", f"-max_total_time={limits.seconds}"]
    options += [
        f"-max_len={INPUT_MAX_BYTES}",
        f"-artifact_prefix={folders[0].parent}/",
        "-timeout=10",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, *map(str, folders)], target)
    atheris.Fuzz()
    raise AssertionError


def mutations(load: Callable[[], Target], folders: Sequence[Path], limits: Limits) -> NoReturn:
    """The same without guidance."""
    target = load()
    good = [path.read_bytes() for folder in folders for path in sorted(folder.iterdir())]
    chance = random.Random(limits.seed)
    began, runs = time.monotonic(), 0
    while runs < (limits.runs or sys.maxsize) and time.monotonic() - began < (limits.seconds or sys.maxsize):
        raw = good[runs] if runs < len(good) else spoilt(chance, good)
        runs += 1
        try:
            target(raw)
        except BaseException:  # noqa: BLE001  whatever it is, it is what we look for
            traceback.print_exc()
            failed = folders[0].parent / "crash"
            failed.write_bytes(raw)
            sys.exit(f"input number {runs} fails; it is kept in {failed}")
    print(f"Done {runs} runs")
    sys.exit()


def spoilt(chance: random.Random, good: Sequence[bytes]) -> bytes:
    """A good input with one to four stretches replaced by chance, by a telling one, or by a piece of another input."""
    raw = chance.choice(good)
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(0, len(raw))
        end = min(len(raw), start + chance.choice((0, 0, 1, 1, 2, 4, 32)))
        other = chance.choice(good)
        cut = chance.randint(0, len(other))
        piece = chance.choice(
            (b"", chance.randbytes(1), chance.choice(TELLING), other[cut : cut + chance.randint(1, 40)])
        )
        raw = raw[:start] + piece + raw[end:]
    return raw[:INPUT_MAX_BYTES]


ENGINES: dict[str, Callable[[Callable[[], Target], Sequence[Path], Limits], NoReturn]] = {
    "coverage": coverage,
    "mutations": mutations,
}
