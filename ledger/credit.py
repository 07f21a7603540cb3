"""Bilateral credit: limits and discharges in the creditor's feed, IOUs in the debtor's.

A debt has one home, the debtor's feed, so an IOU that takes back an earlier one is void or a fork. An IOU follows from
settlements to the last microcredit: nobody can be made to owe what it has not judged itself. It is evidence and no
money: nothing here is held for anybody.

A debtor may refer to a limit that the creditor has lowered since. That costs the creditor nothing: it lends by working,
and looks at its own latest limit before it does (`ledger/settlement.py`).
"""

from __future__ import annotations

from ledger.rules import referred, require, require_ref, shown
from ledger.state import Account, CreditLimitRecord, DischargeRecord, IouRecord, ReceiptRecord, State
from protocol.credit import UNIT, CreditLimit, Discharge, Iou
from protocol.envelope import Entry


def process_credit_limit(state: State, entry: Entry, limit: CreditLimit) -> None:
    """1. The debtor is another key."""
    require(limit.debtor != entry.author, 1, f"debtor {shown(limit.debtor)} is the author itself")
    key = (limit.debtor, entry.author, limit.unit)
    record = CreditLimitRecord(entry.id, key, entry.seq, limit.limit)
    state.credit_limits[entry.id] = record
    state.accounts.setdefault(key, Account()).limit = record


def process_iou(state: State, entry: Entry, iou: Iou) -> None:
    """1. The limit is referred to, is the creditor's for the author, and no older than that of the last IOU.
    2. The discharge, if there is one, is the same; there is one if the last IOU had one.
    3. Each settlement is referred to, owes this creditor something, and is acknowledged once.
    4. The total does not fall below the last IOU's.
    5. It grows by exactly what the settlements owe.
    6. Less what the discharge says was paid, it is within the limit.
    """
    key = (entry.author, iou.creditor, iou.unit)
    account = state.accounts.get(key, Account())
    last = account.iou
    limit = referred(state.credit_limits, entry, iou.limit, 1, "limit")
    require(limit.account == key, 1, f"limit {shown(iou.limit)} is not {shown(iou.creditor)}'s for the author")
    oldest = last.limit.seq if last else 0
    require(limit.seq >= oldest, 1, f"limit of seq {limit.seq} is older than the last IOU's, seq {oldest}")
    discharge = None
    if iou.discharge is not None:
        discharge = referred(state.discharges, entry, iou.discharge, 2, "discharge")
        require(discharge.account == key, 2, f"discharge {shown(iou.discharge)} is another account's")
    if last is not None and last.discharge is not None:
        oldest, seq = last.discharge.seq, -1 if discharge is None else discharge.seq
        require(seq >= oldest, 2, f"discharge of seq {seq} is older than the last IOU's, seq {oldest}")
    named, unique = len(iou.settlements), len(set(iou.settlements))
    require(named == unique, 3, f"settlements are {named}, of which only {unique} differ")
    owed = 0
    for settlement in iou.settlements:
        require_ref(entry, settlement, 3, "settlement")
        waits = settlement in account.pending
        require(waits, 3, f"settlement {shown(settlement)} is none of the {len(account.pending)} that wait for an IOU")
        owed += amount_settled(account.pending[settlement])
    before = last.total if last else 0
    require(iou.total >= before, 4, f"total {iou.total} is below the last IOU's {before}")
    require(iou.total == before + owed, 5, f"total {iou.total} is not {before + owed}: {before} and {owed} settled")
    net = iou.total - (discharge.total if discharge else 0)
    require(net <= limit.limit, 6, f"total {iou.total}, less what was paid, is {net} and exceeds limit {limit.limit}")
    account.iou = state.ious[entry.id] = IouRecord(entry.id, key, iou.total, limit, discharge)
    for settlement in iou.settlements:
        account.pending.pop(settlement).iou = entry.id


def process_discharge(state: State, entry: Entry, discharge: Discharge) -> None:
    """1. The IOU is referred to, and is the debtor's to the author.
    2. The total does not fall below the last discharge's.
    3. It is at most what the IOU owes.
    """
    key = (discharge.debtor, entry.author, discharge.unit)
    iou = referred(state.ious, entry, discharge.iou, 1, "iou")
    require(iou.account == key, 1, f"iou {shown(discharge.iou)} is not {shown(discharge.debtor)}'s to the author")
    account = state.accounts[key]
    last = account.discharge.total if account.discharge else 0
    require(discharge.total >= last, 2, f"total {discharge.total} is below the last discharge's {last}")
    require(discharge.total <= iou.total, 3, f"total {discharge.total} exceeds the IOU's {iou.total}")
    account.discharge = state.discharges[entry.id] = DischargeRecord(entry.id, key, entry.seq, discharge.total)


def await_iou(state: State, entry: Entry, record: ReceiptRecord) -> None:
    """Note, by the settlement that `entry` is, that its author owes an IOU for a receipt. Nobody owes itself."""
    creditor = record.lease.provider
    if amount_settled(record) > 0 and creditor != entry.author:
        key = (entry.author, creditor, UNIT)
        state.accounts.setdefault(key, Account()).pending[entry.id] = record


def amount_settled(record: ReceiptRecord) -> int:
    """Microcredits that the settlement of a receipt says are owed; 0 where there is none, or it refuses."""
    return record.settlement.amount_microcredits if record.settlement is not None else 0
