"""What gossip, entries and questions cost a node in networks of a thousand to a hundred thousand: the arithmetic behind
protocol/SCALING.md. `spread` simulates a mesh, `day_of_adverts` runs the node's own policy; the rest is multiplication.

Everything that is assumed stands in `Assumed`, each with where it comes from.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log2
from statistics import mean

from ledger.ledger import Ledger
from node.actions import Publish
from node.devnet.sites import Site, sites
from node.dialling import Dialling
from node.energy.profile import Profile
from node.energy.supply import Forecast
from node.events import Timer, TimerKind
from node.market.advertising import Advertising
from node.market.book import AdvertBook
from node.market.offering import ADVERT_SLOTS_MAX, lifetime_ms
from node.peers import Peers
from node.sim.world import keypair_of, offer_of
from node.turn import Identity, Turn
from protocol.adverts import Advert, SignedAdvert, SignedUpdate
from protocol.genesis import Clock, Genesis
from protocol.gossip import Topics, judge_adverts
from protocol.messages import Offer

NODES = (1_000, 10_000, 100_000)
SLOT_MS = 300_000  # of a new network
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
ENVELOPE_BYTES = 230  # of a gossiped message: author 38, number 8, topic 55, signature 64, and their headers; paper
ANNOUNCEMENT_BYTES = 75  # one head
SUMMARY_BYTES = 110


@dataclass(frozen=True, slots=True)
class Assumed:
    """In the units of the names. Milliseconds are of CPU."""

    gossip_ms: float = 0.5  # a message at a node, with copies: 0.37 at 20 nodes, 0.1 for what it carries; measured
    stock_gossip_ms: float = 4.0  # the same of stock py-libp2p 0.8.1, in the same run (`make bench BENCH=gossip`)
    entry_ms: float = 1.0  # to fetch, verify, judge and store an entry; guess
    direct_ms: float = 1.0  # a direct message, sent or taken; guess
    look_up_ms: float = 10.0  # a question to the DHT or its answer: a stream of its own; measured for echo streams
    degree: int = 6
    copies: float = 5.0  # of a message that reach a node; of the simulated mesh
    region_share: float = 0.4  # of all nodes in the largest region; guess
    jobs_per_node_day: float = 0.05  # guess
    shards_per_job: int = 4  # guess
    entries_per_shard: int = 13  # lease, four receipts, their settlements and IOUs; guess
    invited: int = 32  # providers that bid where not all do; proposal
    nodes_per_indexer: int = 1_000  # proposal
    questions_per_node_hour: float = 1.0  # guess
    indexer_answer_ms: float = 5.0  # PostgreSQL and a page of 64; guess


ASSUMED = Assumed()


# --- simulated: how a message spreads -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spread:
    copies: float  # that a node receives, in the mean
    hops_p95: float
    reached_p50_ms: float
    reached_p95_ms: float


def mesh(chance: random.Random, nodes: int, degree: int) -> list[list[int]]:
    """Each node picks half of its neighbours: the mean degree is `degree`."""
    neighbours: list[set[int]] = [set() for _ in range(nodes)]
    for node in range(nodes):
        for _ in range(degree // 2):
            other = chance.randrange(nodes)
            if other != node:
                neighbours[node].add(other)
                neighbours[other].add(node)
    return [sorted(each) for each in neighbours]


def spread(nodes: int, messages: int, seed: int = 1) -> Spread:
    """A message runs through the mesh: each hop costs its latency, 10 to 150 ms, and the CPU of who hands it on."""
    chance = random.Random(seed)
    neighbours = mesh(chance, nodes, ASSUMED.degree)
    received, hops, times = 0, [], []
    for _ in range(messages):
        agenda = [(0.0, 0, chance.randrange(nodes), -1)]
        seen: dict[int, float] = {}
        while agenda:
            at_ms, hop, node, sender = heapq.heappop(agenda)
            received += sender >= 0
            if node in seen:
                continue
            seen[node] = at_ms
            hops.append(hop)
            times.append(at_ms)
            for other in neighbours[node]:
                if other != sender:
                    after_ms = ASSUMED.gossip_ms + chance.uniform(10, 150)
                    heapq.heappush(agenda, (at_ms + after_ms, hop + 1, other, node))
    hops.sort()
    times.sort()
    at = [times[len(times) * percent // 100] for percent in (50, 95)]
    return Spread(received / nodes / messages, hops[len(hops) * 95 // 100], *at)


# --- simulated: what a provider says in a day -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """Of one provider, in the mean of some."""

    full_per_hour: float
    updates_per_hour: float
    full_bytes: float
    update_bytes: float

    @property
    def per_s(self) -> float:
        return (self.full_per_hour + self.updates_per_hour) / 3600

    @property
    def message_bytes(self) -> float:
        whole = self.full_per_hour * self.full_bytes + self.updates_per_hour * self.update_bytes
        return ENVELOPE_BYTES + whole / (self.full_per_hour + self.updates_per_hour)


def day_of_adverts(providers: int = 12, seed: int = 1) -> Said:
    """The node's own policy over a day of sun, wind and leases, looked at once a minute. Each hour brings a new
    forecast, off by 15 % of the surplus and 5 % of the grid's intensity (standard deviations, guesses); leases come as
    `jobs_per_node_day` says and last four hours."""
    chance = random.Random(seed)
    clock = Clock(unix_ms=0, network_ms=1_750_000_000_000, speed=1)
    genesis = Genesis(name="scaling", clock=clock, slot_ms=SLOT_MS, surplus_assurance_min=0)
    items = [each for site in sites(providers, seed) for each in _said_by(site, genesis, chance)]
    full = [len(item.raw) for item in items if isinstance(item, SignedAdvert)]
    updates = [len(item.raw) for item in items if not isinstance(item, SignedAdvert)]
    return Said(len(full) / providers / 24, len(updates) / providers / 24, mean(full), mean(updates))


def _said_by(site: Site, genesis: Genesis, chance: random.Random) -> Iterator[SignedAdvert | SignedUpdate]:
    keypair, network = keypair_of(site), genesis.network_id()
    identity = Identity(keypair, site.name, genesis, network, Topics.of(network), chance)
    peers = Peers(keypair.public, site.name, Dialling(keypair.public, ()), AdvertBook(keypair.public))
    peers.connected = {bytes([n]) * 32 for n in range(12)}
    advertising, ledger, source = Advertising(peers), Ledger(genesis), Profile(site.energy)
    offer, lease_ends_ms = offer_of(site, ""), 0
    moods, forecast_minute = (1.0, 1.0), chance.randrange(60)
    start_ms, forecast, forecast_slot = genesis.clock.network_ms, None, -1
    leases_per_minute = ASSUMED.jobs_per_node_day * ASSUMED.shards_per_job / 1440
    for now_ms in range(start_ms, start_ms + DAY_MS, 60_000):
        slot = now_ms // SLOT_MS
        if (now_ms - start_ms) // 60_000 % 60 == forecast_minute:
            moods = (max(0.0, chance.gauss(1, 0.15)), chance.gauss(1, 0.05))
        if slot != forecast_slot:
            forecast, forecast_slot = source.forecast(slot, ADVERT_SLOTS_MAX, SLOT_MS), slot
        if chance.random() < leases_per_minute:
            lease_ends_ms = now_ms + 4 * HOUR_MS
        turn = Turn(identity, ledger, now_ms)
        free = offer.units - (now_ms < lease_ends_ms)
        assert forecast is not None
        advertising.on_timer(turn, Timer(TimerKind.ADVERTISE), _advert(turn, offer, forecast, moods, free))
        for action in turn.actions():
            if isinstance(action, Publish):
                region = identity.topics.region(action.topic)
                assert region is not None
                yield from judge_adverts(action.data, network, region, now_ms)


def _advert(turn: Turn, offer: Offer, forecast: Forecast, moods: tuple[float, float], free_units: int) -> Advert:
    return Advert(
        number=turn.now_ms,
        expires_at_ms=turn.now_ms + lifetime_ms(turn),
        label=turn.identity.label[:32],
        offer=offer,
        free_units=free_units,
        first_slot=forecast.first_slot,
        surplus_s50_j=tuple(int(each * moods[0]) for each in forecast.surplus_s50_j),
        surplus_s20_j=tuple(int(each * moods[0]) for each in forecast.surplus_s20_j),
        grid_g_per_kwh=tuple(int(each * moods[1]) for each in forecast.grid_g_per_kwh),
        attestations=tuple(turn.slot.to_bytes(32, "big") for _ in range(4)),
        addresses=("/ip4/198.51.100.7/tcp/8471/p2p/12D3KooWNHCh6Rm85zjobHZxdWz9wqQ5rgeKgy24gfMy7VzVXED9",),
    )


# --- paper: what it comes to at a node ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """At one node."""

    what: str
    messages_per_s: float
    bytes_per_s: float
    cpu_share: float


def gossiped(what: str, per_s: float, message_bytes: float, assumed: Assumed = ASSUMED) -> Load:
    return Load(what, per_s, per_s * message_bytes * assumed.copies, per_s * assumed.gossip_ms / 1000)


def adverts(nodes: int, said: Said, assumed: Assumed = ASSUMED) -> Iterator[Load]:
    """Four ways to learn who offers what."""
    everywhere = nodes * said.per_s
    yield gossiped("all regions", everywhere, said.message_bytes, assumed)
    share = assumed.region_share
    yield gossiped("the largest region", everywhere * share, said.message_bytes, assumed)
    hops = 3 * log2(nodes)  # three questions at a time
    per_s = 2 * ((hops + 20) / 1800 + assumed.jobs_per_node_day / 86_400 * 3 * hops)  # asked, and answered to others
    yield Load("DHT look-ups", per_s, per_s * 400, per_s * assumed.look_up_ms / 1000)
    asked = assumed.questions_per_node_hour / 3600
    own = said.per_s * assumed.degree
    page_bytes = 64 * (said.full_bytes + said.update_bytes)
    direct = 2 * asked * assumed.direct_ms / 1000 + said.per_s * assumed.gossip_ms / 1000
    yield Load("asking indexers", own + 2 * asked, own * said.message_bytes + asked * page_bytes, direct)


def indexer(nodes: int, said: Said, assumed: Assumed = ASSUMED) -> Load:
    """One that hears all and answers the nodes that it serves."""
    heard = gossiped("an indexer", nodes * said.per_s, said.message_bytes, assumed)
    asked = assumed.nodes_per_indexer * assumed.questions_per_node_hour / 3600
    page_bytes = 64 * (said.full_bytes + said.update_bytes)
    return replace(
        heard,
        messages_per_s=heard.messages_per_s + 2 * asked,
        bytes_per_s=heard.bytes_per_s + asked * page_bytes,
        cpu_share=heard.cpu_share + asked * assumed.indexer_answer_ms / 1000,
    )


def entries(nodes: int, assumed: Assumed = ASSUMED) -> Iterator[Load]:
    """Each is announced to everybody, fetched and judged by everybody: the ledger is one."""
    jobs_per_s = nodes * assumed.jobs_per_node_day / 86_400
    deals = 3 + assumed.shards_per_job * assumed.entries_per_shard
    for what, per_s in (
        ("attestations", nodes * 1000 / SLOT_MS),
        ("jobs, every provider bids", jobs_per_s * (deals + nodes)),
        (f"jobs, {assumed.invited} invited", jobs_per_s * (deals + assumed.invited)),
    ):
        load = gossiped(what, per_s, ENVELOPE_BYTES + ANNOUNCEMENT_BYTES, assumed)
        yield replace(
            load,
            bytes_per_s=load.bytes_per_s + per_s * 900,  # the entry itself
            cpu_share=load.cpu_share + per_s * assumed.entry_ms / 1000,
        )


def summaries(assumed: Assumed = ASSUMED) -> Load:
    """One sent and one received each three seconds, whoever the neighbour is and however many there are."""
    per_s = 2 / 3
    return Load("summaries of heads", per_s, per_s * SUMMARY_BYTES, per_s * assumed.direct_ms / 1000)


def row(load: Load, nodes: int) -> str:
    """A line of a table, with the CPU of the stock library for comparison where it is gossip."""
    return (
        f"| {nodes:,} | {load.what} | {_short(load.messages_per_s)} | {_short(load.bytes_per_s / 1000)} |"
        f" {_percent(load.cpu_share)} |"
    )


def tables(said: Said, sizes: Sequence[int] = NODES) -> Iterator[str]:
    """The lines of the page's tables."""
    for nodes in sizes:
        stock = replace(ASSUMED, gossip_ms=ASSUMED.stock_gossip_ms)
        yield from (row(load, nodes) for load in adverts(nodes, said))
        yield row(indexer(nodes, said), nodes)
        yield row(replace(next(adverts(nodes, said, stock)), what="all regions, stock py-libp2p"), nodes)
    for nodes in sizes:
        yield from (row(load, nodes) for load in entries(nodes))
        yield row(summaries(), nodes)


def _short(value: float) -> str:
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:,.0f} %"
