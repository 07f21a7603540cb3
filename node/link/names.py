"""Peers by their Ed25519 public keys, and as the library names them."""

from __future__ import annotations

from libp2p.peer.id import ID
from multiaddr import Multiaddr

from protocol.identity import PEER_ID_PREFIX, public_key

CIRCUIT = "/p2p-circuit"


def is_ed25519(peer: bytes) -> bool:
    """Whether a peer id is an Ed25519 public key in full."""
    return len(peer) == len(PEER_ID_PREFIX) + 32 and peer.startswith(PEER_ID_PREFIX)


def id_of(key: bytes) -> ID:
    """The library's name of a peer."""
    return ID(PEER_ID_PREFIX + key)


def key_of(peer: ID) -> bytes:
    """The public key of a peer that the swarm has admitted."""
    return peer.to_bytes()[len(PEER_ID_PREFIX) :]


def relay_of(target: Multiaddr) -> tuple[Multiaddr, bytes] | None:
    """Address and key of the relay that an address leads through; None if it leads through none. Raises ValueError."""
    relay, circuit, _ = str(target).partition(CIRCUIT)
    return (Multiaddr(relay), public_key(relay.rpartition("/p2p/")[2])) if circuit else None
