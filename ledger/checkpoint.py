"""Checkpoints: what an author and witnesses sign about a feed's first `size` entries.

    heliotrope/1/<network>/<author's peer id>          origin, and the author's key name
    <size>
    <base64 of the root of the tree over the entries' ids>

    — <key name> <base64 of key id and signature>      the author's first, then witnesses'

The forms are C2SP's: tlog-checkpoint, signed-note, tlog-cosignature. An author that signs two checkpoints of which the
shorter is no beginning of the longer has forked. A witness cosigns no such pair; so a checkpoint with a quorum of
cosignatures is *final*: of two that conflict, at most one can ever be.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from ledger.merkle import HASH_BYTES
from protocol.errors import Reject
from protocol.identity import KeyPair, peer_id, public_key, verify
from protocol.messages import INTEGER_MAX

NOTE_MAX_BYTES = 32 * 1024  # twice an author and 64 witnesses
SIGNATURES_MAX = 128
NAME_MAX_BYTES = 256  # ours have 106
SIGNATURE_MAX_BYTES = 4 * 1024  # a post-quantum one of a witness that we do not know has 2,432
TIMESTAMP_MAX = 2**63 - 1  # seconds; tlog-cosignature's bound
DASH = "\N{EM DASH} "
AUTHOR, COSIGNATURE = b"\x01", b"\x04"  # signature types: Ed25519 on the note, timestamped cosignature
DECIMAL = re.compile("0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The root of a feed at a size."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """The note's text, which all signatures cover."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n".encode()


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """Who says it signed. Nothing of it is believed before it is verified."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def key(self) -> tuple[str, bytes]:
        """What names the key and its algorithm."""
        return self.name, self.key_id

    def encoded(self) -> bytes:
        return f"{DASH}{self.name} {to_base64(self.key_id + self.signature)}\n".encode()


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint and the lines under it."""

    checkpoint: Checkpoint
    lines: tuple[SignatureLine, ...]

    def encoded(self) -> bytes:
        return self.checkpoint.text() + b"\n" + b"".join(line.encoded() for line in self.lines)

    def with_lines(self, *lines: SignatureLine) -> Note:
        return replace(self, lines=(*self.lines, *lines))


# --- names --------------------------------------------------------------------------------------------------------


def origin_of(network: bytes, author: bytes) -> str:
    return f"{_stem(network)}/{peer_id(author)}"


def witness_name(network: bytes, witness: bytes) -> str:
    return f"{_stem(network)}/witness/{peer_id(witness)}"


def author_of(network: bytes, origin: str) -> bytes:
    """Whose feed an origin names. Raises Reject if it is no feed of this network."""
    stem, _, peer = origin.rpartition("/")
    if stem != _stem(network):
        raise Reject(f"origin {origin[:NAME_MAX_BYTES]!r} is not of network {network.hex()[:32]}")
    try:
        return public_key(peer)
    except ValueError as error:
        raise Reject(f"origin: {error}") from None


def _stem(network: bytes) -> str:
    return f"heliotrope/1/{network.hex()[:32]}"


def key_id(name: str, kind: bytes, public: bytes) -> bytes:
    """Four bytes that tell a name's keys apart (signed-note)."""
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]


# --- signing and verifying ----------------------------------------------------------------------------------------


def sign(keypair: KeyPair, network: bytes, size: int, root: bytes) -> Note:
    """The author's checkpoint of its own feed."""
    origin = origin_of(network, keypair.public)
    checkpoint = Checkpoint(origin, size, root)
    line = SignatureLine(origin, key_id(origin, AUTHOR, keypair.public), keypair.sign(checkpoint.text()))
    return Note(checkpoint, (line,))


def open_note(raw: bytes, network: bytes) -> tuple[Note, bytes]:
    """The note in these bytes, and the author whose feed it is of and whose signature it bears. Raises Reject."""
    note = parse_note(raw)
    author = author_of(network, note.checkpoint.origin)
    check_author(note, author)
    return note, author


def check_author(note: Note, author: bytes) -> None:
    """Return if the author signed it. Raises Reject."""
    origin = note.checkpoint.origin
    key = origin, key_id(origin, AUTHOR, author)
    line = next((line for line in note.lines if line.key == key), None)
    if line is None:
        raise Reject("the checkpoint lacks its author's signature")
    if not verify(author, note.checkpoint.text(), line.signature):
        raise Reject("the author's signature on the checkpoint is not valid")


def cosign(keypair: KeyPair, network: bytes, checkpoint: Checkpoint, time_s: int) -> SignatureLine:
    """A witness's cosignature/v1, at a moment of Unix time. Whether it may be given is for `ledger.witness` to say."""
    name = witness_name(network, keypair.public)
    signature = keypair.sign(_cosigned_bytes(checkpoint, time_s))
    return SignatureLine(name, key_id(name, COSIGNATURE, keypair.public), time_s.to_bytes(8, "big") + signature)


def cosigners(note: Note, network: bytes, witnesses: Collection[bytes]) -> dict[bytes, int]:
    """Which of these witnesses cosigned, and when (Unix seconds). Lines of unknown keys are passed over. Raises Reject
    where a line of a known key is false."""
    known = _verifiers(network, tuple(witnesses)) if len(note.lines) > 1 else {}
    found: dict[bytes, int] = {}
    for line in note.lines:
        witness = known.get(line.key)
        if witness is not None:
            time_s = int.from_bytes(line.signature[:8], "big")
            if not 0 < time_s <= TIMESTAMP_MAX:
                raise Reject(f"cosignature of {line.name!r}: time {time_s} s is not within 1 and {TIMESTAMP_MAX}")
            if not verify(witness, _cosigned_bytes(note.checkpoint, time_s), line.signature[8:]):
                raise Reject(f"the cosignature of {line.name!r} is not valid")
            found[witness] = time_s
    return found


