"""Accounts of mutual credit as the API shows them. Pure: a Node in, a resource out."""

from __future__ import annotations

from ledger.credit import amount_settled
from ledger.state import Account
from node.api.resources import AccountList, AccountOf
from node.api.views import peer
from node.core import Node
from protocol.credit import UNIT


def accounts(node: Node) -> AccountList:
    """Every account to which this node is a party: first what it is owed."""
    me = node.identity.key
    own = [(key, account) for key, account in node.ledger.state.accounts.items() if me in key[:2]]
    own.sort(key=lambda item: (item[0][1] != me, item[0]))
    return AccountList(accounts=tuple(_account(node, *key[:2], account) for key, account in own))


def account(node: Node, debtor: bytes) -> AccountOf | None:
    """How somebody stands with this node; None if it has acknowledged nothing."""
    me = node.identity.key
    found = node.ledger.state.accounts.get((debtor, me, UNIT))
    return None if found is None or found.iou is None else _account(node, debtor, me, found)


def _account(node: Node, debtor: bytes, creditor: bytes, account: Account) -> AccountOf:
    return AccountOf(
        debtor=peer(node, debtor),
        creditor=peer(node, creditor),
        limit_microcredits=account.limit.limit if account.limit else 0,
        acknowledged_microcredits=account.iou.total if account.iou else 0,
        paid_microcredits=account.discharge.total if account.discharge else 0,
        waiting_microcredits=sum(map(amount_settled, account.pending.values())),
    )
