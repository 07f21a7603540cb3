"""Facts about Merkle trees: the roots and proofs of RFC 6962, and that no proof can be bent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import (
    EMPTY_ROOT,
    PROOF_MAX,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from protocol.errors import Reject

# The reference tree of Certificate Transparency's implementations: eight leaves, its roots and some of its proofs.
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243")] + [
    bytes.fromhex("5051525354555657"),
    bytes.fromhex("606162636465666768696a6b6c6d6e6f"),
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {  # (index, size)
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {  # (old size, size)
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}

trees = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


def hexes(hashes: Sequence[bytes]) -> list[str]:
    return [h.hex() for h in hashes]


# RFC 6962's own definitions, word for word: slow and plainly right.


def defined_root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\1" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


def defined_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*defined_path(m, leaves[:k]), defined_root(leaves[k:])]
    return [*defined_path(m - k, leaves[k:]), defined_root(leaves[:k])]


def defined_subproof(m: int, leaves: Sequence[bytes], is_whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if is_whole else [defined_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*defined_subproof(m, leaves[:k], is_whole), defined_root(leaves[k:])]
    return [*defined_subproof(m - k, leaves[k:], False), defined_root(leaves[:k])]


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def consistency(leaves: Sequence[bytes], old_size: int, size: int) -> list[bytes]:
    return consistency_proof(CompactRange().extend(leaves[:old_size]), leaves[old_size:size])


def test_roots_of_the_reference_tree() -> None:
    assert [root_of(LEAVES[:size]).hex() for size in range(9)] == ROOTS


def test_a_growing_tree_passes_through_all_roots() -> None:
    tree = CompactRange()
    for leaf, root in zip(LEAVES, ROOTS, strict=False):
        assert tree.root().hex() == root
        tree.append(leaf)


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_of_the_reference_tree(index: int, size: int) -> None:
    proof = inclusion_proof(LEAVES[:size], index)
    assert hexes(proof) == INCLUSION[index, size]
    verify_inclusion(bytes.fromhex(ROOTS[size]), size, index, LEAVES[index], proof)


@pytest.mark.parametrize(("old_size", "size"), CONSISTENCY)
def test_consistency_proofs_of_the_reference_tree(old_size: int, size: int) -> None:
    proof = consistency(LEAVES, old_size, size)
    assert hexes(proof) == CONSISTENCY[old_size, size]
    verify_consistency(old_size, bytes.fromhex(ROOTS[old_size]), size, bytes.fromhex(ROOTS[size]), proof)


@given(trees)
def test_roots_are_as_defined(leaves: list[bytes]) -> None:
    assert root_of(leaves) == defined_root(leaves)


@given(trees, st.data())
def test_inclusion_proofs_are_as_defined_and_verify(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = inclusion_proof(leaves, index)
    assert proof == defined_path(index, leaves)
    verify_inclusion(root_of(leaves), len(leaves), index, leaves[index], proof)


@given(trees, st.data())
def test_consistency_proofs_are_as_defined_and_verify(leaves: list[bytes], data: st.DataObject) -> None:
    old_size = data.draw(st.integers(1, len(leaves)))
    proof = consistency(leaves, old_size, len(leaves))
    assert proof == defined_subproof(old_size, leaves, True)
    verify_consistency(old_size, root_of(leaves[:old_size]), len(leaves), root_of(leaves), proof)


def test_no_flipped_bit_of_an_inclusion_proof_is_let_pass() -> None:
    root, proof = root_of(LEAVES), inclusion_proof(LEAVES, 5)
    for changed in flipped(proof):
        with pytest.raises(Reject, match="another root"):
            verify_inclusion(root, 8, 5, LEAVES[5], changed)


def test_no_flipped_bit_of_a_consistency_proof_is_let_pass() -> None:
    for old_size in range(1, 8):
        proof = consistency(LEAVES, old_size, 8)
        for changed in flipped(proof):
            with pytest.raises(Reject, match="another root"):
                verify_consistency(old_size, root_of(LEAVES[:old_size]), 8, root_of(LEAVES), changed)


@given(trees, st.data())
def test_a_proof_of_another_length_place_or_size_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    """Distinct leaves: of equal ones, one proof may serve for two places, and truly so."""
    leaves = [bytes([number]) + leaf for number, leaf in enumerate(leaves)]
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    root, leaf, proof = root_of(leaves), leaves[index], inclusion_proof(leaves, index)
    for other in {-1, size, size + 1, *range(size)} - {index}:
        with pytest.raises(Reject):
            verify_inclusion(root, size, other, leaf, proof)
    for changed in ([*proof, EMPTY_ROOT], proof[:-1], proof[1:], [EMPTY_ROOT, *proof]):
        if changed != proof:
            with pytest.raises(Reject):
                verify_inclusion(root, size, index, leaf, changed)
    with pytest.raises(Reject, match="another root"):
        verify_inclusion(root, size, index, b"\xff" + leaf, proof)


@given(trees, st.data())
def test_a_consistency_proof_of_another_length_or_history_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    size = len(leaves)
    old_size = data.draw(st.integers(1, size))
    old_root, root, proof = root_of(leaves[:old_size]), root_of(leaves), consistency(leaves, old_size, size)
    for changed in ([*proof, EMPTY_ROOT], proof[:-1], proof[1:], [EMPTY_ROOT, *proof]):
        if changed != proof:
            with pytest.raises(Reject):
                verify_consistency(old_size, old_root, size, root, changed)
    rewritten = [b"rewritten" + leaf for leaf in leaves[:old_size]] + leaves[old_size:]
    for claimed in (consistency(rewritten, old_size, size), proof):
        with pytest.raises(Reject):
            verify_consistency(old_size, old_root, size, root_of(rewritten), claimed)


@pytest.mark.parametrize(
    ("old", "new", "proof", "complaint"),
    [
        ((3, ROOTS[3]), (2, ROOTS[2]), [], "cannot begin with one of 3"),
        ((-1, ROOTS[0]), (2, ROOTS[2]), [], "cannot begin"),
        ((0, ROOTS[1]), (2, ROOTS[2]), [], "old tree is empty and its root is not"),
        ((0, ROOTS[0]), (0, ROOTS[1]), [], "new tree is empty and its root is not"),
        ((0, ROOTS[0]), (2, ROOTS[2]), [EMPTY_ROOT], "no proof is needed"),
        ((2, ROOTS[2]), (2, ROOTS[2]), [EMPTY_ROOT], "no proof is needed"),
        ((2, ROOTS[2]), (2, ROOTS[3]), [], "two roots for one size"),
        ((3, ROOTS[3]), (5, ROOTS[5]), [], "a proof is needed"),
        ((3, ROOTS[3]), (5, ROOTS[5]), [b"short"], "other than 32 bytes"),
        ((3, ROOTS[3]), (5, ROOTS[5]), [EMPTY_ROOT] * (PROOF_MAX + 1), "exceeds 63"),
    ],
)
def test_reject_malformed_consistency_proof(
    old: tuple[int, str], new: tuple[int, str], proof: list[bytes], complaint: str
) -> None:
    with pytest.raises(Reject, match=complaint):
        verify_consistency(old[0], bytes.fromhex(old[1]), new[0], bytes.fromhex(new[1]), proof)


def test_an_empty_tree_is_the_beginning_of_every_tree() -> None:
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    verify_consistency(0, EMPTY_ROOT, 8, root_of(LEAVES), [])


def test_an_inner_node_does_not_pass_for_a_leaf() -> None:
    pair = leaf_hash(LEAVES[0]) + leaf_hash(LEAVES[1])
    assert leaf_hash(pair) != node_hash(pair[:32], pair[32:])
    with pytest.raises(Reject):
        verify_inclusion(root_of(LEAVES[:4]), 2, 0, pair, [node_hash(*(leaf_hash(leaf) for leaf in LEAVES[2:4]))])


@given(trees, trees)
def test_a_tree_kept_and_taken_up_again_goes_on_as_if_nothing_had_been(a: list[bytes], b: list[bytes]) -> None:
    tree = CompactRange().extend(a)
    again = CompactRange(tree.size, tree.hashes)
    tree.extend(b)
    assert again.size == len(a), "a copy shares nothing with what it was taken from"
    assert again.extend(b).root() == tree.root() == root_of(a + b)
    assert (again.size, again.hashes) == (tree.size, tree.hashes)


@pytest.mark.parametrize(
    ("size", "hashes"), [(-1, []), (1, []), (2, [EMPTY_ROOT] * 2), (3, [EMPTY_ROOT]), (1, [b"short"])]
)
def test_refuse_hashes_that_are_no_tree_of_their_size(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(ValueError, match="no tree of"):
        CompactRange(size, hashes)


def test_no_proof_of_a_leaf_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        inclusion_proof(LEAVES, 8)


def flipped(proof: Sequence[bytes]) -> list[list[bytes]]:
    """The proof with one bit changed, for every bit."""
    return [
        [*proof[:n], bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(proof[n])), *proof[n + 1 :]]
        for n in range(len(proof))
        for bit in range(256)
    ]
