"""The link to other peers: libp2p on a thread of its own; bytes and public keys on ours.

    asyncio                             trio thread
    Link.send, dial, disconnect   →     one message per peer at a time   callers wait (backpressure)
    Link.publish                  →     Publications, paced              full: the oldest is dropped and counted
    Link.fetch_blob               ←     BlobReader                       a few chunks: its peer waits
    deliver(event)                ←     Crossing                         gossip: the oldest is dropped and counted;
                                                                         messages: the stream's reader waits

Messages are acknowledged by the receiver's loop (`messages.py`): what `send` has returned from is not lost with either
thread. A stream found closed is opened anew. A failure after writing is reported and never repeated, for the peer may
have the message: at most once, and in order until a send fails. What is published waits while the thread is down, and
while nobody listens (`publications.py`).

If the thread dies all the same, `LinkFailed` is delivered, and `LinkRestarted` once it is back on the same port.

Not here: the library's faults (`host.py` and those it names), what the bytes mean (`protocol`), and whom to redial
when (`node.dialling`): the library never reconnects by itself, and neither does this.
"""

from __future__ import annotations

from node.link.events import (
    DialRefused,
    GossipArrived,
    LinkError,
    LinkEvent,
    LinkFailed,
    LinkRestarted,
    MessageArrived,
    PeerBanned,
    PeerConnected,
    PeerDisconnected,
    PeerRefused,
    PeersFound,
    ReachabilityChanged,
    Verdict,
)
from node.link.gossip.pubsub import GOSSIP_MAX_BYTES
from node.link.guard.standing import Act, Ban
from node.link.link import Link
from node.link.messages import MESSAGE_MAX_BYTES
from node.link.ways.relay import RelayLimits

__all__ = [
    "GOSSIP_MAX_BYTES",
    "MESSAGE_MAX_BYTES",
    "Act",
    "Ban",
    "DialRefused",
    "GossipArrived",
    "Link",
    "LinkError",
    "LinkEvent",
    "LinkFailed",
    "LinkRestarted",
    "MessageArrived",
    "PeerBanned",
    "PeerConnected",
    "PeerDisconnected",
    "PeerRefused",
    "PeersFound",
    "ReachabilityChanged",
    "RelayLimits",
    "Verdict",
]
