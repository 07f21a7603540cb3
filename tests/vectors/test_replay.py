"""A second implementation, in another language, makes of all vectors what ours does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.vectors.files import FOLDER, MAKERS


def replay(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the replayer over the vectors in a folder."""
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("Node.js is not installed, and no second implementation was asked: run make setup-dev")
    command = [node, str(folder / "replay.mjs")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_node_reads_and_verifies_every_case_as_we_do() -> None:
    finished = replay(FOLDER)
    assert finished.returncode == 0, finished.stderr
    committed = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in MAKERS}
    assert json.loads(finished.stdout) == {
        f"{name} {key}": len(cases) for name, lists in committed.items() for key, cases in lists.items()
    }


# A list of each file, what is changed in its first case, and to what.
CHANGES = [
    ("encodings", "accepted", "raw", "c2"),
    ("encodings", "refused", "offset", 1),
    ("signatures", "speccheck", "accepted", True),
    ("entries", "accepted", "id", "00" * 32),
    ("entries", "refused", "check", 2),
    ("merkle", "roots", "root", "00" * 32),
    ("merkle", "inclusion", "proof", []),
    ("checkpoints", "accepted", "final", True),
    ("transitions", "cases", "pre", []),
    ("transitions", "entries", "name", "00" * 32),
    ("forks", "pairs", "fork", False),
    ("forks", "pairs", "exact", False),
    ("forks", "pairs", "seq", 1),
    ("forks", "cases", "proofs", []),
    ("forks", "cases", "final", {}),
    ("forks", "cases", "frozen_from", {}),
    ("forks", "cases", "waiting", []),
    ("forks", "cases", "aside", []),
    ("adverts", "accepted", "items", []),
    ("adverts", "refused", "check", 2),
    ("adverts", "refused", "verdict", "Ignore"),
    ("adverts", "updates", "advert", None),
    ("sun", "bounds", "bound_j", 1),
    ("sun", "bounds", "is_night", False),
]


@pytest.mark.parametrize(("name", "key", "field", "value"), CHANGES, ids=lambda part: str(part)[:20])
def test_node_notices_a_changed_case(name: str, key: str, field: str, value: object, tmp_path: Path) -> None:
    for each in (*FOLDER.glob("*.json"), *FOLDER.glob("*.mjs")):
        shutil.copy(each, tmp_path)
    path = tmp_path / f"{name}.json"
    lists = json.loads(path.read_text())
    case = next(case for case in lists[key] if field in case and case[field] != value)
    case[field] = value
    path.write_text(json.dumps(lists))
    assert replay(tmp_path).returncode == 1
