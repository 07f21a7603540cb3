"""Energy of shards that were lost: what was drawn is in the account once, whoever receipts it, in whatever order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node.accounts.carbon import job_account
from node.events import ShardFailed
from node.sim.world import World
from tests.sim.worlds import LEAD, WIND, assert_settled, is_closed, job, reaches_round, record_of, run_of, settle, world


def goes_for_good(demo: World) -> None:
    demo.crash(WIND)


def returns(demo: World) -> None:
    demo.crash(WIND)
    demo.run(5_000)
    demo.restart(WIND)


def worker_fails(demo: World) -> None:
    demo.handle(WIND, ShardFailed(next(iter(demo.node(WIND).provider.works)), "out of memory"))


@pytest.mark.parametrize("rounds_before", [2, 14], ids=["before any receipt", "after a receipt in part"])
@pytest.mark.parametrize(
    ("happens", "is_receipted"),
    [(goes_for_good, False), (returns, False), (worker_fails, True)],
    ids=["goes for good", "returns without its books", "its worker fails"],
)
def test_energy_of_a_lost_shard_is_counted_once(
    happens: Callable[[World], None], is_receipted: bool, rounds_before: int
) -> None:
    demo = world(genesis={"slot_ms": 3_000})
    job_id = demo.submit(LEAD, job(demo, slots=30, deadline_slot=demo.slot + 60, training={"rounds": 20}))
    demo.run_until(reaches_round(demo, job_id, rounds_before), within_ms=60_000)
    happens(demo)
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    settle(demo)
    assert_settled(demo, job_id)
    (former,) = run_of(demo, job_id).former.values()
    (placement,) = [p for p in record_of(demo, LEAD, job_id).placements if p.revocation_reason]
    assert placement.lease is not None
    receipted_j = sum(row.energy_j for r in placement.lease.receipts for row in r.receipt.energy)
    assert (receipted_j > 0) == (is_receipted or rounds_before > 10)
    account = job_account(record_of(demo, LEAD, job_id))
    assert account.lost_energy_j == max(0, former.energy_j - receipted_j)
    assert (account.lost_energy_j == 0) == is_receipted
    assert (account.lost_carbon_ug == 0) == is_receipted
