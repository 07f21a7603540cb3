"""Merkle trees over feeds, as in RFC 6962: one root stands for a feed's first n entries.

A leaf's data is an entry's id. Two proofs follow from a root: that an entry is among them (inclusion), and that a
longer feed begins with a shorter one (consistency). Verifiers follow RFC 9162, sections 2.1.3.2 and 2.1.4.2, whose
steps leave no slack: a proof with a hash too many, too few or changed is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from protocol.errors import Reject

HASH_BYTES = 32
PROOF_MAX = 63  # hashes; the bound of C2SP tlog-witness, and no tree of less than 2^63 leaves needs more
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The prefix keeps a leaf from passing for an inner node (second preimage)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class CompactRange:
    """A growing tree, of which only the roots of its perfect subtrees are kept: as many as `size` has ones in binary.

    `hashes` are in the order of the leaves, so the largest subtree's comes first. `(size, hashes)` is all there is to
    keep: the constructor takes both back.
    """

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        """Raises ValueError where so many hashes, of that length, are no tree of this size."""
        self.size = size
        self.hashes = list(hashes)
        if size < 0 or len(self.hashes) != size.bit_count() or any(len(h) != HASH_BYTES for h in self.hashes):
            raise ValueError(f"{len(self.hashes)} hashes are no tree of {size} leaves")

    def append(self, data: bytes) -> None:
        """Add a leaf; on average two hashes are computed, however large the tree is."""
        top = sha256(b"\x00" + data).digest()
        size, hashes = self.size, self.hashes
        self.size = size + 1
        while size & 1:
            top = sha256(b"\x01" + hashes.pop() + top).digest()
            size >>= 1
        hashes.append(top)

    def extend(self, leaves: Iterable[bytes]) -> CompactRange:
        """Add leaves; returns itself."""
        for data in leaves:
            self.append(data)
        return self

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in self.hashes[-2::-1]:
            root = node_hash(left, root)
        return root

    def copy(self) -> CompactRange:
        return CompactRange(self.size, self.hashes)


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over these leaves' data."""
    return CompactRange().extend(leaves).root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """From the leaf's sibling up to the root's child. Raises IndexError for a leaf that there is none of."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    siblings: list[bytes] = []
    start, end = 0, len(leaves)
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            siblings.append(root_of(leaves[middle:end]))
            end = middle
        else:
            siblings.append(root_of(leaves[start:middle]))
            start = middle
    return siblings[::-1]


def consistency_proof(old: CompactRange, added: Sequence[bytes]) -> list[bytes]:
    """That the tree of `old` with the leaves `added` begins with `old`; empty if either is empty.

    All hashes left of the seam are those that `old` keeps, so what lies before it need not be read again.
    """
    if old.size == 0 or not added:
        return []
    kept = list(old.hashes)
    siblings: list[bytes] = []
    start, end = 0, old.size + len(added)
    while old.size < end:
        middle = start + _split(end - start)
        if old.size <= middle:
            siblings.append(root_of(added[middle - old.size : end - old.size]))
            end = middle
        else:
            siblings.append(kept.pop(0))
            start = middle
    # What is kept is the subtree that ends at the seam. A verifier knows it where it is the whole old tree.
    return (kept if start else []) + siblings[::-1]


def verify_inclusion(root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]) -> None:
    """Return if the tree of this root and size has this leaf's data at `index`. Raises Reject."""
    if not 0 <= index < size:
        raise Reject(f"leaf {index} is not in a tree of {size}")
    _check_form(proof)
    node, last = index, size - 1
    computed = leaf_hash(leaf)
    for sibling in proof:
        if last == 0:
            raise Reject(f"the inclusion proof has {len(proof)} hashes, more than leaf {index} of {size} needs")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            node, last = _past_lone_nodes(node, last)
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise Reject(f"the inclusion proof has {len(proof)} hashes, less than leaf {index} of {size} needs")
    if computed != root:
        raise Reject(f"the inclusion proof of leaf {index} leads to another root than that of the tree of {size}")


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Return if the tree of `size` begins with that of `old_size`. Raises Reject."""
    if not 0 <= old_size <= size:
        raise Reject(f"a tree of {size} leaves cannot begin with one of {old_size}")
    _check_form(proof)
    for name, one_size, one_root in (("old", old_size, old_root), ("new", size, root)):
        if one_size == 0 and one_root != EMPTY_ROOT:
            raise Reject(f"the {name} tree is empty and its root is not that of an empty tree")
    if old_size in (0, size):
        if proof:
            raise Reject(f"from {old_size} to {size} no proof is needed, and it has {len(proof)} hashes")
        if old_size == size and old_root != root:
            raise Reject(f"two roots for one size, {size}")
        return
    _verify_growth(old_size, old_root, size, root, proof)


def _verify_growth(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """The same for 0 < old_size < size: both roots are computed from the one proof."""
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    # Where the old tree is perfect, it is itself the subtree that the proof starts from.
    rest = iter(proof)
    seed = old_root if node == 0 else next(rest, None)
    if seed is None:
        raise Reject(f"from {old_size} to {size} a proof is needed, and it is empty")
    old_computed = new_computed = seed
    for sibling in rest:
        if last == 0:
            raise Reject(f"the consistency proof has {len(proof)} hashes, more than {old_size} to {size} needs")
        if node & 1 or node == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            node, last = _past_lone_nodes(node, last)
        else:
            new_computed = node_hash(new_computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise Reject(f"the consistency proof has {len(proof)} hashes, less than {old_size} to {size} needs")
    if old_computed != old_root:
        raise Reject(f"the consistency proof leads to another root than that of the old tree of {old_size}")
    if new_computed != root:
        raise Reject(f"the consistency proof leads to another root than that of the new tree of {size}")


def _split(size: int) -> int:
    """The largest power of two below `size`: where a tree divides."""
    return 1 << (size - 1).bit_length() - 1


def _past_lone_nodes(node: int, last: int) -> tuple[int, int]:
    """Up the right edge, where a node has no sibling and stands for its parent."""
    while not node & 1 and node:
        node, last = node >> 1, last >> 1
    return node, last


def _check_form(proof: Sequence[bytes]) -> None:
    if len(proof) > PROOF_MAX:
        raise Reject(f"a proof of {len(proof)} hashes exceeds {PROOF_MAX}")
    if any(len(h) != HASH_BYTES for h in proof):
        raise Reject(f"a hash of a proof has other than {HASH_BYTES} bytes")
