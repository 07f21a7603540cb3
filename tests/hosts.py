"""The node's own libp2p host without its link, for tests and benchmarks that look at a part of it."""

from __future__ import annotations

from collections import Counter

from libp2p.host.basic_host import BasicHost

from node.link.guard.conduct import Conduct
from node.link.guard.gate import Gate
from node.link.guard.standing import Standings
from node.link.host import build_host
from node.link.swarm import ContainedSwarm

ANYWHERE = "/ip4/127.0.0.1/tcp/0"


def own_host(seed: bytes) -> tuple[BasicHost, ContainedSwarm]:
    """One that lets in whoever comes."""
    conduct = Conduct(Standings(), Counter(), Counter(), lambda peer, ban: None)
    return build_host(seed, ANYWHERE, 5.0, 10.0, Gate(256), conduct)
