"""Dial me back: peers are asked to try our address, and we try theirs; AutoNAT v1 on the wire.

The library's own is not used: its server asks the host to connect, which returns at once for the connected peer that
asks, so that everybody is public; and it dials in the name of whichever peer the message names.

We dial only the IP address at which we see the asker, so that nobody can make us knock at a third party's door; with a
fresh connection on which Noise proves the asker's key; seldom for each and in all. What it means is decided in
`node.reachability`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.autonat.pb.autonat_pb2 import Message
from libp2p.host.basic_host import BasicHost
from libp2p.transport.tcp.tcp import TCP
from multiaddr import Multiaddr

from node.link.dials import seen_at
from node.link.events import describe
from node.link.guard.rates import Buckets, TokenBucket
from node.link.names import id_of, key_of
from node.link.peers import Peer
from node.link.swarm import ContainedSwarm
from node.link.ways.exchanges import abandon, is_relayed, read_address, read_message, write_message
from node.reachability import DialBack, Reach, Reachability, host_of, is_worth_trying, judge
from protocol.errors import Ignore, Reject

AUTONAT = TProtocol("/libp2p/autonat/1.0.0")
DIAL_BACK_TIMEOUT_S = 5.0  # guess, not measured: a connection and two round trips
ANSWER_TIMEOUT_S = DIAL_BACK_TIMEOUT_S + 5.0
SETTLED_S, UNSETTLED_S = 900.0, 60.0  # until all is asked anew; guess, not measured
DIALS_PER_PEER = 3  # at once, then one for each
DIALS_PER_PEER_EVERY_S = 60.0
DIALS = 30  # in all, at once, then one for each
DIALS_EVERY_S = 2.0
ADDRESSES_MAX = 8  # of a request, looked at

log = logging.getLogger(__name__)


class DialBacks:
    """Tries the addresses of peers that ask. `peers` holds those that are connected."""

    def __init__(self, swarm: ContainedSwarm, peers: Mapping[bytes, Peer]) -> None:
        self._swarm, self._peers = swarm, peers
        self._bucket = TokenBucket(1 / DIALS_EVERY_S, DIALS, trio.current_time())
        self._buckets = Buckets(1 / DIALS_PER_PEER_EVERY_S, DIALS_PER_PEER)

    async def answer(self, stream: INetStream) -> None:
        """The handler of a request."""
        response = Message(type=Message.DIAL_RESPONSE)
        told = response.dialResponse
        try:
            with trio.fail_after(ANSWER_TIMEOUT_S):
                try:
                    await self._dial_back(stream, await read_message(stream, Message))
                except Reject as fault:
                    told.status, told.statusText = Message.E_BAD_REQUEST, str(fault)
                except Ignore as refusal:
                    told.status, told.statusText = Message.E_DIAL_REFUSED, str(refusal)
                except Exception as error:  # noqa: BLE001  nothing is lost: the asker is told
                    told.status, told.statusText = Message.E_DIAL_ERROR, describe(error)
                await write_message(stream, response)
                await stream.close()
        except trio.TooSlowError:
            await stream.reset()

    async def _dial_back(self, stream: INetStream, request: Message) -> None:
        """Raises Reject for a faulty request, Ignore for one that is not served, anything else if the dial fails."""
        key, seen = key_of(stream.muxed_conn.peer_id), seen_at(stream.muxed_conn)
        peer = self._peers.get(key)
        if request.type != Message.DIAL or request.dial.peer.id != id_of(key).to_bytes():
            raise Reject("no request to dial the asker itself")
        if peer is None or not peer.is_admitted or not seen:
            raise Ignore("the asker is not admitted, or comes through a relay")
        addresses = [same_host(seen, raw) for raw in request.dial.peer.addrs[:ADDRESSES_MAX]]
        address = next(filter(None, addresses), None)
        if address is None:
            raise Ignore(f"none of the first {ADDRESSES_MAX} addresses is a port at {seen}")
        now = trio.current_time()
        if not (self._buckets.take(key, now) and self._bucket.take(now)):
            raise Ignore("asked too often")
        with trio.move_on_after(DIAL_BACK_TIMEOUT_S):
            raw = await TCP().dial(Multiaddr(address))
            try:
                await self._swarm.upgrader.upgrade_security(raw, True, id_of(key))
                return
            finally:
                with trio.CancelScope(shield=True):
                    await raw.close()
        raise trio.TooSlowError(f"no answer within {DIAL_BACK_TIMEOUT_S:g} s")


def same_host(seen: str, raw: bytes) -> str | None:
    """A stranger's address, if it is a TCP port on the host at which we see it."""
    parts, own = read_address(raw).split("/"), seen.split("/")
    return "/".join(parts[:5]) if len(parts) > 4 and parts[:4] == own[:4] and int(parts[4]) else None


