"""Peers by their Ed25519 public keys, and as the library names them."""

from __future__ import annotations

from libp2p.peer.id import ID
from multiaddr import Multiaddr

from node.link.events import LinkError
from protocol.identity import PEER_ID_PREFIX, public_key

CIRCUIT = "/p2p-circuit"
ADDRESS_MAX_CHARACTERS = 512


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


def parse_peer_address(address: str) -> tuple[Multiaddr, bytes]:
    """The multiaddr and the public key in it. Raises LinkError: addresses come from strangers."""
    try:
        if len(address) > ADDRESS_MAX_CHARACTERS:
            raise ValueError(f"it has {len(address)} characters, {ADDRESS_MAX_CHARACTERS} are allowed")
        target = Multiaddr(address)
        if address.count(CIRCUIT) > 1:
            raise ValueError("it leads through more than one relay")
        relay_of(target)
        return target, public_key(address.rpartition("/p2p/")[2])
    except Exception as error:
        raise LinkError(
            "HEL-LINK-002",
            f"{address[:ADDRESS_MAX_CHARACTERS]!r} is no address of a peer: {error}",
            "an address looks like /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…; a running node prints its own",
        ) from error
