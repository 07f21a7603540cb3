"""The node and its neighbours as the API shows them. Pure: a Node and a moment in, a resource out.

Jobs are in `job_views`, entries in `ledger_views`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low

from ledger.doubts import said
from ledger.forecasts import reliability_permille
from ledger.state import AttestationRecord
from node.api.nobody import nobody
from node.api.resources import (
    ActiveShard,
    FailedAddress,
    KnownPeer,
    LiveOffer,
    OfferList,
    OthersJobs,
    Peer,
    PeerList,
    Power,
    ThisNode,
)
from node.core import Node
from node.feeds.own_feed import REMEDIES
from node.market import offering
from node.turn import Turn
from protocol.adverts import SignedAdvert
from protocol.identity import peer_id
from protocol.units import slot_of

# An advert is sealed as it is sent: one dated this far ahead means that a clock is wrong. Guess, not measured.
CLOCK_AHEAD_MAX_MS = 2_000
READINGS_MISSED_MAX = 3  # the meter is read once per slot; guess, not measured
UNSENT = b""  # the raw bytes of an advert for our own eyes


@dataclass(frozen=True, slots=True)
class NotReady:
    """One reason why the node cannot do its work: what is concerned (own feed, peers, energy, clock), what to do."""

    concern: str
    text: str


def peer(node: Node, key: bytes) -> Peer:
    return Peer(key=key.hex(), peer_id=peer_id(key), label=node.peers.label(key))


def this_node(node: Node, now_ms: int, *, version: str, started_at_unix_ms: int) -> ThisNode:
    genesis = node.identity.genesis
    return ThisNode(
        identity=peer(node, node.identity.key),
        version=version,
        network=node.identity.network.hex(),
        network_name=genesis.name,
        now_ms=now_ms,
        slot=slot_of(now_ms, genesis.slot_ms),
        slot_ms=genesis.slot_ms,
        clock_speed=genesis.clock.speed,
        surplus_assurance_min=genesis.surplus_assurance_min,
        started_at_unix_ms=started_at_unix_ms,
        addresses=node.addresses,
        peers_connected=len(node.peers.connected),
        peers_known=len(node.peers.adverts.keys() | node.peers.connected),
        nobody=nobody(node, now_ms),
        ledger_entries=node.ledger.count,
        forks=len(node.ledger.forks),
        witness=node.identity.key in genesis.witnesses,
        auditor=node.identity.key in genesis.auditors,
        offer=node.provider.offer,
        power=_power(node, now_ms),
        shards=tuple(
            ActiveShard(
                job=work.lease.placement.job.id.hex(),
                name=work.lease.placement.job.job.name,
                shard=shard.shard,
                rounds_done=work.next_round or 0,
                rounds=work.lease.placement.job.job.training.rounds,
            )
            for shard, work in node.provider.works.items()
        ),
        jobs=_others_jobs(node),
    )


def peers(node: Node, now_ms: int) -> PeerList:
    """Everyone who is connected or has advertised, by key; and the addresses that do not answer."""
    known = sorted(node.peers.connected | node.peers.adverts.keys())
    return PeerList(
        peers=tuple(_known_peer(node, key, now_ms) for key in known),
        unreachable=tuple(
            FailedAddress(address=address, failures=failures, reason=failure.reason)
            for address, failures, failure in sorted(node.dialling.failed(), key=lambda failed: failed[0])
        ),
    )


def offers(node: Node, now_ms: int) -> OfferList:
    """What could be bought now: our own advert first, then those of others that have not expired."""
    return OfferList(offers=tuple(_live_offer(node, signed) for signed in market(node, now_ms)))


def market(node: Node, now_ms: int) -> list[SignedAdvert]:
    """Our own advert, if we sell, and the fresh ones of others."""
    fresh = node.peers.book.fresh(now_ms)
    offer, forecast = node.provider.offer, node.provider.forecast
    if offer is None or forecast is None:
        return fresh
    own = offering.advert(Turn(node.identity, node.ledger, now_ms), offer, forecast, node.addresses)
    return fresh if own is None else [SignedAdvert(node.identity.key, own, UNSENT), *fresh]


def not_ready(node: Node, now_ms: int) -> list[NotReady]:
    """Why the node cannot do its work now; empty when it can. What stops it from signing comes first."""
    found = []
    if not node.may_sign:
        signing = node.own_feed.signing
        found.append(NotReady("own feed", f"{signing.value}: {REMEDIES[signing]}"))
    count = node.dialling.count()
    if count and not node.peers.connected:
        reasons = sorted({failure.reason for _, _, failure in node.dialling.failed()})
        last = f"; the last attempts: {', '.join(reasons[:3])}" if reasons else ""
        found.append(NotReady("peers", f"none of {count} configured or remembered addresses is connected{last}"))
    if node.provider.offer is not None and node.may_sign:
        found += _energy_faults(node, now_ms)
    adverts = [node.peers.adverts[key].advert for key in node.peers.connected & node.peers.adverts.keys()]
    if adverts:
        ahead_ms = median_low(advert.number - now_ms for advert in adverts)
        if ahead_ms > CLOCK_AHEAD_MAX_MS * node.identity.genesis.clock.speed:
            found.append(NotReady("clock", f"peers are {ahead_ms} ms of network time ahead of this machine's clock"))
        if all(advert.expires_at_ms <= now_ms for advert in adverts):
            text = f"the adverts of all {len(adverts)} connected peers have expired by this machine's clock"
            found.append(NotReady("clock", text))
    return found


def lowest_assurance(records: Iterable[AttestationRecord]) -> int | None:
    """The level that a claim resting on all of these attestations has; None for no attestation at all."""
    return min((record.assurance for record in records), default=None)


def _energy_faults(node: Node, now_ms: int) -> list[NotReady]:
    found = [NotReady("energy", f"{health.name}: {health.fault}") for health in node.sourcing.unwell()]
    if node.sourcing.fault and not found:
        found = [NotReady("energy", f"{node.sourcing.fault}: power counts as grid")]
    if node.attesting.refused and not found:
        found = [NotReady("energy", f"not attested, power counts as grid: {node.attesting.refused}")]
    if found:
        return found
    if node.provider.forecast is None:
        return [NotReady("energy", "the energy source gives no forecast: nothing is advertised, nothing bid")]
    newest, slot_ms = newest_attestation(node), node.identity.genesis.slot_ms
    silent_ms = 0 if newest is None else now_ms - newest.end_ms
    if silent_ms > READINGS_MISSED_MAX * slot_ms:
        text = f"the energy source gave no reading for {silent_ms // slot_ms} slots: power counts as grid"
        return [NotReady("energy", text)]
    return []


def newest_attestation(node: Node) -> AttestationRecord | None:
    """This node's own; None before the first."""
    attested = node.ledger.state.attestations_of.get(node.identity.key)
    return attested[-1] if attested else None


