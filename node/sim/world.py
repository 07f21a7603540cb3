"""A network of nodes in virtual time: a heap of (at ms, tie, host, life, what happens), and nothing else moves.

Nodes, ledgers, signatures, matching and power profiles are the real ones; machines, disks, training and the network
between are simulated. All chance comes from one generator, so a world repeats itself exactly from its seed.

After every event of a node its host checks what must always hold: the audit finds nothing, and the node has neither
signed a sequence number twice nor written an entry that is void by its own rules.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Mapping, Sequence

from ledger.store.sqlite import SqliteStore
from node.core import Node
from node.devnet.sites import Site
from node.energy.profile import Profile
from node.events import (
    DialFailed,
    Event,
    GossipReceived,
    JobSubmitted,
    MessageReceived,
    PeerConnected,
    PeerDisconnected,
)
from node.market.credit import Terms
from node.sim.host import Broken, Host
from node.sim.network import CALM, Faults, Network
from node.turn import Chance
from protocol.envelope import Entry
from protocol.genesis import Genesis
from protocol.gossip import Topics
from protocol.identity import KeyPair, peer_id
from protocol.messages import Job, Offer

CLOSED_NOTICED_MS = 1  # a process dies: its kernel closes its connections
DIAL_MS = 5  # longer: whoever returns meets nobody who still thinks it connected
GOSSIP_DEGREE = 6  # how many a message is handed on to; gossipsub's D
CUT_NOTICED_MIN_MS, CUT_NOTICED_SPREAD_MS = 5_000, 10_000  # a cable is cut: the link's pings find out


class World:
    """Hosts by the names of their sites. `after_ms`, `for_ms` and `within_ms` are the machines' own time."""

    def __init__(
        self,
        sites: Sequence[Site],
        genesis: Genesis,
        chance: Chance,
        *,
        faults: Faults = CALM,
        tenants: Mapping[str, str] | None = None,
        buyers: Sequence[str] = (),
        terms: Terms = Terms(),  # noqa: B008, frozen
    ) -> None:
        """`tenants`: whose private pool a site belongs to; `buyers`: sites that sell nothing; `terms`: how all settle.
        Every node starts at once and knows the first one's address."""
        self.genesis = genesis
        self.topics = Topics.of(genesis.network_id())
        self.chance = chance
        self.network = Network(chance, faults)
        self.unix_ms = genesis.clock.unix_ms
        self.hosts: dict[str, Host] = {}
        self._host_of: dict[bytes, Host] = {}
        self._host_at: dict[str, Host] = {}
        self._agenda: list[tuple[int, int, Host, int, Callable[..., object], tuple[object, ...]]] = []
        self._ties = 0
        self._gossips = 0
        self._history = hashlib.sha256()
        for index, site in enumerate(sites):
            keypair = keypair_of(site)
            address = f"/ip4/10.0.{index >> 8}.{index & 255}/tcp/8471/p2p/{peer_id(keypair.public)}"
            offer = None if site.name in buyers else offer_of(site, (tenants or {}).get(site.name, ""))
            store = SqliteStore(":memory:", genesis.network_id(), hashlib.shake_256(address.encode()).digest)
            host = Host(self, site, keypair, address, offer, store, Profile(site.energy))
            self.hosts[site.name] = self._host_of[host.key] = self._host_at[address] = host
        for host in self.hosts.values():
            host.terms = terms
            host.bootstrap = (next(iter(self._host_at)),)
            host.start()

    # --- what a test asks and does ----------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Network time."""
        return self.genesis.clock.network_time_ms(self.unix_ms)

    @property
    def slot(self) -> int:
        return self.now_ms // self.genesis.slot_ms

    def node(self, name: str) -> Node:
        """The running node at a site."""
        node = self.hosts[name].node
        if node is None:
            raise Broken(f"the node at {name} is down")
        return node

    def alive(self) -> list[Host]:
        """Hosts whose node runs."""
        return [host for host in self.hosts.values() if host.node is not None]

    def history(self) -> str:
        """A hash of every entry that any node took up, where and when."""
        return self._history.hexdigest()

    def run(self, for_ms: int) -> None:
        """Let this much time pass."""
        until_ms = self.unix_ms + for_ms
        while self._agenda and self._agenda[0][0] <= until_ms:
            self._step()
        self.unix_ms = until_ms

    def run_until(self, has_happened: Callable[[], bool], within_ms: int) -> None:
        """Let time pass until something has happened. Raises Broken if it does not in time."""
        until_ms = self.unix_ms + within_ms
        while not has_happened():
            if not self._agenda or self._agenda[0][0] > until_ms:
                raise Broken(f"it has not happened within {within_ms} ms")
            self._step()

    def submit(self, name: str, job: Job) -> bytes:
        """A user of this node submits a job; its id."""
        host = self.hosts[name]
        host.blobs.update(blob.sha256 for blob in job.training.data)
        known = set(self.node(name).ledger.state.jobs)
        host.handle(JobSubmitted(job))
        (job_id,) = self.node(name).ledger.state.jobs.keys() - known
        return job_id

    def handle(self, name: str, event: Event) -> None:
        """Let something happen to a node now."""
        self.hosts[name].handle(event)

    def crash(self, name: str) -> None:
        self.hosts[name].crash()

    def restart(self, name: str) -> None:
        self.hosts[name].start()

    def partition(self, *sides: Sequence[str]) -> None:
        """Cut the network between groups of hosts. Connections across end when pings find out."""
        self.network.partition(*([self.hosts[name].key for name in side] for side in sides))
        for host in self.alive():
            for peer in self.network.neighbours(host.key):
                if host.key < peer and not self.network.can_reach(host.key, peer):
                    after_ms = CUT_NOTICED_MIN_MS + self.chance.randrange(CUT_NOTICED_SPREAD_MS)
                    self.later(host, after_ms, self._cut, host, self._host_of[peer])

    def heal(self) -> None:
        """Let messages pass everywhere again. Ended connections come back when somebody dials."""
        self.network.heal()

    # --- what hosts ask for -----------------------------------------------------------------------------------------

    def later(self, host: Host, after_ms: int, happening: Callable[..., object], *arguments: object) -> None:
        """Something happens at a host, unless its node has crashed by then."""
        self._ties += 1
        item = (self.unix_ms + after_ms, self._ties, host, host.life, happening, arguments)
        heapq.heappush(self._agenda, item)

    def send(self, host: Host, peer: bytes, data: bytes) -> None:
        """A message on a connection; where there is none, it is lost."""
        receiver = self._host_of.get(peer)
        if receiver is not None and self.network.are_connected(host.key, peer):
            for after_ms in self.network.travel_times_ms():
                self.later(receiver, after_ms, self._arrive, host, receiver, data)

    def publish(self, host: Host, topic: str, data: bytes) -> None:
        """Gossip, handed on by whoever hears it for the first time. What strangers might publish, tests bring to a node
        themselves."""
        self._gossips += 1
        self._hand_on(host, self._gossips, topic, data)

    def dial(self, host: Host, address: str) -> None:
        self.later(host, DIAL_MS, self._answer_dial, host, address)

    def reachable(self, host: Host, peer: bytes) -> Host | None:
        """The host of a running peer that no partition hides."""
        other = self._host_of.get(peer)
        can = other is not None and other.node is not None and self.network.can_reach(host.key, peer)
        return other if can else None

    def drop_connections(self, host: Host) -> None:
        """The host's node is gone: its peers notice."""
        for peer in self.network.neighbours(host.key):
            self.network.disconnect(host.key, peer)
            other = self._host_of[peer]
            self.later(other, CLOSED_NOTICED_MS, other.handle, PeerDisconnected(host.key))

    def record(self, host: Host, entries: Sequence[Entry]) -> None:
        """Entries became durable at a host."""
        for entry in entries:
            self._history.update(f"{self.unix_ms} {host.name} {entry.id.hex()}\n".encode())

    # --- how it happens ---------------------------------------------------------------------------------------------

    def _step(self) -> None:
        at_ms, _, host, life, happening, arguments = heapq.heappop(self._agenda)
        self.unix_ms = max(self.unix_ms, at_ms)
        if host.node is not None and host.life == life:
            happening(*arguments)

    def _passes(self, sender: Host, receiver: Host) -> bool:
        """Whether the connection that something travels on is still there."""
        is_connected = self.network.are_connected(sender.key, receiver.key)
        return is_connected and self.network.can_reach(sender.key, receiver.key)

    def _arrive(self, sender: Host, receiver: Host, data: bytes) -> None:
        if self._passes(sender, receiver):
            receiver.handle(MessageReceived(sender.key, data))

    def _hand_on(self, host: Host, number: int, topic: str, data: bytes) -> None:
        host.heard.add(number)
        neighbours = self.network.neighbours(host.key)
        for peer in self.chance.sample(neighbours, min(GOSSIP_DEGREE, len(neighbours))):
            receiver = self._host_of[peer]
            for after_ms in self.network.travel_times_ms():
                self.later(receiver, after_ms, self._hear, host, receiver, number, topic, data)

    def _hear(self, sender: Host, receiver: Host, number: int, topic: str, data: bytes) -> None:
        if number not in receiver.heard and self._passes(sender, receiver):
            self._hand_on(receiver, number, topic, data)
            receiver.handle(GossipReceived(topic, sender.key, data))

    def _answer_dial(self, host: Host, address: str) -> None:
        other = self._host_at.get(address)
        if other is None or other is host or self.reachable(host, other.key) is None:
            host.handle(DialFailed(address, "nobody answers there"))
        elif self.network.connect(host.key, other.key):
            host.handle(PeerConnected(other.key))
            other.handle(PeerConnected(host.key))

    def _cut(self, host: Host, other: Host) -> None:
        """Pings have found out that a connection leads nowhere any more."""
        if not self.network.can_reach(host.key, other.key) and self.network.disconnect(host.key, other.key):
            host.handle(PeerDisconnected(other.key))
            other.handle(PeerDisconnected(host.key))


def keypair_of(site: Site) -> KeyPair:
    """A key that everybody can make: good for nothing but simulation."""
    return KeyPair(hashlib.sha256(f"simulated {site.name}".encode()).digest())


def offer_of(site: Site, tenant: str) -> Offer:
    """What a node at this site declares."""
    machine = {field: getattr(site, field) for field in Offer.model_fields if hasattr(site, field)}
    energy = {field: getattr(site.energy, field) for field in ("place", "carrier", "capacity_w", "own_g_per_kwh")}
    return Offer(**machine, **energy, tenant=tenant)
