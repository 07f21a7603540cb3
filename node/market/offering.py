"""What a provider has on offer: its adverts and bids, from its offer, its forecast and what its leases bind already.

Nothing is decided here but whether there is anything to say; the buyer's matching judges whether a bid fits.
"""

from __future__ import annotations

from ledger.energy import shard_energy_j
from ledger.state import JobRecord, OfferRecord, PlacementRecord
from ledger.transitions import pool_allows
from node.energy.supply import Forecast
from node.turn import Turn
from protocol.adverts import LIFETIME_MAX_MS, Advert
from protocol.messages import ARRAY_MAX, Bid, Offer

LIFETIME_MS = 2_700_000  # of an advert, in the machine's own time: see protocol/SCALING.md
ADVERT_SLOTS_MAX = 64
ATTESTATIONS_SHOWN = 4


def advert(
    turn: Turn, offer: Offer, forecast: Forecast, addresses: tuple[str, ...], closed_slots: frozenset[int] = frozenset()
) -> Advert | None:
    """What is on offer now; None once the forecast lies behind us. Nothing is free in `closed_slots`."""
    first, count = turn.slot, min(ADVERT_SLOTS_MAX, horizon(forecast) - turn.slot)
    if count <= 0:
        return None
    return Advert(
        number=turn.now_ms,
        expires_at_ms=turn.now_ms + lifetime_ms(turn),
        label=turn.identity.label,
        offer=offer,
        free_units=_free_units(turn, offer, first, 1, closed_slots)[0],
        first_slot=first,
        surplus_s50_j=_left_over(turn, forecast, forecast.surplus_s50_j, first, count),
        surplus_s20_j=_left_over(turn, forecast, forecast.surplus_s20_j, first, count),
        grid_g_per_kwh=_window(forecast, forecast.grid_g_per_kwh, first, count),
        attestations=_newest_attestations(turn),
        addresses=addresses,
    )


def lifetime_ms(turn: Turn) -> int:
    """Of an advert, in network time: as long for people on a network whose clock runs faster, within the protocol."""
    return min(LIFETIME_MS * turn.identity.genesis.clock.speed, LIFETIME_MAX_MS)


def bid(
    turn: Turn,
    record: JobRecord,
    offer: OfferRecord,
    forecast: Forecast | None,
    closed_slots: frozenset[int] = frozenset(),
) -> Bid | str:
    """Our present facts for a job, or why we have none to offer. Nothing is free in `closed_slots`."""
    job = record.job
    if not pool_allows(job.mode, job.tenant, offer.offer.tenant):
        return f"mode {job.mode} excludes our pool {offer.offer.tenant!r}"
    if forecast is None:
        return "our energy source has not answered yet"
    first = max(job.first_slot, turn.slot)
    count = min(job.deadline_slot, horizon(forecast), first + ARRAY_MAX) - first
    if count <= 0:
        return "its window lies outside our forecast"
    if closed_slots.issuperset(range(first, first + count)):
        return "our operator's rules are expected to pause us in all of its window"
    return Bid(
        job=record.id,
        offer=offer.id,
        price_microcredits_per_unit_hour=offer.offer.price_microcredits_per_unit_hour,
        first_slot=first,
        free_units=_free_units(turn, offer.offer, first, count, closed_slots),
        surplus_s50_j=_left_over(turn, forecast, forecast.surplus_s50_j, first, count),
        surplus_s20_j=_left_over(turn, forecast, forecast.surplus_s20_j, first, count),
        grid_g_per_kwh=_window(forecast, forecast.grid_g_per_kwh, first, count),
        attestations=_newest_attestations(turn),
    )


def nothing_left(bid: Bid, offer: OfferRecord) -> Bid:
    """The same bid with nothing free."""
    return bid.model_copy(update={"offer": offer.id, "free_units": (0,) * len(bid.free_units)})


def implausible(record: PlacementRecord, slot_ms: int) -> str:
    """Why the energy that a requester expects of a placement cannot be; "" if it can.

    It follows from our own offer and the job, up to rounding. We take it off our surplus in later bids: too much, and a
    stranger makes us look brown for a lease that costs it little; too little, and we promise the same joules twice.
    """
    offer, placed, job = record.bid.offer.offer, record.placement, record.job.job
    slot_j = shard_energy_j(
        units=job.units_per_shard,
        idle_w=offer.idle_w,
        peak_w=offer.peak_w,
        unit_rate_tps=offer.rate_tps,
        job_rate_tps=job.rate_tps,
        pue_permille=offer.pue_permille,
        duration_ms=slot_ms,
    )
    low_j, high_j = max(0, slot_j - 1) * placed.slots, slot_j * placed.slots
    if low_j <= placed.energy_j <= high_j:
        return ""
    return f"energy_j {placed.energy_j} is not the {low_j} to {high_j} J that follow from our offer"


def horizon(forecast: Forecast) -> int:
    """The first slot that the forecast does not reach."""
    return forecast.first_slot + len(forecast.grid_g_per_kwh)


def _free_units(turn: Turn, offer: Offer, first: int, count: int, closed_slots: frozenset[int]) -> tuple[int, ...]:
    leased = turn.state.units_leased_during(turn.identity.key, first, count)
    return tuple(
        0 if slot in closed_slots else max(0, offer.units - units) for slot, units in enumerate(leased, start=first)
    )


def _window(forecast: Forecast, values: tuple[int, ...], first: int, count: int) -> tuple[int, ...]:
    """`first` is not before the forecast: a forecast begins with the slot in which it was made."""
    offset = first - forecast.first_slot
    return values[offset : offset + count]


def _left_over(turn: Turn, forecast: Forecast, surplus_j: tuple[int, ...], first: int, count: int) -> tuple[int, ...]:
    """Forecast surplus less what running leases are expected to draw."""
    spoken_for = [
        (p.first_slot, p.first_slot + p.slots, p.energy_j // p.slots)
        for lease in turn.state.leases_of.get(turn.identity.key, ())
        if lease.released_at_slot is None
        for p in (lease.placement.placement,)
    ]
    return tuple(
        max(0, value - sum(energy_j for start, end, energy_j in spoken_for if start <= slot < end))
        for slot, value in enumerate(_window(forecast, surplus_j, first, count), start=first)
    )


def _newest_attestations(turn: Turn) -> tuple[bytes, ...]:
    records = turn.state.attestations_of.get(turn.identity.key, [])
    return tuple(record.id for record in records[-ATTESTATIONS_SHOWN:])
