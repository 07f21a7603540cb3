"""`heliotrope doctor net`: tries what a node needs of the network, step by step, with no node running.

It dials with a key of its own, drawn for the occasion: the node's would throw out the node that runs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from node.home.config import LinkConfig
from node.link import DialRefused, Link, LinkError, Verdict
from protocol.genesis import Genesis

DIALS_AT_ONCE_MAX = 8
REMEMBERED_MAX = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """One step: which, whether it went well, what was found, and what to do about it."""

    id: str
    is_ok: bool
    why: str
    fix: str = ""


async def examine(
    config: LinkConfig, genesis: Genesis, now_unix_ms: int, remembered: Sequence[str] = ()
) -> list[Finding]:
    """Clock, own address, then each bootstrap address; where there is none, the `remembered`: whoever was invited has
    its first from there."""
    found = [clock(genesis, now_unix_ms), listening(config)]
    addresses = config.bootstrap or tuple(remembered)[:REMEMBERED_MAX]
    if not addresses:
        fix = 'below [link] in config.toml: bootstrap = ["/ip4/192.0.2.1/tcp/8471/p2p/12D3KooW…"]'
        return [*found, Finding("bootstrap", False, "no address of another node is configured", fix)]
    link = Link(
        seed=secrets.token_bytes(32),
        listen=f"{config.listen.rpartition('/')[0]}/0",
        topics=(),
        judge=lambda topic, data: Verdict.IGNORE,
        deliver=lambda event: True,
        network=genesis.network_id(),
    )
    try:
        await link.start()
    except LinkError as error:
        return [*found, Finding("listen", False, error.cause, error.remedy)]
    places = asyncio.Semaphore(DIALS_AT_ONCE_MAX)
    try:
        return found + await asyncio.gather(*(dialled(link, address, places) for address in addresses))
    finally:
        await link.stop()


def clock(genesis: Genesis, now_unix_ms: int) -> Finding:
    behind_ms = genesis.clock.unix_ms - now_unix_ms
    if behind_ms <= 0:
        return Finding("clock", True, "later than the making of the network")
    why = f"{behind_ms // 1000} s before the making of the network"
    return Finding("clock", False, why, "set this machine's clock: timedatectl set-ntp true")


def listening(config: LinkConfig) -> Finding:
    if config.listen.startswith(("/ip4/127.", "/ip6/::1/")):
        fix = 'below [link] in config.toml: listen = "/ip4/0.0.0.0/tcp/8471"'
        return Finding("address", False, f"{config.listen} is reached from this machine alone", fix)
    return Finding("address", True, config.listen)


async def dialled(link: Link, address: str, places: asyncio.Semaphore) -> Finding:
    """The step at which a dial fails is in the error's code."""
    async with places:
        try:
            await link.dial(address)
        except DialRefused as error:
            if "another network" in error.cause:
                return Finding(address, False, error.cause, error.remedy)
            return Finding(address, True, f"reached; it refuses this command's key, which is not yours: {error.cause}")
        except LinkError as error:
            return Finding(address, False, f"{error.cause} [{error.code}]", error.remedy)
        return Finding(address, True, "reached, of the same network")
