"""What can happen to a plan in force, and what it answers: events and changes."""

from __future__ import annotations

import enum
from collections.abc import Container, Sequence
from dataclasses import dataclass

from node.matching.load import Placement
from node.matching.problem import Job

PER_SLOT = ("free", "surplus", "own", "grid")  # the facts of a peer that may change


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """It takes no more shards, and runs none, from this slot on."""

    peer: str
    slot: int


@dataclass(frozen=True, slots=True)
class PeerChanged:
    """New values for the slots from `first_slot` on, in the units of `Peers`; an empty tuple changes nothing. `free`
    counts all units that the plan may use, those that it uses already too. `own` above `grid` counts as `grid`."""

    peer: str
    first_slot: int
    free: tuple[int, ...] = ()
    surplus: tuple[int, ...] = ()
    own: tuple[int, ...] = ()
    grid: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class JobArrived:
    """One more job; its id is new."""

    job: Job


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Slots before `now` are over, and what ran in them is done."""

    now: int


Event = PeerLeft | PeerChanged | JobArrived | TimePassed


class Cause(enum.StrEnum):
    """Why a job was looked at."""

    PEER_LEFT = "its peer left"
    UNITS_LOST = "its peer has fewer units free"
    COSTS_CHANGED = "costs changed where it runs"
    ARRIVED = "it arrived"
    ROOM_GREW = "room grew while it was declined"
    ASKED = "its owner asked"


@dataclass(frozen=True, slots=True)
class Change:
    """One job placed, moved or declined. `before` and `after` are its cells from `now` on; None: it had, or has, none.

    `saving`: carbon of the cells before less carbon of those after, each beside all other jobs; negative where a job is
    new or had to go. `move`: what the moves of the new plan emit, less those of the old. `refusal`: why it is declined,
    else "".
    """

    job: str
    cause: Cause
    before: Placement | None
    after: Placement | None
    saving: int
    move: int
    refusal: str = ""


def check(events: Sequence[Event], slots: int, peers: Container[str], jobs: Container[str]) -> None:
    """Raises ValueError for a peer that is not known, a job that is, and values that do not fit the slots or are
    negative: before anything happens, so that events happen all or not at all."""
    arriving: set[str] = set()
    for event in events:
        match event:
            case PeerLeft(peer) | PeerChanged(peer) if peer not in peers:
                raise ValueError(f"peer {peer!r} is none of this plan")
            case PeerChanged(peer, first_slot):
                for name in PER_SLOT:
                    values: tuple[int, ...] = getattr(event, name)
                    end_slot = first_slot + len(values)
                    if values and (first_slot < 0 or end_slot > slots or min(values) < 0):
                        raise ValueError(
                            f"{name} of {peer!r} in slots [{first_slot}, {end_slot}), the least {min(values)}: slots "
                            f"are [0, {slots}), and no value is negative"
                        )
            case JobArrived(job):
                if job.id in jobs or job.id in arriving:
                    raise ValueError(f"job {job.id!r} is known already; a changed job has a new id")
                if not 0 <= job.first_slot <= job.deadline_slot <= slots:
                    asked = f"[{job.first_slot}, {job.deadline_slot})"
                    raise ValueError(f"job {job.id!r} may run in slots {asked}, outside [0, {slots})")
                arriving.add(job.id)
