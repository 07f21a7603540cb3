"""Whether a node may sign what its operator asks for. Pure."""

from __future__ import annotations

from node.core import Node
from node.feeds.own_feed import REMEDIES
from protocol.errors import Refused


def require_signing(node: Node) -> None:
    """Raise Refused unless the node signs now: every act is an entry of its own feed."""
    signing = node.own_feed.signing
    if not node.may_sign:
        raise Refused("HEL-KEY-006", f"this node signs nothing now: its own feed is {signing.value}", REMEDIES[signing])
