"""Peers by their Ed25519 public keys, and as the library names them."""

from __future__ import annotations

from libp2p.peer.id import ID

from protocol.identity import PEER_ID_PREFIX


def is_ed25519(peer: bytes) -> bool:
    """Whether a peer id is an Ed25519 public key in full."""
    return len(peer) == len(PEER_ID_PREFIX) + 32 and peer.startswith(PEER_ID_PREFIX)


def id_of(key: bytes) -> ID:
    """The library's name of a peer."""
    return ID(PEER_ID_PREFIX + key)


def key_of(peer: ID) -> bytes:
    """The public key of a peer that the swarm has admitted."""
    return peer.to_bytes()[len(PEER_ID_PREFIX) :]
