"""Accounts of mutual credit, as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.commands.show import rows, say
from protocol.units import format_credits

HEADINGS = ("debtor", "creditor", "limit", "acknowledged", "of it paid", "settled, not acknowledged")
AMOUNTS = ("limit", "acknowledged", "paid", "waiting")


def accounts(answer: Mapping[str, Any]) -> None:
    found = answer["accounts"]
    if not found:
        say("no accounts: nobody owes this node anything, and it owes nobody")
        return
    lines = [
        (*(a[who]["label"] for who in ("debtor", "creditor")), *(_credits(a, amount) for amount in AMOUNTS))
        for a in found
    ]
    rows(HEADINGS, lines)


def _credits(account: Mapping[str, Any], amount: str) -> str:
    return format_credits(account[f"{amount}_microcredits"])
