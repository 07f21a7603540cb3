"""Mutual credit among whole nodes: limits are granted, work is done on credit, IOUs are signed, and who may owe no more
is refused with reasons and numbers."""

from __future__ import annotations

from typing import Any

from ledger.settlement import DRIVERS
from ledger.state import Account
from node.actions import Persist
from node.api import views
from node.devnet.sites import DEMO_SITES
from node.events import DebtPaid, Timer, TimerFired, TimerKind
from node.market.credit import Credit, Terms
from node.sim.world import World
from protocol.credit import UNIT
from tests.builders import digest

from .worlds import LEAD, WIND, assert_all_is_well, assert_settled, is_closed, job, record_of, world

AMPLE = 1_000_000


def lending(limit: int, **changes: Any) -> World:
    return world(terms=Terms(DRIVERS["mutual-credit"], limit), **changes)


def accounts(in_world: World, name: str = LEAD) -> dict[str, Account]:
    """The lead's accounts as a node sees them, by the site that lends."""
    names = {host.key: host.name for host in in_world.hosts.values()}
    state = in_world.node(name).ledger.state
    return {
        names[creditor]: account
        for (debtor, creditor, _), account in state.accounts.items()
        if debtor == in_world.hosts[LEAD].key
    }


def total(account: Account) -> int:
    return account.iou.total if account.iou else 0


def test_a_job_on_credit_ends_with_ious_for_all_that_was_settled() -> None:
    demo = lending(AMPLE)
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=90_000)
    assert_all_is_well(demo)
    assert_settled(demo, job_id)
    owed = demo.node(LEAD).ledger.state.owed_microcredits
    lenders = accounts(demo, WIND)
    for name, account in lenders.items():
        assert account.pending == {}
        assert total(account) == owed.get((demo.hosts[LEAD].key, demo.hosts[name].key), 0)
    assert sum(total(account) > 0 for account in lenders.values()) == 3


def test_who_may_owe_too_little_gets_no_bid_and_the_operator_hears_why() -> None:
    demo = lending(10)
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=90_000)
    bidders = record_of(demo, LEAD, job_id).bids
    assert bidders.keys() <= {demo.hosts[LEAD].key}
    (notice,) = demo.hosts[WIND].told("no bid")
    assert "may owe 10 microcredits, owes or may come to owe 0, and this may cost" in notice.data["reason"]
    shown = views.this_node(demo.node(WIND), demo.now_ms, version="", started_at_unix_ms=0)
    assert shown.jobs.declined == (notice.data["reason"],)
    assert_all_is_well(demo)


def test_a_lease_beyond_the_limit_is_refused_although_the_bid_was_within_it() -> None:
    """Two jobs are bid for when neither is leased yet; there is credit for one."""
    pair = [site for site in DEMO_SITES if site.name in (LEAD, WIND)]
    demo = lending(1_000, sites=pair, buyers=(LEAD,))
    jobs = [demo.submit(LEAD, job(demo, shards=1)) for _ in range(2)]
    demo.run(1_500)
    assert all(demo.hosts[WIND].key in record_of(demo, WIND, job_id).bids for job_id in jobs)
    for job_id in jobs:
        demo.run_until(is_closed(demo, job_id), within_ms=150_000)
    assert_all_is_well(demo)
    outcomes = {record_of(demo, LEAD, job_id).status.value for job_id in jobs}
    assert outcomes == {"done", "failed"}
    reasons = [p.revocation_reason for job_id in jobs for p in record_of(demo, LEAD, job_id).placements]
    assert any("may owe 1000 microcredits, owes or may come to owe 834, and this may cost 834" in r for r in reasons)


def test_the_reconcile_pass_acknowledges_what_no_event_has_and_only_once() -> None:
    demo = lending(AMPLE)
    job_id = demo.submit(LEAD, job(demo))
    node = demo.node(LEAD)
    node.credit = Credit()  # an event path that acknowledges nothing
    demo.run_until(is_closed(demo, job_id), within_ms=90_000)
    waiting = [name for name, account in accounts(demo).items() if account.pending]
    assert len(waiting) == 3
    node.credit = Credit(Terms(DRIVERS["mutual-credit"], AMPLE))
    signed = []
    for _ in range(2):
        actions = node.handle(TimerFired(Timer(TimerKind.RECONCILE)), demo.now_ms)
        signed += [e.kind for action in actions if isinstance(action, Persist) for e in action.entries]
    assert signed == ["iou"] * 3


def test_an_iou_that_is_not_judged_yet_is_not_signed_again() -> None:
    """Behind an own entry that waits for what nobody has: the account does not show what was signed."""
    demo = lending(AMPLE)
    job_id = demo.submit(LEAD, job(demo))
    node = demo.node(LEAD)
    node.credit = Credit()  # an event path that acknowledges nothing
    demo.run_until(is_closed(demo, job_id), within_ms=90_000)
    node.credit = Credit(Terms(DRIVERS["mutual-credit"], AMPLE))
    keypair = node.identity.keypair
    node.ledger.append(keypair, "note", {}, (digest("nobody has it"),), demo.now_ms)
    actions = node.handle(TimerFired(Timer(TimerKind.RECONCILE)), demo.now_ms)
    signed = [e.kind for action in actions if isinstance(action, Persist) for e in action.entries]
    assert 0 < len(signed) <= len(accounts(demo))


def test_what_was_paid_makes_room_again() -> None:
    demo = lending(AMPLE)
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=90_000)
    demo.run(5_000)
    lead = demo.hosts[LEAD].key
    for host in demo.alive():
        account = host.node.ledger.state.accounts.get((lead, host.key, UNIT)) if host.node else None
        if account is not None and account.iou is not None:
            host.handle(DebtPaid(lead, account.iou.total))
    assert_all_is_well(demo)
    paid = [account for account in accounts(demo).values() if account.discharge is not None]
    assert len(paid) == 3
    assert all(account.discharge is not None and account.discharge.total == total(account) for account in paid)
