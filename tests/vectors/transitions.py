"""What entries make of the state: `pre`, `entry`, and `post`; no `post` means that the entry is void, by `check`.

The cases are the tests of the transitions: every verdict that one of them asserts in `tests.ledger.scenes` is a case of
its name. A new kind has vectors as soon as it has such tests. Entries stand once, in `entries`, and are named by their
ids; `pre` lists them in an order in which they can be judged, `post` is all that `tests.vectors.summary` says then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from ledger.ledger import Ledger
from protocol.envelope import Entry
from protocol.genesis import Genesis
from tests.builders import History
from tests.ledger import scenes
from tests.ledger.test_transitions_complete import MODULES
from tests.vectors.summary import summary

FAR_FUTURE_MS = 2**53 - 1  # vectors judge no clock


def judged(genesis: Genesis, pre: list[Entry], entry: Entry) -> tuple[str | None, dict[str, Any]]:
    """Why the entry is void after these, None if it counts; and the state then."""
    ledger = Ledger(genesis)
    for each in (*pre, entry):
        ledger.extend(each, FAR_FUTURE_MS)
    return ledger.state.voids.get(entry.id), summary(ledger.state)


def make() -> dict[str, Any]:
    networks: dict[str, Genesis] = {}
    entries: dict[str, str] = {}
    cases = []
    for name, history, entry, check in _verdicts():
        genesis = history.ledger.genesis
        pre = history.entries[: history.entries.index(entry)] if entry in history.entries else history.entries
        reason, post = judged(genesis, pre, entry)
        assert (reason is None) == (check is None), f"{name} depends on more than what came before"
        networks[entry.network.hex()] = genesis
        entries |= {each.id.hex(): each.raw.hex() for each in (*pre, entry)}
        case = {"name": name, "kind": entry.kind, "pre": [each.id.hex() for each in pre], "entry": entry.id.hex()}
        cases.append(case | ({"post": post} if check is None else {"check": check}))
    return {
        "networks": [
            {"name": name, "genesis": genesis.encoded().hex(), "id": name} for name, genesis in networks.items()
        ],
        "entries": [{"name": name, "raw": raw} for name, raw in entries.items()],
        "cases": cases,
    }


def _verdicts() -> Iterator[tuple[str, History, Entry, int | None]]:
    """Name, history, entry, and the number of the check that it breaks; None where it counts."""
    seen: list[tuple[History, Entry, int | None]] = []

    def observe(history: History, entry: Entry, check: int | None) -> None:
        seen.append((history, entry, check))

    scenes.OBSERVERS.append(observe)
    try:
        for function in _tests():
            for arguments in _arguments(function):
                function(**arguments)
            for number, verdict in enumerate(seen, start=1):
                name = function.__name__.removeprefix("test_").replace("_", " ")
                yield (name if len(seen) == 1 else f"{name}, {number}", *verdict)
            seen.clear()
    finally:
        scenes.OBSERVERS.remove(observe)


def _tests() -> list[Callable[..., None]]:
    return [function for module in MODULES for name, function in vars(module).items() if re.match("test_", name)]


def _arguments(function: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """What `pytest.mark.parametrize` gives the test, mark by mark."""
    rows = []
    for mark in getattr(function, "pytestmark", ()):
        names, values = mark.args
        several = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        rows.append([dict(zip(several, value if len(several) > 1 else (value,), strict=True)) for value in values])
    for chosen in product(*rows):
        yield {name: value for each in chosen for name, value in each.items()}
