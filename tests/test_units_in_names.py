"""A watt never meets a watt-hour: units stand in names, and names of different units are not added or compared.

Names were chosen over types (`Joules = NewType(...)`): a type is lost at the first arithmetic, at every JSON and every
database, and a reader sees it only where the name is declared; a name goes everywhere.

Each test gathers every breach as `file:line what`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.test_tidy import LAYERS, expect_none, is_in, python_files

# What a name may end in. Longest first where one ends in another: `g_per_kwh` is no energy.
UNITS = (
    *(
        "microcredits_per_unit_hour",
        "ug_per_unit_hour",
        "bytes_per_s",
        "g_j_per_kwh",
        "g_per_kwh",
        "j_per_gb",
        "j_per_kwh",
    ),
    *("decidegrees", "degrees", "millinats", "microcredits", "permille", "micro", "bytes"),
    *(
        "mbps",
        "kwh",
        "mwh",
        "tps",
        "wh",
        "kj",
        "mj",
        "kw",
        "mw",
        "mb",
        "ms",
        "ug",
        "mg",
        "kg",
        "pg",
        "j",
        "w",
        "s",
        "g",
    ),
)

# Where every number says its unit: what peers sign, and all that reckons with energy and carbon. Not where others chose
# the names: in services' answers, on devices, in the words of an operator's rules.
RECKONING = (
    *("protocol/messages.py", "protocol/certificates.py", "protocol/devices.py", "protocol/adverts.py"),
    *("ledger/energy.py", "ledger/storage.py", "ledger/receipts.py", "ledger/plausibility.py"),
    *("node/accounts/carbon.py", "node/accounts/figures.py", "node/market/receipts.py", "node/api/resources.py"),
    "node/energy/*.py",
)
OTHERS_WORDS = ("node/energy/web.py", "node/energy/rules.py")
NUMBERS = frozenset({"int", "float", "Count", "Positive", "Permille", "PerSlot", "Shard"})

# Numbers without a unit, by their last word: how many, which one, how much of what.
COUNTED = frozenset(
    {
        *("assurance", "bids", "candidates", "ceiling", "check", "entries", "failures", "forks", "heads", "layers"),
        *("level", "min", "number", "placed", "rounds", "seen", "shards", "slots", "steps", "tokens", "units", "works"),
        *("day", "index", "round", "row", "seed", "seq", "shard", "slot", "hour", "hours", "lost"),
        *("port", "utc", "year"),
        *("connected", "done", "known", "embeddings", "size", "speed", "theta", "end", "work", "deltas"),
        *("latitude", "longitude"),  # of a configuration: degrees, as people write them
        *("value", "values", "bounds", "bound", "arrays"),  # in the unit that stands beside it
    }
)


def unit_of(name: str) -> str | None:
    """The unit that a name ends in."""
    lower = name.lower()
    return next((unit for unit in UNITS if (lower == unit and "_" in unit) or lower.endswith(f"_{unit}")), None)


# --- every number says what it is -------------------------------------------------------------------------------------


def declared_numbers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every parameter and annotated field that holds a number, or several of a kind."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation is not None:
            name, annotation = node.arg, node.annotation
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, annotation = node.target.id, node.annotation
        else:
            continue
        if holds_numbers(annotation):
            yield node.lineno, name


def holds_numbers(annotation: ast.expr) -> bool:
    """Whether it is a number, perhaps none, or a row of numbers of one kind. A pair may hold two kinds."""
    match annotation:
        case ast.Name(id=name):
            return name in NUMBERS
        case ast.BinOp(left=left, right=right):
            return holds_numbers(left) or holds_numbers(right)
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[first, *_])):
            return holds_numbers(first)
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[first, ast.Constant(value=x)])):
            return x is Ellipsis and holds_numbers(first)
        case ast.Subscript(value=ast.Name(id="Sequence" | "Iterable" | "list" | "Final"), slice=element):
            return holds_numbers(element)
    return False


def test_every_number_of_energy_and_carbon_says_its_unit() -> None:
    breaches = [
        f"{path}:{line} {name}"
        for path, tree in python_files(*LAYERS)
        if is_in(path, *RECKONING) and not is_in(path, *OTHERS_WORDS)
        for line, name in declared_numbers(tree)
        if unit_of(name) is None and name.lower().rpartition("_")[2] not in COUNTED
    ]
    expect_none(breaches, "end the name in its unit (UNITS); what has none is counted (COUNTED)")


# --- like meets like --------------------------------------------------------------------------------------------------

ALIKE = frozenset({"min", "max", "abs", "round", "int", "sum"})  # of their arguments' unit


class Meetings(ast.NodeVisitor):
    """Gathers where two units meet that are not the same: sums, differences, comparisons, assignments, arguments."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str]] = []

    def unit(self, node: ast.expr) -> str | None:
        """The unit of an expression, as far as its names say; None where they do not, as after a multiplication."""
        inner: ast.expr | None = None
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return unit_of(name)
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in ALIKE:
                inner = first
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                return None if name.startswith("from_") else unit_of(name)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                return self.unit(left) or self.unit(right)
            case ast.IfExp(body=left, orelse=right):
                return self.unit(left) or self.unit(right)
            case ast.UnaryOp(operand=inner) | ast.GeneratorExp(elt=inner) | ast.ListComp(elt=inner):
                pass
        return None if inner is None else self.unit(inner)

    def meet(self, node: ast.AST, *units: str | None) -> None:
        named = {unit for unit in units if unit is not None}
        if len(named) > 1:
            self.found.append((node.lineno, f"{' meets '.join(sorted(named))}: {ast.unparse(node)[:80]}"))  # type: ignore[attr-defined]

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Add | ast.Sub):
            self.meet(node, self.unit(node.left), self.unit(node.right))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if not any(isinstance(op, ast.In | ast.NotIn) for op in node.ops):
            self.meet(node, *map(self.unit, (node.left, *node.comparators)))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self.meet(node, self.unit(target), self.unit(node.value))
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.meet(node, self.unit(node.target), self.unit(node.value))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, ast.Add | ast.Sub):
            self.meet(node, self.unit(node.target), self.unit(node.value))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg is not None:
                self.meet(keyword, unit_of(keyword.arg), self.unit(keyword.value))
        if isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
            self.meet(node, *map(self.unit, node.args))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for each in ast.walk(node):
            if isinstance(each, ast.Return) and each.value is not None:
                self.meet(each, unit_of(node.name), self.unit(each.value))
        self.generic_visit(node)


