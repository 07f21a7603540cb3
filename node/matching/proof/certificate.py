"""Certificates: a bound, and the prices that prove it to anybody who has the problem (`dual` says why). Their file is
described in FORMAT.md.

What is refused, by the number of the check: 1 and 2, a line that is malformed (`lines`; the head comes first) ·
3 a peer of the problem, on one line only · 4 slots of the problem, rising · 5 no price above the highest that proves
anything · 6 the bound is the one that the prices prove
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.json_lines import quoted
from node.matching.files.lines import malformed, objects
from node.matching.load import Load
from node.matching.problem import Problem
from node.matching.proof.dual import FRACTION, Dual, Prices
from protocol.errors import VerificationFailed

_Whole = Annotated[int, Field(ge=0, lt=2**63)]
_Cell = Annotated[list[_Whole], Field(min_length=3, max_length=3)]
_Shape = TypeVar("_Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """No plan's objective is below `bound`: `prices` prove it."""

    bound: int
    prices: Prices


class _Head(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    kind: Literal["certificate"]
    version: Literal[1]
    fraction: Literal[16]
    bound: _Whole


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    peer: str
    cells: list[_Cell]


def verify(problem: Problem, certificate: Certificate) -> int:
    """The bound, recomputed from the prices alone. Raises VerificationFailed (checks 5 and 6)."""
    dual = Dual(problem)
    for name, prices, highest in zip(Prices._fields, certificate.prices, dual.highest, strict=True):
        for slot, row in np.argwhere((prices < 0) | (prices > highest))[:1].tolist():
            price, most = prices[slot, row], highest[slot, row]
            _refuse(5, f"{name} price {price} of {problem.peers.ids[row]} in slot {slot} is not in 0..{most}")
    proved = dual.at(certificate.prices).bound
    if certificate.bound != proved:
        _refuse(6, f"bound {certificate.bound}, and its prices prove {proved}")
    return proved


def gap_permyriad(load: Load, bound: int) -> int | None:
    """How far the plan's carbon is above the bound's at equal declined work, in hundredths of a percent, rounded up;
    None if the bound leaves no carbon to compare with."""
    penalties = load.objective - load.carbon
    least = bound - penalties
    return -(-10_000 * (load.carbon - least) // least) if least > 0 else None


def certificate_lines(problem: Problem, certificate: Certificate) -> Iterator[str]:
    """The certificate as a file, peers in the order of the problem."""
    unit, surplus = certificate.prices
    yield _json({"kind": "certificate", "version": 1, "fraction": FRACTION, "bound": certificate.bound})
    for row in np.flatnonzero((unit | surplus).any(axis=0)).tolist():
        slots = np.flatnonzero(unit[:, row] | surplus[:, row])
        cells = np.stack((slots, unit[slots, row], surplus[slots, row]), axis=1)
        yield _json({"peer": problem.peers.ids[row], "cells": cells.tolist()})


def read_certificate(problem: Problem, lines: Iterable[bytes | str]) -> Certificate:
    """A stranger's certificate for this problem; not verified yet. Raises Malformed (checks 1 and 2), or
    VerificationFailed (checks 3 and 4)."""
    rows = {peer: row for row, peer in enumerate(problem.peers.ids)}
    prices = Prices(*(np.zeros((problem.slots, len(rows)), np.int64) for _ in Prices._fields))
    bound: int | None = None
    for number, value in objects(lines):
        if bound is None:
            bound = _parsed(_Head, value, number).bound
            continue
        line = _parsed(_Line, value, number)
        if (row := rows.pop(line.peer, None)) is None:
            _refuse(3, f"line {number}: peer {quoted(line.peer)} is unknown, or has a line already")
        before = -1
        for slot, unit, surplus in line.cells:
            if not before < slot < problem.slots:
                _refuse(4, f"line {number}: slot {slot} is not in {before + 1}..{problem.slots - 1}")
            prices.unit[slot, row], prices.surplus[slot, row] = unit, surplus
            before = slot
    if bound is None:
        raise malformed(1, "", 2, "the file is empty")
    return Certificate(bound, prices)


def _parsed(shape: type[_Shape], value: dict[str, Any], number: int) -> _Shape:
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        field = quoted(".".join(map(str, wrong["loc"])))
        raise malformed(number, field, 2, wrong["msg"]) from None


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _refuse(check: int, complaint: str) -> NoReturn:
    raise VerificationFailed(
        "HEL-MATCH-008",
        f"the certificate does not hold: check {check}: {complaint}",
        "Do not rely on its bound; make one of your own from the same instance.",
    )
