"""Many tables together: what is announced is found from anywhere, in few steps, though a third have gone."""

from __future__ import annotations

import random
from collections.abc import Iterable

from node.link.finding.dht import ALPHA, ASKED_MAX
from node.link.finding.kademlia import Contact, Course, ProviderTable, RoutingTable
from protocol.discovery import BUCKET_PEERS_MAX, REPLICAS, kad_position
from protocol.identity import PEER_ID_PREFIX
from tests.kad import KEY

NODES, NEIGHBOURS = 300, 16


class Network:
    """Nodes that know a few others each, and have looked themselves up once. Time stands still."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.contacts = [
            Contact(self.chance.randbytes(32), (f"/ip4/45.{n // 256}.{n % 256}.1/tcp/1",), 1, b"") for n in range(NODES)
        ]
        self.routes = {contact.peer: RoutingTable(contact.peer) for contact in self.contacts}
        self.providers = {contact.peer: ProviderTable() for contact in self.contacts}
        self.alive = set(self.routes)
        self.asked = 0  # in the last look-up
        for contact in self.contacts:
            for neighbour in self.chance.sample(self.contacts, NEIGHBOURS):
                self.routes[contact.peer].heard(neighbour, 0)
        for contact in self.contacts:
            self.look_up(contact, PEER_ID_PREFIX + contact.peer)

    def look_up(self, me: Contact, name: bytes) -> Course:
        """As a node does, with answers that come at once."""
        position, own = kad_position(name), self.routes[me.peer]
        course, self.asked = Course(position, ASKED_MAX), 0
        course.hear(own.closest(position, BUCKET_PEERS_MAX))
        while batch := course.next(ALPHA, REPLICAS):
            for contact in batch:
                self.asked += 1
                if contact.peer in self.alive:
                    own.heard(contact, 0)
                    self.routes[contact.peer].heard(me, 0)
                    course.hear(c for c in self.routes[contact.peer].closest(position, BUCKET_PEERS_MAX) if c != me)
                else:
                    course.silent(contact.peer)
                    own.forget(contact.peer)
        return course

    def provide(self, me: Contact) -> None:
        for keeper in self.look_up(me, KEY).answered(REPLICAS):
            self.providers[keeper.peer].add(KEY, me, 0)

    def find(self, me: Contact) -> set[Contact]:
        keepers: Iterable[Contact] = self.look_up(me, KEY).answered(REPLICAS)
        return {c for keeper in keepers for c in self.providers[keeper.peer].get(KEY, 0, BUCKET_PEERS_MAX, self.chance)}


def test_what_is_announced_is_kept_by_the_nearest_of_all() -> None:
    network = Network(1)
    network.provide(network.contacts[0])
    nearest = sorted(network.contacts, key=lambda contact: contact.position ^ kad_position(KEY))[:REPLICAS]
    assert all(len(network.providers[contact.peer]) for contact in nearest if contact is not network.contacts[0])


def test_everybody_finds_all_providers_though_a_third_of_the_network_is_gone() -> None:
    network = Network(2)
    providers = network.chance.sample(network.contacts, 10)
    for contact in providers:
        network.provide(contact)
    network.alive -= {contact.peer for contact in network.chance.sample(network.contacts, NODES // 3)}
    for contact in network.contacts:
        if contact.peer in network.alive:
            assert network.find(contact) | {contact} >= set(providers)
            assert network.asked <= ASKED_MAX
