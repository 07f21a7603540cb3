"""What the API says of neighbours, and takes from the operator about them. Seconds left are None for good."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from node.api.resources import FailedAddress, Peer
from node.documents import Strict
from protocol.messages import Carrier

Seconds = Annotated[int, Field(ge=1, le=10**9)]


class KnownPeer(Strict):
    """A peer that is connected or has advertised."""

    identity: Peer
    connected: bool
    advert_age_ms: int | None
    advert_fresh: bool
    zone: str | None
    carrier: Carrier | None
    device: str | None
    addresses: tuple[str, ...]
    round_trip_ms: int | None  # None: not measured yet, or this node does not say where it stands
    doubt: str  # why it cannot be where it says; "" if it can
    score: int  # points for its acts, 0 for nothing known; at -95 it is banned


class BannedPeer(Strict):
    """A peer that is not heard, by its own acts or by the operator's word."""

    identity: Peer
    seconds_left: int | None
    reason: str
    by_operator: bool


class DeniedNetwork(Strict):
    """A network with which there is no connection."""

    network: str
    seconds_left: int | None
    configured: bool  # by config.toml, and lifted only there


class PeerList(Strict):
    peers: tuple[KnownPeer, ...]
    unreachable: tuple[FailedAddress, ...]
    banned: tuple[BannedPeer, ...]
    denied: tuple[DeniedNetwork, ...]


class PeerBanRequest(Strict):
    """Keep a peer out. `seconds` None: until it is lifted."""

    seconds: Seconds | None = None
    reason: Annotated[str, Field(min_length=1, max_length=200)] = "by its operator"


class NetworkDenial(Strict):
    """An address, or a network as in 192.0.2.0/24. `seconds` None: until it is lifted."""

    network: Annotated[str, Field(min_length=1, max_length=49)]
    seconds: Seconds | None = None


class DeniedNetworks(Strict):
    """All that are denied from now on, beside those of the configuration."""

    networks: Annotated[tuple[NetworkDenial, ...], Field(max_length=1000)]
