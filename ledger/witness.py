"""A witness: cosigns an author's checkpoint if it continues the last one it cosigned (C2SP tlog-witness).

All that a witness promises is to cosign no two checkpoints of one feed that conflict. So it looks at nothing else: not
at the entries, not at their rules. What it has promised is kept before it is said, and by a compare-and-set: between
the check and the keeping, another request may have been answered.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ledger.checkpoint import (
    NOTE_MAX_BYTES,
    Note,
    SignatureLine,
    author_of,
    check_author,
    cosign,
    parse_line,
    parse_note,
    read_decimal,
    read_hash,
    split_lines,
    to_base64,
)
from ledger.merkle import EMPTY_ROOT, PROOF_MAX, verify_consistency
from protocol.errors import Reject
from protocol.identity import KeyPair

REQUEST_MAX_BYTES = NOTE_MAX_BYTES + 4 * 1024  # the proof's 63 lines have 45 bytes each
ANSWER_MAX_BYTES = 1024
NOTHING = 0, EMPTY_ROOT  # of a feed that was never cosigned


class Status(enum.IntEnum):
    """The specification's answers, by their HTTP numbers."""

    COSIGNED = 200
    MALFORMED = 400
    NOT_SIGNED = 403
    UNKNOWN_ORIGIN = 404
    CONFLICT = 409
    NOT_CONSISTENT = 422


class Promises(Protocol):
    """What a witness has cosigned, durably."""

    def cosigned(self, origin: str) -> tuple[int, bytes] | None:
        """Size and root of the latest checkpoint cosigned for this origin."""
        ...

    def advance_cosigned(self, origin: str, old_size: int, size: int, root: bytes) -> bool:
        """Keep size and root, durably, if the latest size is still `old_size` (0: nothing was cosigned yet); else
        change nothing and return False. Atomic, whatever else is asked at the same time."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """`old <size>`, the lines of a consistency proof from there, an empty line, a checkpoint."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    def encoded(self) -> bytes:
        lines = (f"old {self.old_size}\n", *(to_base64(h) + "\n" for h in self.proof), "\n")
        return "".join(lines).encode() + self.note.encoded()


@dataclass(frozen=True, slots=True)
class Answer:
    """`body`: the cosignature line; at a conflict the size to start from; else the reason, for people."""

    status: Status
    body: bytes

    def cosignature(self) -> SignatureLine:
        """The line of a cosignature, not yet verified. Raises Reject."""
        (line, *more) = split_lines(self.body[:ANSWER_MAX_BYTES], "cosignature")
        if more:
            raise Reject(f"{1 + len(more)} lines where one cosignature is expected")
        return parse_line(line)

    def known_size(self) -> int:
        """The size that the witness has cosigned, at a conflict. Raises Reject."""
        (line, *_) = split_lines(self.body[:ANSWER_MAX_BYTES], "conflict")
        return read_decimal(line, "the cosigned size")


def parse_request(raw: bytes) -> Request:
    """The request that encodes to exactly these bytes. Raises Reject."""
    if len(raw) > REQUEST_MAX_BYTES:
        raise Reject(f"a request of {len(raw)} bytes exceeds {REQUEST_MAX_BYTES}")
    head, separator, note = raw.partition(b"\n\n")
    first, *proof = split_lines(head + b"\n", "request")
    if not separator or not first.startswith("old "):
        raise Reject("a request is `old` and a size, a proof, an empty line and a checkpoint")
    if len(proof) > PROOF_MAX:
        raise Reject(f"a proof of {len(proof)} lines exceeds {PROOF_MAX}")
    old_size = read_decimal(first.removeprefix("old "), "the old size")
    return Request(old_size, tuple(read_hash(line, "a hash of the proof") for line in proof), parse_note(note))


def answer(
    raw: bytes,
    keypair: KeyPair,
    network: bytes,
    promises: Promises,
    time_s: int,
    serves: Callable[[bytes], bool] = lambda _: True,
) -> Answer:
    """Judge a request for a cosignature; `time_s` is Unix time. Blocks while the promise is made durable.

    1. Well-formed, within bounds, the old size not above the new one: else 400.
    2. The origin is a feed of this network, and of an author that it `serves`: else 404.
    3. Signed by its author: else 403.
    4. The old size is that of the latest checkpoint cosigned here: else 409, and that size.
    5. The new tree begins with the old one: else 422. (For equal sizes: the same root, and no proof.)
    6. Still so when the promise is kept: else 409, and the size that came between.
    """
    try:
        return Answer(Status.COSIGNED, _judge(raw, keypair, network, promises, time_s, serves).encoded())
    except _Refused as refused:
        return refused.answer


def _judge(
    raw: bytes, keypair: KeyPair, network: bytes, promises: Promises, time_s: int, serves: Callable[[bytes], bool]
) -> SignatureLine:
    with _refusing_as(Status.MALFORMED):
        request = parse_request(raw)
        checkpoint, old_size = request.note.checkpoint, request.old_size
        if old_size > checkpoint.size:
            raise Reject(f"the old size {old_size} is above the new one, {checkpoint.size}")
    with _refusing_as(Status.UNKNOWN_ORIGIN):
        author = author_of(network, checkpoint.origin)
        if not serves(author):
            raise Reject("this witness does not serve this author here")
    with _refusing_as(Status.NOT_SIGNED):
        check_author(request.note, author)
    known_size, known_root = promises.cosigned(checkpoint.origin) or NOTHING
    if old_size != known_size:
        raise _conflict(known_size)
    with _refusing_as(Status.NOT_CONSISTENT):
        # An old checkpoint, brought again, would roll back what others rely on; a split view would deceive them.
        verify_consistency(old_size, known_root, checkpoint.size, checkpoint.root, request.proof)
    if not promises.advance_cosigned(checkpoint.origin, old_size, checkpoint.size, checkpoint.root):
        known_size, _ = promises.cosigned(checkpoint.origin) or NOTHING
        raise _conflict(known_size)
    return cosign(keypair, network, checkpoint, time_s)


def request_for(note: Note, old_size: int, proof: Sequence[bytes]) -> bytes:
    """What an author asks a witness that has cosigned its feed up to `old_size`."""
    return Request(old_size, tuple(proof), note).encoded()


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@contextmanager
def _refusing_as(status: Status) -> Iterator[None]:
    """What fails in here is answered with this status."""
    try:
        yield
    except Reject as refusal:
        raise _Refused(Answer(status, str(refusal).encode()[: ANSWER_MAX_BYTES - 1] + b"\n")) from None


def _conflict(known_size: int) -> _Refused:
    return _Refused(Answer(Status.CONFLICT, b"%d\n" % known_size))
