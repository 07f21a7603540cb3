"""`heliotrope certificate`: attested energy as lots that are issued, split, handed on, used up and matched."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from node.commands.options import HomeOption, JsonOption, client_of, print_json
from protocol.errors import LocalError

app = App(name="certificate", help="Attested energy made transferable. Energy is in joules: 3600 are a watt-hour.")

DryRunOption = Annotated[
    bool, Parameter("--dry-run", negative="", show_default=False, help="Say whether it would count; sign nothing.")
]
LotArgument = Annotated[str, Parameter(help="The lot: the entry that made it, and /INDEX if it made several.")]
EnergyOption = Annotated[int | None, Parameter(help="Joules; else as much as there is.")]


@app.command(name="list")
def list_certificates(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Lots that this node holds, and what was cancelled in its favour."""
    from node.commands import show_certificates

    answer = client_of(home).certificates()
    if as_json:
        print_json(answer)
    else:
        show_certificates.held(answer)


@app.command
def issue(
    attestation: Annotated[str, Parameter(help="An attestation of this node's: eight digits of its id at least.")],
    /,
    *,
    energy_j: EnergyOption = None,
    holder: Annotated[str | None, Parameter(help="Peer id or key of the first holder; else this node.")] = None,
    dry_run: DryRunOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make what is left of an attestation a lot."""
    asked = {"attestation": attestation, "energy_j": energy_j, "holder": holder, "dry_run": dry_run}
    _act("issue", asked, home, as_json)


@app.command
def split(
    lot: LotArgument,
    parts_j: Annotated[list[int], Parameter(help="Joules of each part; together the lot's.")],
    /,
    *,
    dry_run: DryRunOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Divide a lot; the parts stay with this node."""
    _act("split", {**lot_of(lot), "parts_j": parts_j, "dry_run": dry_run}, home, as_json)


@app.command
def transfer(
    lot: LotArgument,
    recipient: Annotated[str, Parameter(help="Peer id or key of who gets it.")],
    /,
    *,
    dry_run: DryRunOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand a lot on, whole."""
    _act("transfer", {**lot_of(lot), "recipient": recipient, "dry_run": dry_run}, home, as_json)


@app.command
def cancel(
    lot: LotArgument,
    /,
    *,
    beneficiary: Annotated[str | None, Parameter(help="Who may say it used it; else this node.")] = None,
    purpose: Annotated[str, Parameter(help="What for, for people.")] = "",
    dry_run: DryRunOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Use a lot up for ever, in somebody's favour."""
    asked = {**lot_of(lot), "beneficiary": beneficiary, "purpose": purpose, "dry_run": dry_run}
    _act("cancel", asked, home, as_json)


@app.command
def allocate(
    cancellation: Annotated[str, Parameter(help="A cancellation in this node's favour.")],
    receipt: Annotated[str, Parameter(help="A receipt of this node's.")],
    row: Annotated[int, Parameter(help="Which of the receipt's rows of energy, from 0.")] = 0,
    /,
    *,
    energy_j: EnergyOption = None,
    dry_run: DryRunOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Match cancelled energy with what this node drew in the same hour and zone."""
    asked = {"cancellation": cancellation, "receipt": receipt, "row": row, "energy_j": energy_j, "dry_run": dry_run}
    _act("allocate", asked, home, as_json)


def lot_of(named: str) -> dict[str, Any]:
    """ENTRY or ENTRY/INDEX. Raises LocalError."""
    entry, _, index = named.partition("/")
    if index and not (index.isascii() and index.isdigit()):
        cause = f"{named[:80]!r} names no lot: ENTRY or ENTRY/INDEX"
        raise LocalError("HEL-CERTIFICATE-006", cause, "See: heliotrope certificate list")
    return {"entry": entry.lower(), "index": int(index or 0)}


def _act(name: str, asked: dict[str, Any], home: Any, as_json: bool) -> None:
    from node.commands import show_certificates

    given = {field: value for field, value in asked.items() if value is not None}
    answer = client_of(home).act(f"/v1/certificates/{name}", given)
    if as_json:
        print_json(answer)
    else:
        show_certificates.acted(answer)