def meetings(tree: ast.AST) -> list[tuple[int, str]]:
    visitor = Meetings()
    visitor.visit(tree)
    return visitor.found


def test_no_unit_meets_another() -> None:
    breaches = [
        f"{path}:{line} {what}" for path, tree in python_files(*LAYERS) for line, what in dict.fromkeys(meetings(tree))
    ]
    expect_none(breaches, "convert one of them, by a factor that has a name")


@pytest.mark.parametrize(
    "code",
    [
        "x = power_w + energy_wh",
        "x = energy_j - idle_w",
        "energy_j = record.energy_wh",
        "energy_j += shard.power_w",
        "if start_ms < timeout_s: pass",
        "Reading(energy_j=reading.power_w)",
        "x = max(surplus_j, surplus_w)",
        "x = grid_g_per_kwh + energy_kwh",
        "def carbon_ug(): return self.energy_j",
        "total_j = sum(row.carbon_ug for row in rows)",
    ],
)
def test_a_meeting_of_units_is_found(code: str) -> None:
    assert len(meetings(ast.parse(code))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "energy_j = power_w * duration_ms // 1000",
        "energy_j = energy_wh * J_PER_WH",
        "x = surplus_s50_j + own.energy_j + 1",
        "end_ms = start_ms + slot_ms",
        "carbon_ug = max(0, carbon_ug(energy_j, 0, 0, grid_g_per_kwh, 0))",
    ],
)
def test_what_is_converted_or_alike_may_meet(code: str) -> None:
    assert meetings(ast.parse(code)) == []
