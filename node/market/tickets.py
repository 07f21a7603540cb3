"""Tickets for the blobs that this node serves."""

from __future__ import annotations

from dataclasses import dataclass

from node.events import ShardId
from node.turn import Turn
from protocol import tickets
from protocol.direct import Ticket
from protocol.messages import Blob

TICKET_LIFETIME_MS = 900_000  # of network time; a slow link moves a gigabyte in it (10 Mbit/s)


@dataclass(slots=True)
class TicketOffice:
    """Issues tickets once the node has started and knows where it serves."""

    url: str = ""
    certificate_sha256: bytes = bytes(32)

    def issue(self, turn: Turn, blob: Blob, holder: bytes, lease: ShardId) -> Ticket:
        """A ticket for one peer on one blob of ours, which it needs for this lease."""
        return tickets.issue(
            turn.identity.keypair,
            blob=blob,
            url=self.url,
            certificate_sha256=self.certificate_sha256,
            holder=holder,
            award=lease.award,
            shard=lease.shard,
            expires_at_ms=turn.now_ms + TICKET_LIFETIME_MS * turn.identity.genesis.clock.speed,
        )
