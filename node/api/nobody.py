"""Why nobody is connected, and what its operator can do about it, the likeliest first. Pure."""

from __future__ import annotations

from collections import defaultdict

from node.api.resources import Nobody
from node.core import Node

REMEDIES_MAX = 6
PORT = "8471"


def nobody(node: Node, now_ms: int) -> Nobody | None:
    """None while somebody is connected."""
    if node.peers.connected:
        return None
    remedies = [*_of_clock(node, now_ms), *_of_failures(node), *_of_addresses(node)]
    return Nobody(reason=_reason(node), remedies=tuple(remedies[:REMEDIES_MAX]))


def _reason(node: Node) -> str:
    count, failed = node.dialling.count(), len(list(node.dialling.failed()))
    if not count:
        return "this node knows no address to dial, and nobody has dialled it"
    if not failed:
        return f"{count} addresses are being dialled"
    return f"{failed} of {count} addresses were dialled in vain, and will be again"


def _of_clock(node: Node, now_ms: int) -> list[str]:
    if now_ms > node.identity.genesis.clock.network_ms:
        return []
    return ["set this machine's clock, which stands before the making of the network: timedatectl set-ntp true"]


def _of_failures(node: Node) -> list[str]:
    """Each remedy once, with one of the dials that it would help; those that help most first."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for _, _, failure in node.dialling.failed():
        if failure.remedy:
            reasons[failure.remedy].append(failure.reason)
    helped = sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        f"{remedy} ({min(found)}" + (f", and {len(found) - 1} more)" if len(found) > 1 else ")")
        for remedy, found in helped
    ]


def _of_addresses(node: Node) -> list[str]:
    found = []
    if not node.dialling.bootstrap:
        found.append(
            "name a running node of this network below [link] in config.toml, as its `heliotrope status` shows it, and"
            f' start this one again: bootstrap = ["/ip4/192.0.2.1/tcp/{PORT}/p2p/12D3KooW…"]'
        )
    if node.addresses and all(_is_loopback(address) for address in node.addresses):
        found.append(
            "let other machines reach this node: below [link] in config.toml set"
            f' listen = "/ip4/0.0.0.0/tcp/{PORT}", and start it again; now it listens on loopback alone'
        )
    elif node.addresses and not node.dialling.bootstrap:
        found.append(f'or name this node below [link] of another: bootstrap = ["{node.addresses[0]}"]')
    return found


def _is_loopback(address: str) -> bool:
    return address.startswith(("/ip4/127.", "/ip6/::1/"))
