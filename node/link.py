"""The link to other peers: libp2p on a thread of its own, bytes and public keys on ours.

    asyncio                             trio thread "libp2p"
    Link.send, dial, disconnect   →     one call at a time per peer      (callers wait: backpressure)
    Link.publish                  →     outbox, paced                    (full: the oldest is dropped and counted)
    deliver(event)                ←     Crossing                         (gossip: the oldest is dropped and counted;
                                                                          messages: the reader of that stream waits)

Messages travel as frames, a 4-byte big-endian length and the data, on one long-lived stream per peer and direction.
MEASURED
A stream found closed is opened anew; a failure while writing is reported and never repeated, since the peer may have the
message. So messages arrive at most once, and in order until a send fails.

If the thread dies all the same, `LinkFailed` is delivered and it is started again on the same port.

Not here: the library's faults (`link_hardening.py`, `link_gossip.py`), what the bytes mean (`protocol/`), and when to
redial: the library never reconnects by itself, and neither does this.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from node.link_gossip import GOSSIP_MAX_BYTES, ContainedGossipSub, ContainedPubsub, PeerWatch, TokenBucket
from node.link_hardening import build_host, cut, demote_library_logging, is_ed25519, is_usable, running
from protocol.errors import LocalError
from protocol.identity import PEER_ID_PREFIX, peer_id, public_key

PROTOCOL = TProtocol("/heliotrope/1")
MESSAGE_MAX_BYTES = 4 * 1024 * 1024
