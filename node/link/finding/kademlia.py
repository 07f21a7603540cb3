"""What a node remembers of the Kademlia table: contacts by their distance, and who provides what. Bounded throughout.

Pure: time comes in, in seconds of any clock that never goes back. A contact enters only once it has spoken to us
itself; whom others name is asked, and remembered if it answers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest

from node.link.finding.addresses import group_of
from protocol.discovery import BUCKET_PEERS_MAX, PROVIDER_LIFETIME_S, kad_position
from protocol.identity import PEER_ID_PREFIX

STALE_S = 7_200.0  # a contact unheard for so long leaves its place to a newcomer: twice the time between look-ups
CONTACTS_PER_GROUP_MAX = 4  # in one bucket, of one operator's addresses; guess, not measured
PROVIDERS_PER_KEY_MAX = 256  # guess, not measured: a look-up wants 32 at most
PROVIDERS_PER_GROUP_MAX = 16  # for one key, of one operator's addresses; guess, not measured
KEYS_PER_PEER_MAX = 8  # one region, and as many kinds of device; guess, not measured
PROVIDERS_MAX = 4_096  # of all keys: 5 MB


@dataclass(frozen=True, slots=True)
class Contact:
    """A peer by its public key, with the record of its addresses that it has signed. The latest `seq` counts."""

    peer: bytes
    addresses: tuple[str, ...]
    seq: int
    record: bytes

    @property
    def position(self) -> int:
        return kad_position(PEER_ID_PREFIX + self.peer)

    @property
    def group(self) -> str:
        return group_of(self.addresses[0]) if self.addresses else ""


@dataclass(slots=True)
class Heard:
    contact: Contact
    position: int
    at_s: float


class RoutingTable:
    """Contacts in buckets: one for each length of the prefix that their position shares with ours."""

    def __init__(self, me: bytes) -> None:
        self._position = kad_position(PEER_ID_PREFIX + me)
        self._buckets: dict[int, dict[bytes, Heard]] = {}
        self._bucket_of: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._bucket_of)

    def get(self, peer: bytes) -> Contact | None:
        number = self._bucket_of.get(peer)
        return None if number is None else self._buckets[number][peer].contact

    def heard(self, contact: Contact, now_s: float) -> bool:
        """A contact has spoken to us. Whether it has a place now: those who keep answering are never displaced, so that
        nobody fills the table with keys made for the purpose."""
        position = contact.position
        number = (position ^ self._position).bit_length()
        if number == 0:
            return False
        bucket = self._buckets.setdefault(number, {})
        known = bucket.get(contact.peer)
        if known is not None and known.contact.seq > contact.seq:
            contact = known.contact
        elif known is None and not self._make_room(bucket, contact, now_s):
            return False
        bucket[contact.peer] = Heard(contact, position, now_s)
        self._bucket_of[contact.peer] = number
        return True

    def _make_room(self, bucket: dict[bytes, Heard], newcomer: Contact, now_s: float) -> bool:
        group = newcomer.group
        if group and sum(heard.contact.group == group for heard in bucket.values()) >= CONTACTS_PER_GROUP_MAX:
            return False
        if len(bucket) < BUCKET_PEERS_MAX:
            return True
        oldest = min(bucket.values(), key=lambda heard: heard.at_s)
        if now_s - oldest.at_s < STALE_S:
            return False
        self.forget(oldest.contact.peer)
        return True

    def forget(self, peer: bytes) -> None:
        number = self._bucket_of.pop(peer, None)
        if number is not None:
            del self._buckets[number][peer]

    def closest(self, position: int, count: int) -> list[Contact]:
        """The nearest first."""
        everyone = (heard for bucket in self._buckets.values() for heard in bucket.values())
        return [heard.contact for heard in nsmallest(count, everyone, key=lambda heard: heard.position ^ position)]


@dataclass(frozen=True, slots=True)
class Provider:
    contact: Contact
    expires_at_s: float


class ProviderTable:
    """Who has announced itself under which key. A full table refuses, until a record has expired: those who keep
    announcing keep their place."""

    def __init__(self) -> None:
        self._keys: dict[bytes, dict[bytes, Provider]] = {}
        self._keys_of: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return self._keys_of.total()

    def add(self, key: bytes, contact: Contact, now_s: float) -> bool:
        """Whether it is kept now, for PROVIDER_LIFETIME_S."""
        providers = self._keys.get(key, {})
        if contact.peer not in providers and not self._has_room(key, contact, now_s):
            return False
        providers = self._keys.setdefault(key, {})
        self._keys_of[contact.peer] += contact.peer not in providers
        providers[contact.peer] = Provider(contact, now_s + PROVIDER_LIFETIME_S)
        return True

    def _has_room(self, key: bytes, contact: Contact, now_s: float) -> bool:
        providers = self._keys.get(key, {})
        if len(self) >= PROVIDERS_MAX or len(providers) >= PROVIDERS_PER_KEY_MAX:
            self.expire(now_s)
            providers = self._keys.get(key, {})
        group = contact.group
        return (
            len(self) < PROVIDERS_MAX
            and len(providers) < PROVIDERS_PER_KEY_MAX
            and self._keys_of[contact.peer] < KEYS_PER_PEER_MAX
            and (not group or sum(p.contact.group == group for p in providers.values()) < PROVIDERS_PER_GROUP_MAX)
        )

    def get(self, key: bytes, now_s: float, count: int, chance: random.Random) -> list[Contact]:
        """At most `count` by lot, so that none is found always and another never."""
        living = [p.contact for p in self._keys.get(key, {}).values() if p.expires_at_s > now_s]
        return living if len(living) <= count else chance.sample(living, count)

    def expire(self, now_s: float) -> None:
        """Forget what nobody has announced again."""
        for key, providers in list(self._keys.items()):
            for peer in [peer for peer, p in providers.items() if p.expires_at_s <= now_s]:
                del providers[peer]
                self._keys_of[peer] -= 1
            if not providers:
                del self._keys[key]
        self._keys_of = +self._keys_of


class Course:
    """The course of one look-up: whom to ask next, nearest first, until the REPLICAS nearest that answer are asked.

    At most `candidates_max` are remembered, at most `asked_max` asked.
    """

    def __init__(self, position: int, asked_max: int, candidates_max: int = 128) -> None:
        self._position, self._asked_max, self._candidates_max = position, asked_max, candidates_max
        self._known: dict[bytes, tuple[int, Contact]] = {}
        self._asked: set[bytes] = set()
        self._silent: set[bytes] = set()

    def hear(self, contacts: Iterable[Contact]) -> None:
        """Somebody named these."""
        for contact in contacts:
            known = self._known.get(contact.peer)
            if known is None or known[1].seq < contact.seq:
                self._known[contact.peer] = (contact.position ^ self._position, contact)
        if len(self._known) > self._candidates_max:
            unasked = [(d, c) for d, c in self._known.values() if c.peer not in self._asked]
            kept = nsmallest(max(0, self._candidates_max - len(self._asked)), unasked, key=lambda item: item[0])
            names = {c.peer for _, c in kept} | self._asked
            self._known = {peer: item for peer, item in self._known.items() if peer in names}

    def knows(self, peer: bytes) -> Contact | None:
        known = self._known.get(peer)
        return None if known is None else known[1]

    def next(self, count: int, nearest: int) -> list[Contact]:
        """Whom to ask now, at most `count`; none when the `nearest` that may still answer have been asked."""
        room = min(count, self._asked_max - len(self._asked))
        batch = [contact for contact in self._alive(nearest) if contact.peer not in self._asked][: max(0, room)]
        self._asked.update(contact.peer for contact in batch)
        return batch

    def silent(self, peer: bytes) -> None:
        """It did not answer."""
        self._silent.add(peer)

    def answered(self, count: int) -> list[Contact]:
        """The nearest that have answered, at most so many."""
        return [c for c in self._alive(len(self._known)) if c.peer in self._asked][:count]

    def _alive(self, count: int) -> list[Contact]:
        living = (item for peer, item in self._known.items() if peer not in self._silent)
        return [contact for _, contact in nsmallest(count, living, key=lambda item: item[0])]