def quorum(witnesses: int) -> int:
    """How many of n witnesses make a checkpoint final: more than (n+f)/2, where f = (n-1)/3 of them may lie.

    Two quorums then share more than f witnesses, so an honest one, which does not cosign both sides of a fork. A
    network without witnesses has no quorum: none of 0 would be one.
    """
    if witnesses < 1:
        raise ValueError("a network without witnesses has no quorum")
    return (witnesses + (witnesses - 1) // 3) // 2 + 1


def is_final(note: Note, network: bytes, witnesses: Collection[bytes]) -> bool:
    """Whether a quorum of the network's witnesses cosigned. Raises Reject as `cosigners`."""
    return bool(witnesses) and len(cosigners(note, network, witnesses)) >= quorum(len(witnesses))


def trim(note: Note, network: bytes, author: bytes, witnesses: Collection[bytes]) -> Note:
    """The note without the lines of keys that are neither its author's nor a witness's: nobody verifies them."""
    origin = note.checkpoint.origin
    known = {(origin, key_id(origin, AUTHOR, author)), *_verifiers(network, tuple(witnesses))}
    return replace(note, lines=tuple(line for line in note.lines if line.key in known))


@lru_cache(maxsize=16)
def _verifiers(network: bytes, witnesses: tuple[bytes, ...]) -> Mapping[tuple[str, bytes], bytes]:
    names = ((witness_name(network, witness), witness) for witness in witnesses)
    return {(name, key_id(name, COSIGNATURE, witness)): witness for name, witness in names}


def _cosigned_bytes(checkpoint: Checkpoint, time_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_s + checkpoint.text()


# --- text ---------------------------------------------------------------------------------------------------------


def parse_note(raw: bytes) -> Note:
    """The note that encodes to exactly these bytes; no signature is verified. Raises Reject.

    Extension lines, which the specification allows, are refused: nobody would check what they say.
    """
    if len(raw) > NOTE_MAX_BYTES:
        raise Reject(f"a checkpoint of {len(raw)} bytes exceeds {NOTE_MAX_BYTES}")
    lines = split_lines(raw, "checkpoint")
    if len(lines) < 5 or lines[3] != "":
        raise Reject("a checkpoint is an origin, a size, a root, an empty line and at least one signature")
    if len(lines) - 4 > SIGNATURES_MAX:
        raise Reject(f"{len(lines) - 4} signature lines exceed {SIGNATURES_MAX}")
    origin, size, root = lines[:3]
    _check_name("the origin", origin)
    checkpoint = Checkpoint(origin, read_decimal(size, "the size"), read_hash(root, "the root"))
    note = Note(checkpoint, tuple(parse_line(line) for line in lines[4:]))
    if len({line.key for line in note.lines}) < len(note.lines):
        raise Reject("two signature lines of one key")  # each costs a verification
    return note


def parse_line(line: str) -> SignatureLine:
    """One signature line, without its newline. Raises Reject."""
    name, separator, signature = line.removeprefix(DASH).partition(" ")
    if not line.startswith(DASH) or not separator:
        raise Reject(f"a signature line is a dash, a key name and a signature, not {line[:80]!r}")
    _check_name("a key name", name)
    raw = read_base64(signature, "a signature", SIGNATURE_MAX_BYTES)
    if len(raw) < 5:
        raise Reject(f"a signature of {len(raw)} bytes has no room for a key id")
    return SignatureLine(name, raw[:4], raw[4:])


def split_lines(raw: bytes, what: str) -> list[str]:
    """The lines of a text each of which ends in a newline, with no other control character. Raises Reject."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Reject(f"{what}: byte {error.start} is not UTF-8") from None
    if not text.endswith("\n"):
        raise Reject(f"{what}: the last line does not end in a newline")
    lines = text[:-1].split("\n")
    for number, line in enumerate(lines, start=1):
        if any(character < " " for character in line):
            raise Reject(f"{what}: line {number} has a control character")
    return lines


def read_decimal(text: str, what: str) -> int:
    """A size or an index as it is written in all of these texts. Raises Reject."""
    if not DECIMAL.fullmatch(text) or int(text) > INTEGER_MAX:
        raise Reject(f"{what} must be a decimal from 0 to 2^53-1 with no leading zero, not {text[:32]!r}")
    return int(text)


def read_hash(text: str, what: str) -> bytes:
    raw = read_base64(text, what, HASH_BYTES)
    if len(raw) != HASH_BYTES:
        raise Reject(f"{what} has {len(raw)} bytes, a hash has {HASH_BYTES}")
    return raw


def read_base64(text: str, what: str, max_bytes: int) -> bytes:
    """Standard base64, padded, in its one spelling. Raises Reject."""
    if len(text) > (max_bytes + 2) // 3 * 4:
        raise Reject(f"{what} exceeds {max_bytes} bytes")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = None
    if raw is None or to_base64(raw) != text:
        raise Reject(f"{what} is not base64")
    return raw


def to_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _check_name(what: str, name: str) -> None:
    size_bytes = len(name.encode())
    if not 0 < size_bytes <= NAME_MAX_BYTES:
        raise Reject(f"{what} has {size_bytes} bytes, 1 to {NAME_MAX_BYTES} are allowed")
    if "+" in name or any(character.isspace() for character in name):
        raise Reject(f"{what} has a space or a plus: {name!r}")
