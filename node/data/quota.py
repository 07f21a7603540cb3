"""How much of its blobs a lease may fetch, and how many transfers run at once.

A lease needs what its tickets name, each blob once; this node signs no tickets for more. So each blob of a lease may be
sent `REPEATS_MAX` times and a little, whatever breaks on the way, and a lease's total is the sum of that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from protocol.direct import Ticket

REPEATS_MAX = 3  # guess, not measured: a transfer that breaks loses what was on its way, and goes on behind that
SLACK_BYTES = 4 * 2**20  # what buffers swallow when a transfer breaks; small blobs may be sent more often
ACCOUNTS_MAX = 4096  # blobs of leases whose tickets have not expired; 1 MB
TRANSFERS_MAX = 64  # under way at once; guess, not measured
TRANSFERS_PER_HOLDER_MAX = 8  # of these, one holder's: an honest one has one per shard that it trains
RETRY_BUSY_S = 2
RETRY_USED_UP_S = 900  # no ticket lives longer: what holds then is a new one

AccountKey = tuple[bytes, int, bytes]  # award, shard, blob


class Denied(Exception):
    """Why a blob is not sent. `status` is HTTP's, `kind` a word for the metrics, `reason` for people."""

    def __init__(self, status: int, kind: str, reason: str, retry_after_s: int = 0) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason, self.retry_after_s = status, kind, reason, retry_after_s


@dataclass(slots=True)
class Account:
    """What a lease has been sent of one blob, or is being sent."""

    sent_bytes: int
    expires_at_ms: int  # of its newest ticket


@dataclass(slots=True)
class Quota:
    """Taken before a transfer, for all that it may send; what it did not send is given back at its end."""

    accounts: dict[AccountKey, Account] = field(default_factory=dict)
    under_way: Counter[bytes] = field(default_factory=Counter)  # transfers, by holder

    def take(self, ticket: Ticket, first_byte: int, now_ms: int) -> None:
        """Raises Denied. Times are the network's.

        1. Not too many transfers at once, in all and of this holder. 2. Room for an account. 3. Not sent too often.
        """
        if self.under_way.total() >= TRANSFERS_MAX:
            raise Denied(429, "busy", f"{TRANSFERS_MAX} transfers are under way, more are not allowed", RETRY_BUSY_S)
        if self.under_way[ticket.holder] >= TRANSFERS_PER_HOLDER_MAX:
            raise Denied(429, "busy", f"{TRANSFERS_PER_HOLDER_MAX} of your transfers are under way", RETRY_BUSY_S)
        account = self._account(ticket, now_ms)
        allowed_bytes = allowance_bytes(ticket.blob.size_bytes)
        wanted_bytes = ticket.blob.size_bytes - first_byte
        if account.sent_bytes + wanted_bytes > allowed_bytes:
            reason = (
                f"this lease was sent {account.sent_bytes} bytes of the blob and asks for {wanted_bytes} more;"
                f" {allowed_bytes} are allowed"
            )
            raise Denied(429, "quota", reason, RETRY_USED_UP_S)
        account.sent_bytes += wanted_bytes
        self.under_way[ticket.holder] += 1

    def give_back(self, ticket: Ticket, unsent_bytes: int) -> None:
        """The transfer is over. Its account may have expired meanwhile."""
        account = self.accounts.get(_key(ticket))
        if account is not None:
            account.sent_bytes -= unsent_bytes
        self.under_way[ticket.holder] -= 1
        if not self.under_way[ticket.holder]:
            del self.under_way[ticket.holder]

    def _account(self, ticket: Ticket, now_ms: int) -> Account:
        account = self.accounts.get(_key(ticket))
        if account is None:
            if len(self.accounts) >= ACCOUNTS_MAX:
                for key in [key for key, each in self.accounts.items() if each.expires_at_ms <= now_ms]:
                    del self.accounts[key]
            if len(self.accounts) >= ACCOUNTS_MAX:
                raise Denied(
                    429, "busy", f"{ACCOUNTS_MAX} blobs are lent out, more are not kept count of", RETRY_BUSY_S
                )
            account = self.accounts[_key(ticket)] = Account(0, ticket.expires_at_ms)
        account.expires_at_ms = max(account.expires_at_ms, ticket.expires_at_ms)
        return account


def allowance_bytes(size_bytes: int) -> int:
    """How much of a blob of this size one lease may be sent."""
    return REPEATS_MAX * size_bytes + SLACK_BYTES


def _key(ticket: Ticket) -> AccountKey:
    return ticket.award, ticket.shard, ticket.blob.sha256
