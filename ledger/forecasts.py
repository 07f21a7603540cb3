"""How well providers foretell their surplus: what they signed in bids against what they attested of those slots later.

All of it follows from a provider's own feed, so that whoever holds its bid knows the same of it as whoever judged the
bid at once. A slot that was foretold and not attested counts as nothing: it may not be kept silent. What is learned
scores a bid in the matching; no verdict depends on it.
"""

from __future__ import annotations

from itertools import accumulate

from ledger.state import AttestationRecord, BidRecord, State, TrackRecord
from protocol.messages import ARRAY_MAX
from protocol.units import slot_of

OBSERVATIONS_MIN = 8  # slots; guess, not measured: fewer say little of a tail
OBSERVATIONS_MAX = 64  # the latest that count; guess, not measured: long enough for a week's weather in hourly slots
UNPROVEN_PERMILLE = 800  # of whom too few are known; guess, not measured
QUANTILE_PERMILLE = 200  # of the energy foretold, the share in slots that came out worse than what counts


def foretell(state: State, bid: BidRecord) -> int:
    """Note what a bid foretells, and return how much of it counts, in permille.

    Of several forecasts for a slot the highest counts, or a late modest one would hide a boast that won. What running
    leases draw was taken off the bid's figures, and will be attested all the same.
    """
    track = state.tracks.setdefault(bid.provider, TrackRecord())
    signed = slot_of(bid.time_ms, state.slot_ms)
    _close(track, signed - 1)  # the reading of the last slot may still be on its way
    first = bid.bid.first_slot
    leased_j = _expected_draw_j(state, bid.provider, first, len(bid.bid.surplus_s20_j))
    for slot, (surplus_j, drawn_j) in enumerate(zip(bid.bid.surplus_s20_j, leased_j, strict=True), start=first):
        if surplus_j and signed < slot <= signed + ARRAY_MAX:
            foretold_j, attested_j = track.due.get(slot, (0, 0))
            track.due[slot] = max(foretold_j, surplus_j + drawn_j), attested_j
    track.due = dict(sorted(track.due.items()))
    return reliability_permille(track)


def attest(state: State, attestation: AttestationRecord) -> None:
    """Hold an attestation against what was foretold for its slots, and close those before it."""
    track = state.tracks.get(attestation.author)
    if track is None:
        return
    a = attestation
    first, last = slot_of(a.start_ms, state.slot_ms), slot_of(a.end_ms - 1, state.slot_ms)
    if a.assurance >= state.surplus_assurance_min:
        for slot in range(first, last + 1) if last - first < len(track.due) else list(track.due):
            if slot in track.due:
                foretold_j, attested_j = track.due[slot]
                start_ms, end_ms = max(a.start_ms, slot * state.slot_ms), min(a.end_ms, (slot + 1) * state.slot_ms)
                inside_j = a.energy_j * max(0, end_ms - start_ms) // (a.end_ms - a.start_ms)
                track.due[slot] = foretold_j, attested_j + inside_j
    _close(track, first)


def reliability_permille(track: TrackRecord | None) -> int:
    """How much of what it foretells counts: the ratio of attested to foretold that all but the worst slots reach, which
    hold a fifth of the energy foretold. Of a provider with too few slots never more than UNPROVEN_PERMILLE."""
    seen = sorted(track.observations) if track is not None else []
    at_most = 1000 if len(seen) >= OBSERVATIONS_MIN else UNPROVEN_PERMILLE
    total_j = sum(foretold_j for _, foretold_j in seen)
    below_j = accumulate(foretold_j for _, foretold_j in seen)
    reached = (
        ratio for (ratio, _), sum_j in zip(seen, below_j, strict=True) if sum_j * 1000 > total_j * QUANTILE_PERMILLE
    )
    return min(at_most, next(reached, at_most))


def _close(track: TrackRecord, before: int) -> None:
    """Slots before this one are over: what came of their forecasts is known. `due` is in the order of slots."""
    while track.due and (slot := next(iter(track.due))) < before:
        foretold_j, attested_j = track.due.pop(slot)
        track.observations.append((min(1000, attested_j * 1000 // foretold_j), foretold_j))
    del track.observations[:-OBSERVATIONS_MAX]


def _expected_draw_j(state: State, provider: bytes, first_slot: int, slots: int) -> list[int]:
    """Joules that a provider's running leases are expected to draw in each slot, in one pass as units_leased_during."""
    changes = [0] * (slots + 1)
    for lease in state.leases_of.get(provider, ()):
        placed = lease.placement.placement
        start, end = max(placed.first_slot, first_slot), min(placed.first_slot + placed.slots, first_slot + slots)
        if lease.released_at_slot is None and start < end:
            changes[start - first_slot] += placed.energy_j // placed.slots
            changes[end - first_slot] -= placed.energy_j // placed.slots
    return list(accumulate(changes[:-1]))
