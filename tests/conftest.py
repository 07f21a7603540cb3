"""What all tests share: chance that can be repeated.

Hypothesis is derandomised: the same tree gives the same examples everywhere. `HYPOTHESIS_PROFILE=search` looks for new
ones. Other chance comes from the fixture `chance`; a test that failed with it says which `--seed` repeats it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests import postgres

# No deadline: the machines are shared, and a slow example is no fault.
settings.register_profile("repeatable", derandomize=True, print_blob=True, deadline=None)
settings.register_profile("search", max_examples=1000, print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="what the fixture `chance` starts from")


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance of the test's own: the same whatever other tests run."""
    return random.Random(f"{request.config.getoption('seed')} {request.node.nodeid}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and "chance" in getattr(item, "fixturenames", ()):
        report.sections.append(("chance", f"--seed {item.config.getoption('seed')} repeats this"))
    return report
