"""The echo that any libp2p peer may ask for: `/ipfs/ping/1.0.0`, paced.

Fault: the library's handler echoes as fast as one asks, and answers nobody slower than ten seconds.
"""

from __future__ import annotations

from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol

from node.link.guard.conduct import Conduct
from node.link.messages import read_exactly
from node.link.names import key_of

PROTOCOL = TProtocol("/ipfs/ping/1.0.0")
PING_BYTES = 32


class Pings:
    """The handler of an incoming stream."""

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct

    async def answer(self, stream: INetStream) -> None:
        """Until the peer ends it."""
        try:
            while True:
                await stream.write(await read_exactly(stream, PING_BYTES))
                await self._conduct.pace_ping(key_of(stream.muxed_conn.peer_id))
        finally:
            await stream.reset()
