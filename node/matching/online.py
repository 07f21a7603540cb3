"""A plan in force: what happens to it, and which of its jobs are placed anew for that.

Only jobs that an event touches are looked at: those that lost their units, those whose costs changed where they run,
new ones, and the declined where room grew. Slots before `now` are done and fixed: of a job half done only the rest is
placed again. A job moves when that saves more carbon than the move costs; of those that lost units, the last placed go
first. The same events in the same order give the same plan on every machine.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from node.matching.events import PER_SLOT, Cause, Change, Event, JobArrived, PeerChanged, PeerLeft, TimePassed, check
from node.matching.load import Load, Placement
from node.matching.moves import moves_carbon
from node.matching.problem import Integers, Problem
from node.matching.rest import NOWHERE, Option, Rest, joined

RETRIES_MAX = 32  # declined jobs that are tried again after one batch of events; the others' turn comes at the next


class InForce:
    """Jobs, where they are, and the facts as they are now: `problem.peers` changes in place with the events.

    `placements`: jobs that are placed whole, in the order in which they were placed; by row of `jobs`. `declined`: the
    others, and why. `spent`: what a declined job had done before it lost its place; if it is placed again, that counts.
    `carbon` is that of `placements` and `spent`, with the moves.
    """

    def __init__(self, load: Load, now: int = 0) -> None:
        """Takes over a plan; `load` itself stays as it is."""
        peers = load.problem.peers
        self.problem = replace(
            load.problem, jobs=(), peers=replace(peers, **{name: getattr(peers, name).copy() for name in PER_SLOT})
        )
        self.jobs = list(load.problem.jobs)
        self.now = now
        self.placements = dict(load.placements)
        self.declined = dict.fromkeys(load.declined, "declined by the plan taken over")
        self.spent: dict[int, Placement] = {}
        self.carbon = load.carbon
        self._sums = Load(self.problem)
        self._sums.energy, self._sums.free = load.energy.copy(), load.free.copy()
        self._row = {peer: row for row, peer in enumerate(peers.ids)}
        self._index = {job.id: index for index, job in enumerate(self.jobs)}
        self._turns = itertools.count()
        self._turn: dict[int, int] = {}  # by job, rising in the order of `placements`
        self._on: defaultdict[int, set[int]] = defaultdict(set)  # jobs by peer
        for index, placement in load.placements.items():
            self._note(index, placement)

    def apply(self, *events: Event) -> list[Change]:
        """Let these happen at once, and place anew what they touch. Raises ValueError as `check` does."""
        check(events, self.problem.slots, self._row, self._index)
        touched: dict[int, Cause] = {}
        left: set[int] = set()
        since: dict[int, int] = {}  # the first slot with a change, by peer
        grew = False
        for event in events:
            match event:
                case TimePassed(now):
                    self.now = max(self.now, now)
                case JobArrived(job):
                    self._index[job.id] = index = len(self.jobs)
                    self.jobs.append(job)
                    touched[index] = Cause.ARRIVED
                case PeerLeft(peer, slot):
                    row = self._row[peer]
                    left.add(row)
                    since[row] = min(slot, since.get(row, slot))
                    self._change(PeerChanged(peer, slot, free=(0,) * max(0, self.problem.slots - slot)))
                case PeerChanged(peer, slot):
                    row = self._row[peer]
                    since[row] = min(slot, since.get(row, slot))
                    grew |= self._change(event)
        homeless = {
            index: Cause.PEER_LEFT if row in left else Cause.UNITS_LOST
            for row in sorted(since)
            for index in self._evicted(row)
        }
        for row, slot in since.items():
            for index in self._running_on(row, slot):
                touched.setdefault(index, Cause.COSTS_CHANGED)
        first = [self._place(index, homeless[index], True) for index in sorted(homeless, key=self._turn.__getitem__)]
        then = [self._place(index, touched[index]) for index in sorted(touched) if index not in homeless]
        if grew or any(change and change.before for change in first + then):
            then += [self._place(index, Cause.ROOM_GREW) for index in self._retried(touched)]
        return [change for change in first + then if change]

    def reconsider(self, *jobs: str) -> list[Change]:
        """Look whether these jobs have a better place by now: whoever has time to spare looks at more than must be."""
        changes = [self._place(self._index[job], Cause.ASKED) for job in jobs]
        return [change for change in changes if change]

    # --- facts ------------------------------------------------------------------------------------------------------

    def _change(self, event: PeerChanged) -> bool:
        """Take over new values, but none of the past. Whether anything became free or cheaper."""
        row, peers = self._row[event.peer], self.problem.peers
        grew = False
        emitted_before = self._emitted(row)
        for name in PER_SLOT:
            values: tuple[int, ...] = getattr(event, name)
            start = max(self.now, event.first_slot)
            new = np.array(values[start - event.first_slot :], np.int64)
            old = getattr(peers, name)[start : start + len(new), row]
            grew |= bool((new > old).any() if name in ("free", "surplus") else (new < old).any())
            if name == "free":
                self._sums.free[start : start + len(new), row] += new - old
            old[:] = new
        later = (slice(self.now, None), row)
        peers.own[later] = np.minimum(peers.own[later], peers.grid[later])
        self.carbon += self._emitted(row) - emitted_before
        return grew

    def _emitted(self, row: int) -> int:
        """Carbon of the energy planned on a peer from `now` on, and of the moves of all jobs on it."""
        peers, later = self.problem.peers, (slice(self.now, None), row)
        energy, own = self._sums.energy[later], peers.own[later]
        from_grid = np.maximum(0, energy - peers.surplus[later])
        running = int((own * energy + (peers.grid[later] - own) * from_grid).sum())
        return running + sum(moves_carbon(self._alone(index), 0, self.placements[index]) for index in self._on[row])

    # --- who is touched ---------------------------------------------------------------------------------------------

    def _running_on(self, row: int, slot: int) -> list[int]:
        """Jobs with shards on a peer in this slot or later, in the order in which they were placed."""
        slot = max(slot, self.now)
        here = [index for index in self._on[row] if self._cells(index, row)[0].max() >= slot]
        return sorted(here, key=self._turn.__getitem__)

    def _evicted(self, row: int) -> Collection[int]:
        """The jobs that must leave for a peer's units to suffice: the last that came go first."""
        gone: dict[int, None] = {}
        for slot in (np.flatnonzero(self._sums.free[self.now :, row] < 0) + self.now).tolist():
            here = {index: self._units(index, row, slot) for index in reversed(self._running_on(row, slot))}
            lacking = -int(self._sums.free[slot, row]) - sum(here.get(index, 0) for index in gone)
            for index, units in here.items():
                if lacking > 0 and units and index not in gone:
                    gone[index] = None
                    lacking -= units
        return gone

    def _retried(self, tried: Collection[int]) -> list[int]:
        """Declined jobs whose turn it is: who is declined again goes to the end."""
        return [index for index in self.declined if index not in tried][:RETRIES_MAX]

    def _cells(self, index: int, row: int) -> tuple[Integers, Integers]:
        placement = self.placements[index]
        there = placement.peers == row
        return placement.slots[there], placement.shards[there]

    def _units(self, index: int, row: int, slot: int) -> int:
        slots, shards = self._cells(index, row)
        return int(shards[slots == slot].sum()) * self.jobs[index].units

    # --- placing anew -----------------------------------------------------------------------------------------------

    def _place(self, index: int, cause: Cause, is_homeless: bool = False) -> Change | None:
        """Place the rest of a job where that, with the move, costs least; None if all stays as it is."""
        was_placed, name = index in self.placements, self.jobs[index].id
        rest = self._taken_out(index)
        was = rest.weighed(rest.before)
        may_stay = was_placed and not is_homeless and rest.allows(was)
        best = rest.best() if rest.left.work else None
        if not rest.left.work or (may_stay and (best is None or best.carbon >= was.carbon)):
            rest.put_back(rest.before)
            return None
        before = rest.before if was_placed else None
        if best is None or (not may_stay and best.carbon >= rest.penalty):
            rest.put_back(NOWHERE)
            self.carbon -= was.carbon
            refusal = _refusal(rest, best)
            self._decline(index, rest.done, f"{cause}: {refusal}")
            is_news = was_placed or cause is Cause.ARRIVED
            return Change(name, cause, before, None, was.carbon - was.move, -was.move, refusal) if is_news else None
        rest.put_back(best.placement)
        self.carbon += best.carbon - was.carbon
        self._forget(index)
        self._note(index, joined(rest.done, best.placement))
        saving = was.carbon - was.move - best.carbon + best.move
        return Change(name, cause, before, best.placement, saving, best.move - was.move)

    def _taken_out(self, index: int) -> Rest:
        placement = self.placements.get(index) or self.spent.get(index, NOWHERE)
        return Rest.taken_out(self.problem, self._sums, self.jobs[index], placement, self.now)

    def _alone(self, index: int) -> Problem:
        return replace(self.problem, jobs=(self.jobs[index],))

    def _note(self, index: int, placement: Placement) -> None:
        self.placements[index] = placement
        self._turn[index] = next(self._turns)
        for row in set(placement.peers.tolist()):
            self._on[row].add(index)

    def _forget(self, index: int) -> None:
        """It has no place; what is known of it otherwise goes with it."""
        whole = self.placements.pop(index, NOWHERE)
        for row in set(whole.peers.tolist()):
            self._on[row].discard(index)
        self.declined.pop(index, None)
        self.spent.pop(index, None)
        self._turn.pop(index, None)

    def _decline(self, index: int, done: Placement, why: str) -> None:
        self._forget(index)
        self.declined[index] = why
        self.spent[index] = done


def _refusal(rest: Rest, best: Option | None) -> str:
    left = rest.left
    if best is None:
        return f"no place for {left.work} shard-slots in slots [{left.first_slot}, {left.deadline_slot})"
    return f"emits {best.carbon} for {left.work} shard-slots, which count {rest.penalty} undone"
