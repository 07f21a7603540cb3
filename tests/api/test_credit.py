"""Accounts through the API: who owes this node, and what its operator says was paid."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from node.api.problems import Conflict, NotFound
from node.client import Client
from node.documents import Invalid
from protocol.identity import peer_id
from tests.api.host import TOKEN, Host, served
from tests.builders import SLOT_MS, History, keypair

US, DEBTOR = keypair(0), keypair(1)
DUE, LIMIT = 6667, 20_000


def lender(directory: Path) -> Host:
    """A node that has worked for somebody, and whose debtor has acknowledged it."""
    history = History()
    history.offer(US)
    job = history.job(DEBTOR)
    lease = history.lease(history.award(job, history.placement(history.bid(US, job))))
    history.now_ms += SLOT_MS
    limit = history.credit_limit(US, DEBTOR, LIMIT)
    history.iou(limit, history.settlement(history.receipt(lease)))
    raws = tuple(entry.raw for entry in history.entries)
    host = Host(directory, raws=raws, network=history.ledger.genesis)
    host.clock_ms = history.now_ms
    return host


async def ask(host: Host, *payments: tuple[str, int]) -> Any:
    """Make payments one after the other, then list the accounts."""
    async with served(host) as url:
        client = Client(url, TOKEN)
        for debtor, total in payments:
            await asyncio.to_thread(client.paid, debtor, total)
        return (await asyncio.to_thread(client.credit))["accounts"]


async def test_an_account_shows_limit_iou_and_what_was_paid(tmp_path: Path) -> None:
    (account,) = await ask(lender(tmp_path))
    assert (account["debtor"]["key"], account["creditor"]["key"]) == (DEBTOR.public.hex(), US.public.hex())
    amounts = {name: value for name, value in account.items() if name.endswith("_microcredits")}
    assert amounts == {
        "limit_microcredits": LIMIT,
        "acknowledged_microcredits": DUE,
        "paid_microcredits": 0,
        "waiting_microcredits": 0,
    }


@pytest.mark.parametrize("name", [DEBTOR.public.hex(), peer_id(DEBTOR.public)])
async def test_a_payment_said_twice_counts_once(tmp_path: Path, name: str) -> None:
    host = lender(tmp_path)
    (account,) = await ask(host, (name, 100), (name, 100), (name, DUE))
    assert account["paid_microcredits"] == DUE
    assert host.node.ledger.state.voids == {}


@pytest.mark.parametrize("total", [99, DUE + 1])
async def test_a_payment_beyond_the_debt_or_below_the_last_is_refused_before_anything_is_signed(
    tmp_path: Path, total: int
) -> None:
    host = lender(tmp_path)
    await ask(host, (DEBTOR.public.hex(), 100))
    count = host.node.ledger.count
    with pytest.raises(Conflict, match=f"total_microcredits {total} is not within 100"):
        await ask(host, (DEBTOR.public.hex(), total))
    assert host.node.ledger.count == count


async def test_nobody_pays_what_it_has_not_acknowledged(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has acknowledged no debt to this node"):
        await ask(lender(tmp_path), (keypair(5).public.hex(), 1))


async def test_a_debtor_that_is_no_peer_is_named_as_the_fault(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="expected 64 hexadecimal digits or a peer id, not 'somebody'"):
        await ask(lender(tmp_path), ("somebody", 1))
