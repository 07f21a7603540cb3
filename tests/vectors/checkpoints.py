"""Checkpoints with whose signatures count, proof files, and texts that are neither.

All are of one network with four witnesses, whose genesis document stands in `networks`. Texts stand as they are, as all
of them are UTF-8. `cosigned_at_s`: witness to Unix seconds.
"""

from __future__ import annotations

from typing import Any

from ledger.checkpoint import Checkpoint, Note, SignatureLine, cosign, is_final, origin_of, sign
from ledger.merkle import EMPTY_ROOT, root_of
from ledger.proof import build
from protocol.identity import KeyPair
from tests.builders import entry, genesis, keypair
from tests.ledger.notes import AUTHOR, NETWORK, TIME_S, WITNESSED, WITNESSES, cosigned, note
from tests.ledger.test_proof import FEED, IDS
from tests.ledger.test_proof import checkpoint as proof_note

STRANGER = keypair(50)


def _accepted() -> dict[str, tuple[Note, list[KeyPair]]]:
    """Notes, and the witnesses of the network that cosigned them."""
    return {
        "signed by its author alone": (note(), []),
        "of an empty feed": (note(0), []),
        "of the largest feed": (sign(AUTHOR, NETWORK, 2**53 - 1, EMPTY_ROOT), []),
        "cosigned by two of four": (cosigned(by=WITNESSES[:2]), WITNESSES[:2]),
        "cosigned by a quorum": (cosigned(by=WITNESSES[1:]), WITNESSES[1:]),
        "cosigned by all": (cosigned(), WITNESSES),
        "cosigned by two of four and a stranger": (cosigned(by=[*WITNESSES[:2], STRANGER]), WITNESSES[:2]),
        "the author's line after the witnesses'": (Note(cosigned().checkpoint, cosigned().lines[::-1]), WITNESSES),
    }


def _refused() -> dict[str, str]:
    good = cosigned().encoded().decode()
    origin, size, root, *rest = good.split("\n")
    checkpoint, lines = cosigned().checkpoint, cosigned().lines
    moved = SignatureLine(lines[1].name, lines[1].key_id, (TIME_S + 1).to_bytes(8, "big") + lines[1].signature[8:])
    spelled = {
        "another network": note(network=genesis().network_id()).encoded().decode(),
        "an origin that names no key": good.replace(origin, origin[:-1]),
        "a size with a leading zero": "\n".join([origin, "0" + size, root, *rest]),
        "a size with a sign": "\n".join([origin, "+" + size, root, *rest]),
        "another size": "\n".join([origin, "8", root, *rest]),
        "a size of 2^53": "\n".join([origin, str(2**53), root, *rest]),
        "an extension line": "\n".join([origin, size, root, "extension", *rest]),
        "a root of 31 bytes": "\n".join([origin, size, root[:40] + "AA==", *rest]),
        "a root without padding": "\n".join([origin, size, root[:-1], *rest]),
        "no empty line": good.replace("\n\n", "\n"),
        "no last newline": good[:-1],
        "carriage returns": good.replace("\n", "\r\n"),
        "a hyphen for the dash": good.replace("—", "-", 1),
        "no signature": good.partition("—")[0],
        "nothing": "",
    }
    notes = {
        "without its author's signature": Note(checkpoint, lines[1:]),
        "signed by another author": Note(checkpoint, note(author=STRANGER).lines),
        "with the author's signature of another size": Note(note(8).checkpoint, note(7).lines),
        "with an author's cosignature for its signature": Note(
            checkpoint, (cosign(AUTHOR, NETWORK, checkpoint, TIME_S),)
        ),
        "with a line twice": Note(checkpoint, (*lines, lines[0])),
        "with a cosignature of another checkpoint": note().with_lines(
            cosign(WITNESSES[0], NETWORK, note(8).checkpoint, TIME_S)
        ),
        "with a cosignature whose time was changed": note().with_lines(moved),
        "with a cosignature at time 0": note().with_lines(cosign(WITNESSES[0], NETWORK, checkpoint, 0)),
        "with a cosignature at time 2^63": note().with_lines(cosign(WITNESSES[0], NETWORK, checkpoint, 2**63)),
        "of an origin with a space": Note(Checkpoint(origin_of(NETWORK, AUTHOR.public) + " ", 7, EMPTY_ROOT), lines),
    }
    return spelled | {name: each.encoded().decode() for name, each in notes.items()}


def _proofs() -> dict[str, tuple[int, int]]:
    """The seq of the entry and the size of the checkpoint."""
    return {f"entry {seq} of {size}": (seq, size) for seq, size in ((0, 1), (0, 9), (5, 9), (8, 9), (3, 4))}


def _refused_proofs() -> dict[str, str]:
    good = build(FEED[5], IDS, proof_note()).decode()
    twin = entry(AUTHOR, network=NETWORK, seq=5, prev=FEED[4].id, kind="twin")
    lines = good.split("\n")
    return {
        "another title": good.replace("@v1", "@v2"),
        "another index": good.replace("index 5", "index 6"),
        "an index with a leading zero": good.replace("index 5", "index 05"),
        "no index": good.replace("index 5\n", ""),
        "a hash too few": "\n".join(lines[:3] + lines[4:]),
        "a hash twice": "\n".join(lines[:4] + lines[3:]),
        "the other entry of a fork": build(twin, IDS, proof_note()).decode(),
        "without its author's signature": build(
            FEED[5], IDS, Note(proof_note().checkpoint, proof_note().lines[1:])
        ).decode(),
        "a checkpoint of another feed": build(FEED[5], IDS, sign(STRANGER, NETWORK, 9, root_of(IDS))).decode(),
    }


def make() -> dict[str, Any]:
    return {
        "networks": [
            {
                "name": "witnessed",
                "genesis": WITNESSED.encoded().hex(),
                "id": NETWORK.hex(),
                "witnesses": [w.public.hex() for w in WITNESSES],
            }
        ],
        "accepted": [
            {"name": name, "note": each.encoded().decode(), "author": AUTHOR.public.hex(), "size": each.checkpoint.size}
            | {"root": each.checkpoint.root.hex(), "cosigned_at_s": {w.public.hex(): TIME_S for w in by}}
            | {"final": is_final(each, NETWORK, WITNESSED.witnesses)}
            for name, (each, by) in _accepted().items()
        ],
        "refused": [{"name": name, "note": text} for name, text in _refused().items()],
        "proofs": [
            {"name": name, "proof": build(FEED[seq], IDS, proof_note(size)).decode(), "entry": FEED[seq].id.hex()}
            | {"size": size, "final": True}
            for name, (seq, size) in _proofs().items()
        ],
        "refused_proofs": [{"name": name, "proof": text} for name, text in _refused_proofs().items()],
    }
