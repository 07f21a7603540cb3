"""Neighbours: who is there, who is kept out, and the operator's word about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from node.api import views
from node.api.openapi import Route
from node.api.peer_resources import DeniedNetworks, PeerBanRequest, PeerList
from node.documents import Fault, invalid
from protocol.errors import LocalError

if TYPE_CHECKING:
    from node.running.runtime import Runtime


async def peers(runtime: Runtime, request: web.Request, _: None) -> PeerList:
    return views.peers(runtime.node, runtime.guarding.facts(), runtime.now_ms())


async def ban_peer(runtime: Runtime, request: web.Request, asked: PeerBanRequest) -> PeerList:
    """Cut it off, and refuse it from now on."""
    key = bytes.fromhex(request.match_info["key"])
    if key == runtime.node.identity.key:
        raise invalid("the ban", [Fault("key", "is this node's own")])
    await runtime.guarding.ban(key, asked.seconds, asked.reason)
    return await peers(runtime, request, None)


async def unban_peer(runtime: Runtime, request: web.Request, _: None) -> PeerList:
    """Forget what it did, too."""
    await runtime.guarding.unban(bytes.fromhex(request.match_info["key"]))
    return await peers(runtime, request, None)


async def deny_networks(runtime: Runtime, request: web.Request, asked: DeniedNetworks) -> PeerList:
    """These and no others, beside those of the configuration. Connections with them are cut."""
    try:
        await runtime.guarding.deny({each.network: each.seconds for each in asked.networks})
    except LocalError as error:
        raise invalid("the networks", [Fault("networks", error.cause)]) from None
    return await peers(runtime, request, None)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/peers", peers, "Peers that are connected or have advertised, and who is kept out", PeerList),
    Route("PUT", "/v1/peers/denied", deny_networks, "Replace the denied networks", PeerList, takes=DeniedNetworks),
    Route("PUT", "/v1/peers/{key}/ban", ban_peer, "Keep a peer out", PeerList, takes=PeerBanRequest),
    Route("DELETE", "/v1/peers/{key}/ban", unban_peer, "Lift the ban of a peer", PeerList),
)
