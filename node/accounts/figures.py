"""A job's carbon told in several ways side by side, never blended, each with its bounds. Pure.

- location-based, hourly: the headline, `node/accounts/carbon.py` adds it up;
- market-based: joules that cancelled certificates of the same hour and zone are allocated to count at the certificate's
  own intensity. The rest counts at the grid's figure: there is no residual mix by the hour, so a joule that somebody
  else has bought may be in it still;
- the 24/7 carbon-free score: the share of what was drawn that carbon-free energy of the same hour and zone matches;
- a marginal estimate: the same joules at what one more load makes the grid emit, where attestations say so;
- SCI (ISO/IEC 21031): (E · I + M) / R, the headline over the work that counts, per token and per inner step.

Bounds take each measurement at its worst end at once. Errors of one method do not average out, so no square root is
taken. They hold the errors that are stated: of the draw, of the surplus, of a transfer's joules, and of the grid's
figure where its attestation speaks of nothing else. `protocol/CARBON.md` works through examples by hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ledger.energy import TRANSFER_J_PER_GB, emitted_ug
from ledger.state import AllocationRecord, AttestationRecord, JobRecord, State
from node.accounts.carbon import Account, job_account, receipts_of
from protocol.messages import Carrier, Method, SlotEnergy, Storage
from protocol.units import ceil_div

PG_PER_UG = 1_000_000
CARBON_FREE: frozenset[Carrier | Storage] = frozenset({"solar", "wind", "hydro"})  # a store holds what it was given
# What a gigabyte may draw instead: 0.06 kWh of 2015 halved every two years up to 2026, the trend of the paper behind
# TRANSFER_J_PER_GB; and 0.059 kWh, all networks, mobile ones too, by volume (Sustainable Web Design Model, version 4).
TRANSFER_LEAST_J_PER_GB = 4_773
TRANSFER_MOST_J_PER_GB = 212_400

ENDS = (-1, 1)  # of an error: less than what was said, and more


@dataclass(frozen=True, slots=True)
class Carbon:
    """A figure and its bounds."""

    carbon_ug: int
    least_ug: int
    most_ug: int


@dataclass(frozen=True, slots=True)
class Rate:
    """Carbon per unit of work, in picograms, and its bounds."""

    carbon_pg: int
    least_pg: int
    most_pg: int


@dataclass(frozen=True, slots=True)
class Score:
    """The share of carbon-free energy. What is unknown counts as nothing, and as all in the upper bound."""

    carbon_free_permille: int
    least_permille: int
    most_permille: int
    unknown_permille: int


@dataclass(frozen=True, slots=True)
class Share:
    """Joules of receipts from one source, known in one way, and what they emitted when they were used.

    `assurance`: of the attestation that speaks for them; None where none does, or for the grid's part.
    """

    method: Method
    source: str
    assurance: int | None
    energy_j: int
    carbon_ug: int


@dataclass(frozen=True, slots=True)
class Report:
    """The five figures beside each other. None: nothing was drawn, or nothing is known."""

    account: Account
    location: Carbon
    market: Carbon
    certified_j: int  # allocated to the job's rows
    carbon_free: Score | None
    marginal: Carbon | None  # of use alone, for `marginal_known_j`; neither hardware nor transfer
    marginal_known_j: int
    sci_per_token: Rate | None
    sci_per_step: Rate | None
    shares: tuple[Share, ...]


class _Part(NamedTuple):
    """Joules that cover a row, with their own intensity and error."""

    energy_j: int
    g_per_kwh: int
    uncertainty_permille: int
    is_free: bool


class _Row(NamedTuple):
    """A receipt's row with what the ledger knows of it. `uncertainty_permille`: of the draw."""

    drawn: SlotEnergy
    uncertainty_permille: int
    attestation: AttestationRecord | None
    own: _Part
    certified: tuple[_Part, ...]


