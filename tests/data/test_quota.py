"""Facts about the quota: a lease is sent what it needs, a few times over, and no more; and everybody waits in turn."""

from __future__ import annotations

from typing import Any

import pytest

from node.data import quota as q
from node.data.quota import Denied, Quota, allowance_bytes
from protocol.direct import Ticket
from protocol.messages import Blob
from tests.builders import NOW_MS, digest, keypair
from tests.data.scene import ticket

SIZE_BYTES = 100 * 2**20


def of_lease(**changes: Any) -> Ticket:
    return ticket(**{"blob": Blob(sha256=digest("large"), size_bytes=SIZE_BYTES)} | changes)


def whole(quota: Quota, wanted: Ticket, now_ms: int = NOW_MS) -> None:
    """Send all of it."""
    quota.take(wanted, 0, now_ms)
    quota.give_back(wanted, 0)


def used_up(wanted: Ticket) -> Quota:
    quota = Quota()
    for _ in range(q.REPEATS_MAX):
        whole(quota, wanted)
    return quota


def test_a_lease_is_sent_a_blob_three_times_and_no_more() -> None:
    quota = used_up(of_lease())
    with pytest.raises(Denied, match=f"{allowance_bytes(SIZE_BYTES)} are allowed") as denied:
        quota.take(of_lease(), 0, NOW_MS)
    assert (denied.value.status, denied.value.kind, denied.value.retry_after_s) == (429, "quota", q.RETRY_USED_UP_S)


@pytest.mark.parametrize(
    "change",
    [{"award": digest("another")}, {"shard": 1}, {"blob": Blob(sha256=digest("other"), size_bytes=SIZE_BYTES)}],
    ids=["award", "shard", "blob"],
)
def test_another_lease_or_blob_has_a_quota_of_its_own(change: dict[str, Any]) -> None:
    whole(used_up(of_lease()), of_lease(**change))


@pytest.mark.parametrize("change", [{"holder": keypair(9).public}, {"expires_at_ms": NOW_MS + 10**6}])
def test_a_new_ticket_of_the_same_lease_brings_no_new_quota(change: dict[str, Any]) -> None:
    with pytest.raises(Denied, match="this lease was sent"):
        whole(used_up(of_lease()), of_lease(**change))


def test_a_transfer_that_goes_on_takes_what_is_left_of_the_blob() -> None:
    quota = used_up(of_lease())
    quota.take(of_lease(), SIZE_BYTES - q.SLACK_BYTES, NOW_MS)
    with pytest.raises(Denied, match="asks for 1 more"):
        quota.take(of_lease(), SIZE_BYTES - 1, NOW_MS)


def test_what_was_not_sent_is_given_back() -> None:
    quota = Quota()
    for _ in range(100):
        quota.take(of_lease(), 0, NOW_MS)
        quota.give_back(of_lease(), SIZE_BYTES - 1000)
    assert [each.sent_bytes for each in quota.accounts.values()] == [100_000]
    assert quota.under_way == {}


def test_transfers_at_once_count_in_full_before_they_end() -> None:
    quota = Quota()
    for _ in range(q.REPEATS_MAX):
        quota.take(of_lease(), 0, NOW_MS)
    with pytest.raises(Denied, match="this lease was sent"):
        quota.take(of_lease(), 0, NOW_MS)


def test_one_holder_has_so_many_transfers_at_once() -> None:
    quota = Quota()
    small = [ticket(shard=number) for number in range(q.TRANSFERS_PER_HOLDER_MAX + 1)]
    for wanted in small[:-1]:
        quota.take(wanted, 0, NOW_MS)
    with pytest.raises(Denied, match="of your transfers") as denied:
        quota.take(small[-1], 0, NOW_MS)
    assert (denied.value.status, denied.value.retry_after_s) == (429, q.RETRY_BUSY_S)
    quota.give_back(small[0], 0)
    quota.take(small[-1], 0, NOW_MS)


def test_all_holders_together_have_so_many_transfers_at_once() -> None:
    quota = Quota()
    for number in range(q.TRANSFERS_MAX):
        quota.take(ticket(holder=keypair(number).public, shard=number), 0, NOW_MS)
    with pytest.raises(Denied, match="transfers are under way"):
        quota.take(ticket(holder=keypair(200).public), 0, NOW_MS)


def test_accounts_are_bounded_and_those_of_expired_tickets_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(q, "ACCOUNTS_MAX", 10)
    quota = Quota()
    for number in range(10):
        whole(quota, ticket(shard=number))
    with pytest.raises(Denied, match="10 blobs are lent out"):
        whole(quota, ticket(shard=10))
    whole(quota, ticket(shard=10), now_ms=NOW_MS + 1000)
    assert len(quota.accounts) == 1


def test_a_transfer_may_end_after_its_account_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(q, "ACCOUNTS_MAX", 1)
    quota = Quota()
    quota.take(ticket(), 0, NOW_MS)
    whole(quota, ticket(shard=1), now_ms=NOW_MS + 1000)
    quota.give_back(ticket(), 1)
    assert quota.under_way == {}
