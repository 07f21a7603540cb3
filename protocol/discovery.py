"""Discovery: under which names peers of one network look for each other, and for how long an answer holds.

Gossip tells about those who are near in the mesh; what follows finds those whom no gossip has reached: on the local
network by mDNS, anywhere by a Kademlia table that remembers who offers which device in which region. Both are hints:
whom they name is dialled, greets like any other peer, and is believed in nothing but what it signs.
"""

from __future__ import annotations

import hashlib

PROVIDER_LIFETIME_S = 10_800  # a record is forgotten this long after it was last announced
PROVIDE_EVERY_S = 3_600  # so that a record outlives two announcements that failed
REPLICAS = 8  # peers that keep a record: those nearest to its key; guess, not measured
BUCKET_PEERS_MAX = 20  # k of the Kademlia paper and of libp2p's Kad-DHT
KAD_REQUEST_MAX_BYTES = 4_096
KAD_ANSWER_MAX_BYTES = 65_536  # twenty peers of each kind with their records take 40 KB
RECORD_MAX_BYTES = 1_024  # a signed peer record with a few addresses has 300


def kad_protocol(network: bytes) -> str:
    """The libp2p protocol on which the network's Kademlia table is asked."""
    return f"/heliotrope/{network.hex()}/kad/1.0.0"


def providers_key(network: bytes, region: str, device: str) -> bytes:
    """The key (32 bytes) under which those are found who offer this device in this region."""
    return hashlib.sha256(f"heliotrope/1/{network.hex()}/providers/{region}/{device}".encode()).digest()


def kad_position(name: bytes) -> int:
    """Where a key, or the bytes of a libp2p peer id, lies: distances are the XOR of positions."""
    return int.from_bytes(hashlib.sha256(name).digest(), "big")


def mdns_service(network: bytes) -> str:
    """The service that is asked for by mDNS: libp2p's, in its form for private networks."""
    return f"_p2p-{network.hex()[:10]}._udp.local."
