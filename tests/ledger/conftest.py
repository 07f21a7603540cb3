"""Where tests put their ledgers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's file system in memory


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory for hundreds of openings, each of which syncs: in memory, where there is such a place."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)
