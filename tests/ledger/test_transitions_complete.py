"""Every numbered check of every kind is broken by one test and kept by another."""

from __future__ import annotations

import re

import pytest

from ledger.transitions import PROCESS
from protocol.bodies import BODIES

from . import (
    test_certificates,
    test_credit,
    test_devices,
    test_stores,
    test_transitions_delivering,
    test_transitions_offering,
    test_transitions_placing,
    test_transitions_sun,
)

MODULES = (
    test_transitions_offering,
    test_transitions_placing,
    test_transitions_delivering,
    test_certificates,
    test_credit,
    test_devices,
    test_stores,
    test_transitions_sun,
)
TESTS = [name for module in MODULES for name in dir(module)]


def checks(kind: str) -> list[int]:
    """The numbers in the docstring of the kind's process."""
    found = [int(number) for number in re.findall(r"^\s*(\d+)\. ", PROCESS[kind].__doc__ or "", re.MULTILINE)]
    assert found == list(range(1, len(found) + 1))
    return found


def covered(verdict: str, kind: str) -> set[int]:
    numbers = set()
    for name in TESTS:
        if match := re.match(rf"test_{verdict}_{kind}_check_(\d+)(?:_(and|to)_(\d+))?_", name):
            first, _, last = match.groups()
            numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def test_every_kind_of_body_has_a_process_and_checks() -> None:
    assert PROCESS.keys() == BODIES.keys()
    assert all(checks(kind) for kind in PROCESS)


@pytest.mark.parametrize("verdict", ["void", "valid"])
@pytest.mark.parametrize("kind", PROCESS)
def test_every_check_is_broken_once_and_kept_once(kind: str, verdict: str) -> None:
    assert covered(verdict, kind) == set(checks(kind))
