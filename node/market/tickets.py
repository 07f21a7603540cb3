"""Tickets for the blobs that this node serves, and where it serves them."""

from __future__ import annotations

from dataclasses import dataclass

from node.events import ShardId, Started
from node.reachability import Reachability, Scope, host_of, scope_of
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
    _started: Started | None = None

    def on_started(self, event: Started) -> None:
        self._started = event
        self.url, self.certificate_sha256 = event.data_url, event.certificate_sha256

    def on_reachability(self, reachability: Reachability) -> None:
        """Serve on the host at which peers have reached this node, unless its operator has named one, or fewer could
        come there than to the one that was guessed: peers on this machine confirm its loopback."""
        if self._started is None or self._started.is_data_host_given:
            return
        self.url = self._started.data_url
        guessed = max(map(scope_of, self._started.addresses), default=Scope.MACHINE)
        if reachability.confirmed and reachability.scope >= guessed:
            port = self.url.rpartition(":")[2]
            self.url = data_url(str(host_of(reachability.confirmed[0])), int(port))

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


def data_url(host: str, port: int) -> str:
    """Where peers fetch blobs."""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
