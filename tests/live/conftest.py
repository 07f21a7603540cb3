from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from node.link import Link, Verdict

from .links import ANY_PORT, TOPIC, Inbox, Opener


@pytest.fixture
async def open_link() -> AsyncIterator[Opener]:
    """Opens links with seeds of their own, and stops them at the end."""
    links: list[Link] = []

    async def opener(
        *,
        listen: str = ANY_PORT,
        judge: Callable[[str, bytes], Verdict] = lambda topic, data: Verdict.ACCEPT,
        ping_interval_s: float = 5.0,
        ping_timeout_s: float = 10.0,
        has_dht: bool = False,
        mdns: str = "",
        network: bytes = bytes(32),
    ) -> tuple[Link, Inbox]:
        inbox = Inbox()
        link = Link(
            seed=bytes([len(links) + 1]) * 32,
            listen=listen,
            topics=[TOPIC],
            judge=judge,
            deliver=inbox,
            ping_interval_s=ping_interval_s,
            ping_timeout_s=ping_timeout_s,
            has_dht=has_dht,
            mdns=mdns,
            network=network,
        )
        await link.start()
        links.append(link)
        return link, inbox

    yield opener
    await asyncio.gather(*(link.stop() for link in links))
