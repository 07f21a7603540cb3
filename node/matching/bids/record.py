"""The recorded instance: everything the matcher read, so that anyone can repeat the choice that an award names.

    {"candidates": [...], "demand": {...}, "matcher": "greedy/2"}      canonical msgpack, candidates by (provider, bid)

Field names are those of Candidate and Demand. Equal questions have equal bytes, whatever the order of the bids. A
record proves the choice among the bids in it, not that every bid was let in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypeVar

from pydantic import ValidationError

from node.matching.bids.demand import Candidate, Demand
from protocol.adverts import first_fault
from protocol.codec import decode, encode
from protocol.errors import LocalError, Reject, VerificationFailed

_Part = TypeVar("_Part")

MATCHER = "greedy/2"  # rises whenever the same instance would give another plan
INSTANCE_MAX_BYTES = 4 * 1024 * 1024  # what one direct message can carry
CANDIDATES_MAX = 4096


def record(candidates: Sequence[Candidate], demand: Demand) -> bytes:
    """The canonical bytes, whose SHA-256 an award names.

    Raises LocalError beyond CANDIDATES_MAX or INSTANCE_MAX_BYTES: whoever collects the bids keeps within them.
    """
    if len(candidates) > CANDIDATES_MAX:
        raise _too_large(f"{len(candidates)} bids, at most {CANDIDATES_MAX} fit")
    ordered = sorted(candidates, key=lambda candidate: (candidate.provider, candidate.bid))
    value = {"matcher": MATCHER, "demand": asdict(demand), "candidates": [asdict(each) for each in ordered]}
    try:
        return encode(value, CANDIDATES_MAX, INSTANCE_MAX_BYTES)
    except ValueError as error:
        raise _too_large(str(error)) from None


def read(raw: bytes) -> tuple[tuple[Candidate, ...], Demand]:
    """The candidates and the demand of a record, from whomever it came.

    Raises VerificationFailed for anything that `record` would not have written, byte for byte.
    """
    try:
        value = decode(raw, INSTANCE_MAX_BYTES, CANDIDATES_MAX)
        if type(value) is not dict or value.keys() != {"matcher", "demand", "candidates"}:
            raise Reject("a recorded instance is a map of matcher, demand and candidates")
        if value["matcher"] != MATCHER:
            raise Reject(f"made by matcher {str(value['matcher'])[:64]!r}; this program repeats {MATCHER!r} only")
        if type(value["candidates"]) is not tuple:
            raise Reject("candidates are an array")
        candidates = tuple(_made(Candidate, each, f"candidate {i}") for i, each in enumerate(value["candidates"]))
        demand = _demand(value["demand"])
    except Reject as reject:
        raise _faulty(str(reject)) from None
    if record(candidates, demand) != raw:
        raise _faulty("a field is missing, or the candidates are not in the order of provider and bid")
    return candidates, demand


def _demand(fields: object) -> Demand:
    rivals = fields.get("rivals") if type(fields) is dict else None
    if type(fields) is not dict or type(rivals) is not tuple:
        raise Reject("demand: a map of fields is expected, with an array of rivals")
    made = tuple(_made(Demand, each, f"rival {i}") for i, each in enumerate(rivals))
    return _made(Demand, fields | {"rivals": made}, "demand")


def _made(kind: Callable[..., _Part], fields: object, where: str) -> _Part:
    if type(fields) is not dict:
        raise Reject(f"{where}: a map of fields is expected")
    try:
        return kind(**fields)
    except ValidationError as error:
        raise Reject(f"{where}: {first_fault(error)}") from None


def _faulty(cause: str) -> VerificationFailed:
    return VerificationFailed(
        "HEL-MATCH-001",
        f"not a recorded matching instance: {cause}",
        "fetch it again, from the award's author or others",
    )


def _too_large(fault: str) -> LocalError:
    return LocalError(
        "HEL-MATCH-002",
        f"the matching instance cannot be recorded: {fault}",
        "admit fewer bids, or ask for fewer slots",
    )
