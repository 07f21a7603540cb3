"""A served node, and two ways to speak to it: the product's own client, and bare HTTP for what no client would send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from node.client import Client
from tests.api.host import TOKEN, Host, seller, served


@pytest.fixture
async def host(tmp_path: Path) -> Host:
    """A node that sells one machine, started, with a forecast and its first attestation."""
    host = Host(tmp_path, sells=seller())
    host.start()
    return host


@pytest.fixture
async def url(host: Host) -> AsyncIterator[str]:
    async with served(host) as url:
        yield url


@pytest.fixture
def client(url: str) -> Client:
    """For calls on another thread: the loop of the test serves."""
    return Client(url, TOKEN)


@pytest.fixture
async def http(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Bare HTTP with the right token."""
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        yield session