class Prober:
    """Asks peers to try our address, and keeps the verdict. `decided` is called with each verdict that is new."""

    def __init__(self, host: BasicHost, peers: Mapping[bytes, Peer], decided: Callable[[Reachability], None]) -> None:
        self._host, self._peers, self._decided = host, peers, decided
        self._port = 0
        self._tried: dict[bytes, DialBack | None] = {}  # None: that peer had no answer
        self._wake = trio.Event()
        self.verdict = Reachability()

    def look_again(self) -> None:
        """A peer has come or gone: another may be asked."""
        self._wake.set()

    async def run(self, port: int) -> None:
        """For ever; `port` is the one that we listen on."""
        self._port = port
        while True:
            await self._ask_enough()
            settled = self.verdict.reach is not Reach.UNKNOWN
            with trio.move_on_after(SETTLED_S if settled else UNSETTLED_S) as waiting:
                await self._wake.wait()
            self._wake = trio.Event()
            if waiting.cancelled_caught or not self._admitted():  # who is alone may be elsewhere when it meets others
                self._tried.clear()

    def _admitted(self) -> list[bytes]:
        return [key for key, peer in self._peers.items() if peer.is_admitted]

    async def _ask_enough(self) -> None:
        admitted = self._admitted()
        for key in random.sample(admitted, len(admitted)):
            address = self._candidate(key)
            if key not in self._tried and address and is_worth_trying(address, self._heard(), self._askable()):
                self._tried[key] = await self._ask(key, address)
        verdict = judge(self._heard(), self._askable())
        if admitted and verdict != self.verdict:
            self.verdict = verdict
            self._decided(verdict)

    def _heard(self) -> list[DialBack]:
        return [dial_back for dial_back in self._tried.values() if dial_back is not None]

    def _askable(self) -> int:
        """How many peers see us, and have not kept silent when they were asked."""
        silent = {key for key, dial_back in self._tried.items() if dial_back is None}
        return sum(bool(self._candidate(key)) for key in self._admitted() if key not in silent)

    def _candidate(self, key: bytes) -> str:
        """Where a peer sees us, by its own hello, with the port that we listen on; "" if it does not say."""
        peer = self._peers.get(key)
        try:
            host = host_of("" if peer is None or peer.hello is None else peer.hello.observed)
        except ValueError:
            return ""
        return f"/ip{host.version}/{host}/tcp/{self._port}"

    async def _ask(self, key: bytes, address: str) -> DialBack | None:
        request = Message(type=Message.DIAL)
        request.dial.peer.id = self._host.get_id().to_bytes()
        try:
            request.dial.peer.addrs.append(Multiaddr(address).to_bytes())
            with trio.fail_after(ANSWER_TIMEOUT_S):
                stream: Any = await self._host.new_stream(id_of(key), [AUTONAT])
                try:
                    if is_relayed(stream):
                        return None
                    await write_message(stream, request)
                    answer = (await read_message(stream, Message)).dialResponse
                finally:
                    await abandon(stream)
        except Exception as error:  # noqa: BLE001  nothing is lost: another peer is asked
            log.debug("a peer does not dial back: %s", describe(error))
            return None
        match answer.status:
            case Message.OK:
                return DialBack(address)
            case Message.E_DIAL_ERROR:
                return DialBack(address, answer.statusText[:200] or "it does not say why")
            case _:
                return None
