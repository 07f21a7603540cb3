from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from node.link import Link, Verdict

from .links import ANY_PORT, TOPIC, Inbox, Opener


@pytest.fixture
async def open_link() -> AsyncIterator[Opener]:
    """Opens links with seeds of their own, and stops them at the end."""
    links: list[Link] = []

    async def opener(**options: Any) -> tuple[Link, Inbox]:
        inbox = Inbox()
        defaults: dict[str, Any] = {
            "seed": bytes([len(links) + 1]) * 32,
            "listen": ANY_PORT,
            "topics": [TOPIC],
            "judge": lambda topic, data: Verdict.ACCEPT,
            "deliver": inbox,
        }
        link = Link(**defaults | options)
        await link.start()
        links.append(link)
        return link, inbox

    yield opener
    await asyncio.gather(*(link.stop() for link in links))
