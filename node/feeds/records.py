"""Records of matchings between nodes: whoever audits a job asks its owner for what its awards name.

What an award names is no secret: its bids are in the ledger, and the choice is meant to be repeated. So every peer is
answered. Only what was asked for is taken, and only under the hash that the ledger names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from node.actions import KeepMatching, Send, SendMatching
from node.turn import Turn
from protocol.direct import MATCHING_MAX_BYTES, Matching, WantMatching
from protocol.errors import Reject
from protocol.messages import Award, Blob

ASKED_MAX = 1024  # records asked for and not yet here; beyond it the oldest are forgotten, and no longer taken


@dataclass(slots=True)
class Records:
    """What was asked for: (owner, award) → the hash of its record."""

    asked: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)

    def on_wanted(self, turn: Turn, job: bytes) -> None:
        """Ask the owner of a job for the records of all its awards."""
        record = turn.state.jobs.get(job)
        if record is None or record.owner == turn.identity.key:
            return
        for award, body in record.awards.items():
            while len(self.asked) >= ASKED_MAX:
                del self.asked[next(iter(self.asked))]
            self.asked[record.owner, award] = body.instance_sha256
            turn.do(Send(record.owner, WantMatching(job=job, award=award)))

    def on_want(self, turn: Turn, peer: bytes, message: WantMatching) -> None:
        body = _own_award(turn, message)
        if body is not None:
            turn.do(SendMatching(peer, message.award, body.instance_sha256))

    def on_matching(self, turn: Turn, peer: bytes, message: Matching) -> None:
        sha256 = self.asked.pop((peer, message.award), None)
        if sha256 is not None:
            turn.do(KeepMatching(sha256, message.record))


def _own_award(turn: Turn, message: WantMatching) -> Award | None:
    record = turn.state.jobs.get(message.job)
    if record is None or record.owner != turn.identity.key:
        return None
    return record.awards.get(message.award)


# --- what the shells do for it ------------------------------------------------------------------------------------


def read_record(action: SendMatching, read: Callable[[bytes, int], bytes | None]) -> Iterator[Matching]:
    """The message that carries out a SendMatching, if the record is still here; `read` as `BlobStore.read`."""
    record = read(action.sha256, MATCHING_MAX_BYTES)
    if record is not None:
        yield Matching(award=action.award, record=record)


def keep_record(action: KeepMatching, keep: Callable[[Blob, bytes], None]) -> None:
    """Carry out a KeepMatching; `keep` as `BlobStore.keep`, which compares the hash. What is not the record is dropped:
    the audit that asked for it says that it lacks it."""
    with suppress(Reject):
        keep(Blob(sha256=action.sha256, size_bytes=len(action.record)), action.record)
