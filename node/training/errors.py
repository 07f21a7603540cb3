"""What can go wrong between a daemon and the part that trains, where `protocol.errors` has no nearer word."""

from __future__ import annotations

from protocol.errors import LocalError, Reject


class FaultyDelta(Reject):
    """The delta at `index` of an outer step is none that an honest worker makes; the outer state is unchanged."""

    def __init__(self, index: int, cause: str) -> None:
        super().__init__(cause)
        self.index = index


class WorkerLost(LocalError):
    """The worker has ended without being asked to. Its round is lost; files it had written are whole."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "HEL-TRAIN-002",
            f"the training worker was lost: {reason}",
            "check free memory and the node's log; the shard can be placed anew and repeats the round",
        )
