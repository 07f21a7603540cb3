"""Fixtures of the training tests."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As in a worker: more threads than free cores make small models many times slower."""
    torch.set_num_threads(1)
