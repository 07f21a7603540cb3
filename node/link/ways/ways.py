"""Ways to this node: what peers found who tried to dial it, and the relays that stand in where they cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import trio
from libp2p.host.basic_host import BasicHost
from multiaddr import Multiaddr

from node.link.events import ReachabilityChanged
from node.link.finding.interfaces import spelled_out
from node.link.peers import Peer
from node.link.swarm import ContainedSwarm
from node.link.ways.circuits import HOP, STOP, Circuits
from node.link.ways.reach import AUTONAT, DialBacks, Prober
from node.link.ways.relay import Relay, RelayLimits
from node.reachability import Reach, Reachability, advertised


class Ways:
    """All of it runs on the libp2p thread. `post` takes each change on its way to the loop."""

    def __init__(
        self,
        host: BasicHost,
        swarm: ContainedSwarm,
        peers: Mapping[bytes, Peer],
        limits: RelayLimits | None,
        post: Callable[[ReachabilityChanged], None],
    ) -> None:
        """`limits` None: we relay for nobody."""
        self._own, self._post = str(swarm.self_id), post
        self._listening: tuple[str, ...] = ()
        self._prober = Prober(host, peers, self._decided)
        self.circuits = Circuits(host, swarm, peers, self._tell)
        host.set_stream_handler(AUTONAT, DialBacks(swarm, peers).answer)
        host.set_stream_handler(STOP, self.circuits.accept)
        if limits is not None:
            host.set_stream_handler(HOP, Relay(host, peers, limits, self._offered).answer)

    async def run(self, listening: tuple[str, ...]) -> None:
        """For ever, once the host listens."""
        self._listening = listening
        port = int(Multiaddr(listening[0]).value_for_protocol("tcp"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._prober.run, port)
            nursery.start_soon(self.circuits.run)

    def look_again(self) -> None:
        """A peer was admitted, or is gone."""
        self._prober.look_again()
        self.circuits.look_again()

    def _decided(self, verdict: Reachability) -> None:
        if verdict.reach is not Reach.UNKNOWN:  # places once held are not given up for want of news
            self.circuits.want(verdict.reach is Reach.PRIVATE)
        self._tell()

    def _tell(self) -> None:
        verdict = replace(self._prober.verdict, relayed=self.circuits.addresses)
        self._post(ReachabilityChanged(verdict, advertised(self._listening, verdict, self._own)))

    def _offered(self) -> tuple[str, ...]:
        """Where those can be dialled for whom we relay: through us, and so only where we can be, as far as we know."""
        verdict, listening = self._prober.verdict, self._listening
        if verdict.reach is Reach.UNKNOWN:  # whoever asks has come on one of them
            listening = tuple(spelled for address in listening for spelled in spelled_out(address))
        return () if verdict.reach is Reach.PRIVATE else advertised(listening, verdict, self._own)
