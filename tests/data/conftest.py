from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.data.scene import Served, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A data server that holds the blob."""
    async with serving(tmp_path) as served:
        yield served
