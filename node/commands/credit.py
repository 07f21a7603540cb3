"""`heliotrope credit`: who owes whom, and what was paid outside."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from node.commands.options import HomeOption, JsonOption, client_of, print_json
from protocol.errors import LocalError

SMALLEST_CREDITS = 0.000_001  # one microcredit

app = App(name="credit", help="What peers owe each other under mutual credit.")


@app.command(name="list")
def list_accounts(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every account of this node: limit, IOU, and what was paid of it."""
    from node.commands import show_credit

    answer = client_of(home).credit()
    if as_json:
        print_json(answer)
    else:
        show_credit.accounts(answer)


@app.command
def paid(
    debtor: Annotated[str, Parameter(help="peer id or key of who has paid")],
    total_credits: Annotated[float, Parameter(help="what it has paid over all time: to say it twice does no harm")],
    /,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign that a debtor has paid outside the ledger, so that it may owe as much again."""
    from node.commands import show_credit
    from protocol.messages import INTEGER_MAX
    from protocol.units import MICROCREDITS_PER_CREDIT

    if not MICROCREDITS_PER_CREDIT * abs(total_credits) <= INTEGER_MAX or 0 < total_credits < SMALLEST_CREDITS:
        cause = f"{total_credits} credits cannot be booked: 0, or {SMALLEST_CREDITS:f} to 2^53-1 millionths of one can"
        raise LocalError("HEL-CREDIT-003", cause, "Give the sum of all payments in credits, as in: 12.5")
    answer = client_of(home).paid(debtor, round(total_credits * MICROCREDITS_PER_CREDIT))
    if as_json:
        print_json(answer)
    else:
        show_credit.accounts({"accounts": [answer]})