def _power(node: Node, now_ms: int) -> Power:
    newest, sourcing = newest_attestation(node), node.sourcing
    surplus_w = grid_g_per_kwh = None
    forecast, offer = node.provider.forecast, node.provider.offer
    counted = newest if not (sourcing.fault or node.attesting.refused) else None
    if sourcing.newest is not None and not sourcing.fault:
        surplus_w, grid_g_per_kwh = sourcing.newest.surplus_w, sourcing.newest.grid_g_per_kwh
    elif forecast is not None:
        index = slot_of(now_ms, forecast.slot_ms) - forecast.first_slot
        if 0 <= index < len(forecast.grid_g_per_kwh):
            surplus_w = forecast.surplus_s50_j[index] * 1000 // forecast.slot_ms
            grid_g_per_kwh = forecast.grid_g_per_kwh[index]
    return Power(
        carrier=offer.carrier if offer else "grid",
        zone=offer.place.zone if offer else "",
        surplus_w=surplus_w,
        grid_g_per_kwh=grid_g_per_kwh,
        attested_until_ms=newest.end_ms if newest else None,
        method=counted.method if counted else None,
        assurance=counted.assurance if counted else None,
        unattested=node.attesting.refused,
        unaudited=node.attesting.unaudited,
        paused_by=node.pausing.standing.paused_by,
    )


def _others_jobs(node: Node) -> OthersJobs:
    key = node.identity.key
    others = [record for record in node.ledger.state.jobs.values() if record.owner != key]
    return OthersJobs(
        seen=len(others),
        bids=sum(key in record.bids for record in others),
        placed=sum(any(p.placement.provider == key for p in record.placements) for record in others),
        declined=tuple(sorted(set(node.provider.declined.values()))),
    )


def _known_peer(node: Node, key: bytes, now_ms: int) -> KnownPeer:
    signed = node.peers.adverts.get(key)
    advert = signed.advert if signed else None
    finding = node.round_trips.finding(key, advert.offer.place) if advert else None
    return KnownPeer(
        identity=peer(node, key),
        connected=key in node.peers.connected,
        advert_age_ms=max(0, now_ms - advert.number) if advert else None,
        advert_fresh=advert is not None and advert.expires_at_ms > now_ms,
        zone=advert.offer.place.zone if advert else None,
        carrier=advert.offer.carrier if advert else None,
        device=advert.offer.device if advert else None,
        addresses=advert.addresses if advert else (),
        round_trip_ms=node.round_trips.round_trip_ms(key),
        doubt="" if finding is None else said(finding),
    )


def _live_offer(node: Node, signed: SignedAdvert) -> LiveOffer:
    advert, attestations = signed.advert, node.ledger.state.attestations
    behind = [attestations[a] for a in advert.attestations if a in attestations]
    behind = [record for record in behind if record.author == signed.author]
    return LiveOffer(
        identity=peer(node, signed.author),
        own=signed.author == node.identity.key,
        offer=advert.offer,
        free_units=advert.free_units,
        first_slot=advert.first_slot,
        surplus_s50_j=advert.surplus_s50_j,
        surplus_s20_j=advert.surplus_s20_j,
        grid_g_per_kwh=advert.grid_g_per_kwh,
        method=behind[-1].method if behind else None,
        assurance=lowest_assurance(behind),
        reliability_permille=reliability_permille(node.ledger.state.tracks.get(signed.author)),
        expires_at_ms=advert.expires_at_ms,
    )
