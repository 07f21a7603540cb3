"""Roots and proofs of trees over entry ids (RFC 6962), and proofs that are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ledger.merkle import CompactRange, consistency_proof, inclusion_proof, root_of
from tests.builders import digest

LEAVES = [digest(f"leaf {n}") for n in range(17)]
SIZES = (1, 2, 3, 4, 5, 7, 8, 13, 16, 17)


def make() -> dict[str, Any]:
    inclusion, consistency = list(_inclusion()), list(_consistency())
    return {
        "roots": [
            {"name": f"size {size}", "leaves": [leaf.hex() for leaf in LEAVES[:size]], "root": _root(size)}
            for size in range(len(LEAVES) + 1)
        ],
        "inclusion": inclusion,
        "consistency": consistency,
        "refused_inclusion": [each for case in inclusion if case["size"] in {7, 8} for each in _spoilt(case, "leaf")],
        "refused_consistency": [
            each for case in consistency if case["size"] in {7, 8} for each in _spoilt(case, "old_root")
        ],
    }


def _root(size: int) -> str:
    return root_of(LEAVES[:size]).hex()


def _inclusion() -> Iterator[dict[str, Any]]:
    for size in SIZES:
        for index in sorted({0, 1, 2, size // 2, size - 2, size - 1} & set(range(size))):
            proof = [node.hex() for node in inclusion_proof(LEAVES[:size], index)]
            place = {"size": size, "root": _root(size), "index": index, "leaf": LEAVES[index].hex()}
            yield {"name": f"leaf {index} of {size}"} | place | {"proof": proof}


def _consistency() -> Iterator[dict[str, Any]]:
    for size in SIZES:
        for old_size in sorted({0, 1, 2, 3, 4, size // 2, size - 1, size} & set(range(size + 1))):
            old = CompactRange().extend(LEAVES[:old_size])
            proof = [node.hex() for node in consistency_proof(old, LEAVES[old_size:size])]
            roots = {"old_size": old_size, "old_root": _root(old_size), "size": size, "root": _root(size)}
            yield {"name": f"{old_size} to {size}"} | roots | {"proof": proof}


def _spoilt(case: dict[str, Any], claimed: str) -> Iterator[dict[str, Any]]:
    """The same with one thing wrong: each must be refused."""
    other, proof = digest("nothing").hex(), case["proof"]
    changes: dict[str, dict[str, Any]] = {
        "another root": {"root": other},
        f"another {claimed.replace('_', ' ')}": {claimed: other},
        "a hash too many": {"proof": [*proof, other]},
    }
    if proof:
        changes |= {
            "a hash too few": {"proof": proof[:-1]},
            "first hash changed": {"proof": [other, *proof[1:]]},
            "last hash changed": {"proof": [*proof[:-1], other]},
        }
    if claimed == "old_root" and case["old_size"] == 0:
        del changes["another root"]  # everything follows from nothing
    for name, change in changes.items():
        yield case | {"name": f"{case['name']}: {name}"} | change