def report(state: State, job: JobRecord) -> Report:
    """All figures of a job, as far as its receipts go."""
    account, rows = job_account(job), list(_rows(state, job))
    least_lost_ug, most_lost_ug = (_shifted(account.lost_carbon_ug, account.uncertainty_permille, end) for end in ENDS)
    lost = Carbon(account.lost_carbon_ug, least_lost_ug, most_lost_ug)
    transfer = Carbon(
        account.transfer_ug,
        account.transfer_ug * TRANSFER_LEAST_J_PER_GB // TRANSFER_J_PER_GB,
        ceil_div(account.transfer_ug * TRANSFER_MOST_J_PER_GB, TRANSFER_J_PER_GB),
    )
    location = _total([*(_used(row, [row.own], row.drawn.embodied_ug) for row in rows), transfer, lost])
    market = _total([*(_used(row, [row.own, *row.certified], row.drawn.embodied_ug) for row in rows), transfer, lost])
    known = [(row, row.attestation.marginal_g_per_kwh) for row in rows if row.attestation is not None]
    marginal = [(row, _used(row, [row.own], 0, g_per_kwh)) for row, g_per_kwh in known if g_per_kwh is not None]
    return Report(
        account=account,
        location=location,
        market=market,
        certified_j=sum(part.energy_j for row in rows for part in row.certified),
        carbon_free=_score(account, rows),
        marginal=_total(carbon for _, carbon in marginal) if marginal else None,
        marginal_known_j=sum(row.drawn.energy_j for row, _ in marginal),
        sci_per_token=_per(location, account.tokens),
        sci_per_step=_per(location, account.inner_steps),
        shares=_shares(rows),
    )


def _rows(state: State, job: JobRecord) -> Iterator[_Row]:
    certified = _certified(state, job)
    for record in receipts_of(job):
        for index, row in enumerate(record.receipt.energy):
            a = None if row.attestation is None else state.attestations[row.attestation]
            own = _Part(
                row.surplus_j,
                min(row.own_g_per_kwh, row.grid_g_per_kwh),
                a.uncertainty_permille if a is not None else 0,
                a is not None and a.carrier in CARBON_FREE,
            )
            parts = tuple(_certificate(allocation) for allocation in certified.get((record.id, index), ()))
            yield _Row(row, record.receipt.uncertainty_permille, a, own, parts)


def _certified(state: State, job: JobRecord) -> Mapping[tuple[bytes, int], Sequence[AllocationRecord]]:
    """Allocations to the job's rows, by receipt and row."""
    rows = {(record.id, index) for record in receipts_of(job) for index in range(len(record.receipt.energy))}
    found: defaultdict[tuple[bytes, int], list[AllocationRecord]] = defaultdict(list)
    if not rows.isdisjoint(state.allocated_j):
        for allocation in state.allocations.values():
            if (key := (allocation.receipt.id, allocation.row)) in rows:
                found[key].append(allocation)
    return found


def _certificate(allocation: AllocationRecord) -> _Part:
    made = allocation.cancellation.lot.attestation
    return _Part(allocation.energy_j, made.own_g_per_kwh, made.uncertainty_permille, made.carrier in CARBON_FREE)


def _used(row: _Row, covering: Sequence[_Part], embodied_ug: int, rest_g_per_kwh: int | None = None) -> Carbon:
    """What a row emitted, where `covering` covers it and the rest is from the grid, or at `rest_g_per_kwh`."""
    grid_g_per_kwh = row.drawn.grid_g_per_kwh if rest_g_per_kwh is None else rest_g_per_kwh
    a = row.attestation
    grid_error_permille = a.uncertainty_permille if a is not None and not a.energy_j else 0  # it speaks of nothing else

    def at(end: int) -> int:
        energy_j = _shifted(row.drawn.energy_j, row.uncertainty_permille, end)
        pairs = [(part.energy_j, part.g_per_kwh) for part in _scaled(covering, -end)]
        return emitted_ug(energy_j, pairs, _shifted(grid_g_per_kwh, grid_error_permille, end), embodied_ug)

    least_ug, carbon_ug, most_ug = at(-1), at(0), at(1)
    return Carbon(carbon_ug, min(least_ug, carbon_ug), max(most_ug, carbon_ug))  # a certificate may be browner


class _Match(NamedTuple):
    """Joules: drawn, of them matched by carbon-free energy, and of them unknown; and the bounds of the first two."""

    drawn_j: int
    free_j: int
    unknown_j: int
    least_drawn_j: int
    most_drawn_j: int
    least_free_j: int
    most_free_j: int


