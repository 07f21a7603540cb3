"""Whom the network's Kademlia table knows: who offers a device in a region, heard of by gossip or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from aiohttp import web
from pydantic import Field

from node.api.openapi import Route
from node.documents import Strict
from protocol.errors import Refused
from protocol.messages import Name
from protocol.regions import REGIONS

if TYPE_CHECKING:
    from node.running.runtime import Runtime


class FoundQuery(Strict):
    region: Annotated[str, Field(pattern=f"^({'|'.join(REGIONS)})$")]
    device: Name = "cpu"


class FoundPeers(Strict):
    """Addresses that end in `/p2p/` and a peer's id. Nobody vouches for them: the node dials them, and learns who is
    there."""

    region: str
    device: str
    addresses: tuple[str, ...]


async def found(runtime: Runtime, request: web.Request, asked: FoundQuery) -> FoundPeers:
    """Takes as long as the look-up: up to half a minute."""
    if not runtime.config.link.dht:
        raise Refused(
            "HEL-DHT-001",
            "this node has no part in the Kademlia table",
            "set dht = true under [link] in config.toml, and restart with `up`",
        )
    addresses = await runtime.look(asked.region, asked.device)
    return FoundPeers(region=asked.region, device=asked.device, addresses=addresses)


ROUTES = (Route("GET", "/v1/peers/found", found, "Who offers a device in a region", FoundPeers, query=FoundQuery),)
