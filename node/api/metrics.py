"""The node in numbers, in the text format of Prometheus: names begin with `heliotrope_`, units are base units.

Everything is read from the node's state when it is asked for; nothing but the traffic of blobs is counted on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from node.api import energy_views, views
from node.core import Node
from node.data.traffic import RoadName, Traffic
from node.energy.source import UNIT_OF, UnitName
from node.energy.watched import Health
from node.reachability import Reach

if TYPE_CHECKING:
    from node.running.guarding import LinkFacts

# What a figure is multiplied by to be in base units: a share of 1, grams per joule would help nobody.
_BASE: dict[UnitName, tuple[str, float]] = {
    "J": ("joules", 1),
    "W": ("watts", 1),
    "g/kWh": ("grams_per_kilowatt_hour", 1),
    "permille": ("ratio", 0.001),
}
REACHABLE = {Reach.PUBLIC: 1, Reach.PRIVATE: 0, Reach.UNKNOWN: -1}


def exposition(node: Node, link: LinkFacts, traffic: Traffic, now_ms: int) -> str:
    """All metrics of a node, as one page."""
    registry = CollectorRegistry()
    registry.register(_Collector(node, link, traffic, now_ms))
    return generate_latest(registry).decode()


class _Collector:
    def __init__(self, node: Node, link: LinkFacts, traffic: Traffic, now_ms: int) -> None:
        self._node, self._link, self._traffic = node, link, traffic
        self._now_ms = now_ms

    def collect(self) -> Iterator[Metric]:
        node, now_ms = self._node, self._now_ms
        reasons = views.not_ready(node, now_ms)
        yield _gauge("ready", "1 if the node can do its work", not reasons)
        reach = node.reachability.reach
        yield _gauge("reachable", "1 if others can dial this node, 0 if not, -1 while unknown", REACHABLE[reach])
        yield _gauge(
            "relayed_addresses", "Addresses that lead to this node through relays", len(node.reachability.relayed)
        )
        yield _gauge("peers_connected", "Peers connected now", len(node.peers.connected))
        yield _gauge("ledger_entries", "Entries in the ledger", node.ledger.count)
        yield _gauge("ledger_forks", "Authors that signed two histories", len(node.ledger.forks))
        yield _gauge("shards_running", "Shards that this node trains now", len(node.provider.works))
        yield from _network(self._link)
        yield from _energy(node, now_ms)
        yield from _blobs(self._traffic)


def _network(link: LinkFacts) -> Iterator[Metric]:
    yield _gauge("link_connections", "Connections open now, those not admitted yet among them", link.connections)
    yield _gauge("link_peers_banned", "Peers whose ban stands", len(link.bans))
    yield _gauge("link_networks_denied", "Networks with which there is no connection", len(link.denied))
    gossip = CounterMetricFamily(
        "heliotrope_gossip_messages",
        "Gossip judged, by verdict: only what is accepted is forwarded",
        labels=["topic", "verdict"],
    )
    for (topic, verdict), count in sorted(link.results.items(), key=lambda each: (each[0][0], each[0][1].value)):
        gossip.add_metric([topic, verdict.value], count)
    losses = CounterMetricFamily("heliotrope_link_losses", "What was dropped, refused or cut", labels=["cause"])
    for cause, count in sorted(link.losses.items()):
        losses.add_metric([cause], count)
    yield from (gossip, losses)


def _energy(node: Node, now_ms: int) -> Iterator[Metric]:
    now = energy_views.energy(node, now_ms)
    yield _gauge("energy_assurance_level", "Level A0 to A4 at which surplus counts now", now.assurance)
    if now.newest is not None:
        newest = now.newest
        yield _gauge("energy_surplus_watts", "Mean surplus of the newest reading", newest.surplus_w)
        yield _gauge(
            "energy_grid_intensity_grams_per_kilowatt_hour", "Average intensity of the grid", newest.grid_g_per_kwh
        )
        yield _gauge("energy_reading_age_seconds", "Since the newest reading ended", (now_ms - newest.end_ms) / 1000)
    attested = node.ledger.state.attestations_of.get(node.identity.key, ())
    yield _gauge("energy_attested_joules", "Surplus attested by this node so far", sum(a.energy_j for a in attested))
    yield from _sources(node.sourcing.sources, now_ms)


def _sources(sources: Iterable[Health], now_ms: int) -> Iterator[Metric]:
    up = GaugeMetricFamily("heliotrope_energy_source_up", "1 while a source answers well", labels=["source", "kind"])
    failures = GaugeMetricFamily("heliotrope_energy_source_failures", "Failures in a row", labels=["source", "kind"])
    ages = GaugeMetricFamily(
        "heliotrope_energy_source_age_seconds", "Age of the last good figure", labels=["source", "kind"]
    )
    figures: dict[str, GaugeMetricFamily] = {}
    for health in sources:
        labels = [health.name, health.kind.value]
        up.add_metric(labels, float(health.is_well))
        failures.add_metric(labels, health.failures)
        if (reading := health.last_reading) is not None:
            ages.add_metric(labels, reading.age_ms(now_ms) / 1000)
            unit, factor = _BASE[UNIT_OF[health.kind]]
            name = f"heliotrope_energy_source_{unit}"
            family = figures.setdefault(
                name, GaugeMetricFamily(name, "The last good figure of a source", labels=["source", "kind"])
            )
            family.add_metric(labels, reading.value * factor)
    yield from (up, failures, ages, *figures.values())


def _blobs(traffic: Traffic) -> Iterator[Metric]:
    sent = CounterMetricFamily("heliotrope_blob_sent_bytes", "Of blobs, to holders of tickets", labels=["road"])
    fetched = CounterMetricFamily("heliotrope_blob_fetched_bytes", "Of blobs, whole or not", labels=["road"])
    refused = CounterMetricFamily("heliotrope_blob_refusals", "Requests for blobs that got none", labels=["reason"])
    for road in RoadName:
        sent.add_metric([road.value], traffic.sent_bytes[road])
        fetched.add_metric([road.value], traffic.fetched_bytes[road])
    for reason, count in traffic.refused.items():
        refused.add_metric([reason], count)
    yield from (sent, fetched, refused)


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"heliotrope_{name}", documentation, value=float(value))
