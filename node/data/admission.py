"""Who is sent what: one decision for both roads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

from node.data.quota import Denied, Quota
from node.data.traffic import RoadName, Traffic
from protocol.direct import Ticket
from protocol.errors import Reject
from protocol.tickets import redeem

STALL_TIMEOUT_S = 30.0  # a transfer may not stand still,
RATE_MIN_BYTES_PER_S = 100_000  # nor trickle: whoever waits for it would wait for ever. A guess, not measured


def deadline_s(size_bytes: int, stall_timeout_s: float = STALL_TIMEOUT_S) -> float:
    """How long a transfer of so many bytes may take, on either side."""
    return stall_timeout_s + size_bytes / RATE_MIN_BYTES_PER_S


class Grant:
    """Leave to send a blob from `first_byte` on; whoever has it closes it, once."""

    def __init__(
        self, path: Path, ticket: Ticket, first_byte: int, road: RoadName, quota: Quota, traffic: Traffic
    ) -> None:
        self.path = path
        self.size_bytes = ticket.blob.size_bytes
        self.first_byte = first_byte
        self.unsent_bytes = self.size_bytes - first_byte
        self._ticket, self._road, self._quota, self._traffic = ticket, road, quota, traffic

    def sent(self, size_bytes: int) -> None:
        """So much is on its way."""
        self.unsent_bytes -= size_bytes
        self._traffic.sent_bytes[self._road] += size_bytes

    def close(self) -> None:
        self._quota.give_back(self._ticket, self.unsent_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Admission:
    """`find` gives a blob's file, or None; `server` is this node's key; clocks: the network's, the world's. `refusal`
    says why a peer is not wanted now, or ""."""

    def __init__(
        self,
        find: Callable[[bytes], Path | None],
        server: bytes,
        network_ms: Callable[[], int],
        unix_ms: Callable[[], int],
        traffic: Traffic,
    ) -> None:
        self._find, self._server = find, server
        self._network_ms, self._unix_ms = network_ms, unix_ms
        self.traffic = traffic
        self.refusal: Callable[[bytes], str] = lambda peer: ""
        self._quota = Quota()

    def admit(
        self, authorization: str, first_byte: int, *, sha256: bytes | None = None, peer: bytes | None = None
    ) -> Grant:
        """Who asks by HTTPS names the blob in the path (`sha256`); who asks by a stream has proved a key (`peer`).
        Raises Denied.

        1. A ticket of ours that holds now, with the holder's proof. 2. For the blob that the path names. 3. From its
        holder. 4. Who is not banned. 5. The blob is here. 6. The first byte lies in it. 7. Within the lease's quota.
        """
        road = RoadName.HTTPS if peer is None else RoadName.STREAM
        try:
            return self._admit(authorization, first_byte, sha256, peer, road)
        except Denied as denied:
            self.traffic.refused[denied.kind] += 1
            raise

    def _admit(
        self, authorization: str, first_byte: int, sha256: bytes | None, peer: bytes | None, road: RoadName
    ) -> Grant:
        now_ms = self._network_ms()
        try:
            ticket = redeem(authorization, self._server, now_ms, self._unix_ms())
        except Reject as refusal:
            raise Denied(403, "ticket", str(refusal)) from None
        if sha256 not in (None, ticket.blob.sha256):
            raise Denied(403, "ticket", "the ticket is for another blob")
        if peer not in (None, ticket.holder):
            raise Denied(403, "ticket", "the ticket is for another peer")
        if reason := self.refusal(ticket.holder):
            raise Denied(403, "banned", f"this node does not want you: {reason}")
        path = self._find(ticket.blob.sha256)
        if path is None:
            raise Denied(404, "gone", "no such blob here any more")
        if not (first_byte == 0 or 0 < first_byte < ticket.blob.size_bytes):
            raise Denied(416, "range", f"byte {first_byte} is not within the blob's {ticket.blob.size_bytes}")
        self._quota.take(ticket, first_byte, now_ms)
        return Grant(path, ticket, first_byte, road, self._quota, self.traffic)