def _score(account: Account, rows: Iterable[_Row]) -> Score | None:
    """The 24/7 score. A row lies in one zone and one slot, and no more is matched with it than it drew, so nothing is
    matched across zones or hours. Of what was lost nobody knows."""
    lost_j = account.lost_energy_j
    least_lost_j, most_lost_j = (_shifted(lost_j, account.uncertainty_permille, end) for end in ENDS)
    lost = _Match(lost_j, 0, lost_j, least_lost_j, most_lost_j, 0, most_lost_j)
    total = _Match(*map(sum, zip(lost, *map(_match, rows), strict=True)))
    if not total.drawn_j:
        return None
    return Score(
        total.free_j * 1000 // total.drawn_j,
        total.least_free_j * 1000 // total.most_drawn_j,
        min(1000, ceil_div(total.most_free_j * 1000, max(1, total.least_drawn_j))),
        ceil_div(total.unknown_j * 1000, total.drawn_j),
    )


def _match(row: _Row) -> _Match:
    """Bounds are sought at every corner: who drew more may have drawn more of a clean grid, too."""
    covering, a = [row.own, *row.certified], row.attestation
    energy_j = row.drawn.energy_j
    free_j, unknown_j = _matched(energy_j, covering, a)
    least_j, most_j = (_shifted(energy_j, row.uncertainty_permille, end) for end in ENDS)
    corners = [_matched(end_j, _scaled(covering, end), a) for end_j in (least_j, most_j) for end in ENDS]
    least_free_j = min(free_j, *(corner_j for corner_j, _ in corners))
    most_free_j = max(free_j + unknown_j, *map(sum, corners))
    return _Match(energy_j, free_j, unknown_j, least_j, most_j, least_free_j, most_free_j)


def _matched(energy_j: int, covering: Iterable[_Part], attestation: AttestationRecord | None) -> tuple[int, int]:
    """Of so many joules drawn, those that carbon-free energy matches, and those of which nobody knows."""
    free_j, left_j = 0, energy_j
    for part in covering:
        covered_j = min(part.energy_j, left_j)
        free_j += covered_j if part.is_free else 0
        left_j -= covered_j
    if attestation is None or attestation.carbon_free_permille is None:
        return free_j, left_j
    return free_j + left_j * attestation.carbon_free_permille // 1000, 0


def _shares(rows: Iterable[_Row]) -> tuple[Share, ...]:
    """Where the joules came from, the most first: own surplus as attested, and the grid by who told its figure."""
    sums: defaultdict[tuple[Method, str, int | None], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        a, grid_j = row.attestation, row.drawn.energy_j - row.drawn.surplus_j
        if a is not None and row.drawn.surplus_j:
            own = sums[a.method, a.source, a.assurance]
            own[0] += row.drawn.surplus_j
            own[1] += emitted_ug(row.drawn.surplus_j, [], row.own.g_per_kwh)
        if grid_j:
            grid = sums["grid_mix", "the bid's dirtiest slot" if a is None else a.intensity_source, None]
            grid[0] += grid_j
            grid[1] += emitted_ug(grid_j, [], row.drawn.grid_g_per_kwh)
    shares = (Share(*key, energy_j, carbon_ug) for key, (energy_j, carbon_ug) in sums.items())
    return tuple(sorted(shares, key=lambda share: (-share.energy_j, share.method, share.source)))


def _per(carbon: Carbon, work: int) -> Rate | None:
    """Picograms for each of so many pieces of work, rounded up; the lower bound down."""
    if not work:
        return None
    least_pg = carbon.least_ug * PG_PER_UG // work
    return Rate(ceil_div(carbon.carbon_ug * PG_PER_UG, work), least_pg, ceil_div(carbon.most_ug * PG_PER_UG, work))


def _total(figures: Iterable[Carbon]) -> Carbon:
    listed = list(figures)
    return Carbon(sum(c.carbon_ug for c in listed), sum(c.least_ug for c in listed), sum(c.most_ug for c in listed))


def _scaled(parts: Iterable[_Part], end: int) -> list[_Part]:
    """What covers a row, at one end of its error."""
    return [part._replace(energy_j=_shifted(part.energy_j, part.uncertainty_permille, end)) for part in parts]


def _shifted(value: int, error_permille: int, end: int) -> int:
    """A figure at an end of its error, -1 or 1, or as it was said: less is rounded down, more is rounded up."""
    shifted = value * (1000 + end * error_permille)
    return ceil_div(shifted, 1000) if end == 1 else shifted // 1000
