"""`python -m tests.matching.versions`: the same plans under every Python and NumPy that Heliotrope may run with.

Each pair gets an environment of its own under .venv/, with NumPy and nothing else, and plans with NumPy's run-time
choice of vector instructions and without.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.matching.digests import PLANS

ROOT = Path(__file__).resolve().parents[2]
# The oldest NumPy with wheels for each Python, if pyproject.toml allows it; the locked one comes on top.
OLDEST = {"3.11": "1.26.4", "3.12": "1.26.4", "3.13": "2.1.3"}


def main() -> None:
    (locked,) = re.findall(r"^numpy==(.+)$", (ROOT / "deploy/constraints.txt").read_text(), re.MULTILINE)
    pythons = {minor: python for minor in OLDEST if (python := find(minor))}
    for minor in sorted(OLDEST.keys() - pythons.keys()):
        print(f"python{minor} is not on this machine: not compared")
    different = [
        (minor, numpy)
        for minor, python in pythons.items()
        for numpy in (OLDEST[minor], locked)
        if not agrees(environment(python, minor, numpy))
    ]
    sys.exit(f"other plans than tests/matching/digests.py has: {different}" if different else 0)


def find(minor: str) -> str | None:
    """A Python of this version that does start."""
    python = shutil.which(f"python{minor}")
    works = python and subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0
    return python if works else None


def environment(python: str, minor: str, numpy: str) -> str:
    """The interpreter of an environment with this NumPy, made if it is not there."""
    folder = ROOT / f".venv/versions/{minor}-{numpy}"
    own = str(folder / "bin/python")
    if not (folder / "complete").exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([own, "-m", "pip", "install", "--quiet", f"numpy=={numpy}"], check=True)
        (folder / "complete").touch()
    return own


def agrees(python: str) -> bool:
    """Whether this environment's plans are those written down, with all vector instructions and with none."""
    disabled, same = "", True
    for _ in range(2):
        environ = os.environ | {"NPY_DISABLE_CPU_FEATURES": disabled}
        command = [python, "-m", "tests.matching.digests"]
        printed = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout
        found = json.loads(printed)
        same &= found["digests"] == PLANS
        disabled = " ".join(found["extensions"])
        how = f"{len(found['extensions'])} vector extensions" if disabled else "none"
        verdict = "the same plans" if found["digests"] == PLANS else "OTHER PLANS"
        print(f"Python {found['python']}, NumPy {found['numpy']}, {how}: {verdict}", flush=True)
    return same


if __name__ == "__main__":
    main()
