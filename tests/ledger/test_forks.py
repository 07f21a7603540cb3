"""Whoever signs two histories loses what it signed from there on, at every peer alike, and nobody else's deals with it.

Two peers each see another branch first; both hear the proof. However the entries reached them, the same must follow.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.audit import violations
from ledger.feed import Fork, ForkProof
from ledger.ledger import Final, Ledger, replay
from protocol.bodies import BODIES
from protocol.envelope import Entry, parse
from protocol.errors import Ignore
from protocol.identity import KeyPair
from tests.builders import NOW_MS, History, entry, feed, genesis, keypair

from .facts import facts
from .histories import honest_history
from .scenes import OTHER, OWNER, PROVIDER, awarded, bidding, delivered
from .test_order import STEPS, shuffled

A, B, C = (keypair(n) for n in range(3))


class Peer:
    """A ledger with its store, as far as forks need one."""

    def __init__(self) -> None:
        self.ledger = Ledger(genesis())
        self.stored: dict[tuple[bytes, int], Entry] = {}
        self.aside: list[bytes] = []

    def hear(self, heard: Entry) -> None:
        """Take an entry or refuse it, as a node does that is told everything by everybody."""
        try:
            self.ledger.extend(heard, NOW_MS + 10**9)
            self.stored[heard.author, heard.seq] = heard
        except (Fork, Ignore):
            self._prove_fork(heard)
            if heard.id in self.ledger.missing_refs() and heard.author in self.ledger.forks:
                self.ledger.put_aside(heard)
                self.aside.append(heard.raw)

    def _prove_fork(self, heard: Entry) -> None:
        """An old seq with another id: the twin is in the store."""
        twin = self.stored.get((heard.author, heard.seq))
        if twin is not None and twin.id != heard.id:
            self.ledger.freeze(ForkProof(twin, heard))

    def fold(self) -> Ledger:
        return replay(
            self.ledger.genesis, [e.raw for e in self.stored.values()], self.ledger.forks.values(), self.aside
        )


def effects(ledger: Ledger) -> dict[str, Any]:
    """What follows from the entries, without what tells which branch a peer saw first."""
    told = facts(ledger)
    voids = {key: why for key, why in ledger.state.voids.items() if key not in ledger.state.forked}
    seen_differently = {"heads", "count", "positions", "aside", "forked", "missing"}
    return {name: fact for name, fact in told.items() if name not in seen_differently} | {"voids": voids}


def other_branch(entries: list[Entry], cheat: KeyPair, seq: int) -> list[Entry]:
    """What the cheat tells others: the same history, but for one entry and all that follow it."""
    feed = [e for e in entries if e.author == cheat.public]
    prev = feed[seq].prev
    branch = []
    for told in feed[seq:]:
        kind = "note" if told.seq == seq else told.kind
        branch.append(
            entry(
                cheat,
                network=told.network,
                kind=kind,
                seq=told.seq,
                prev=prev,
                time_ms=told.time_ms,
                refs=told.refs,
                body=dict(told.body),
            )
        )
        prev = branch[-1].id
    return branch


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_peers_that_saw_different_branches_agree_once_they_know_of_the_fork(seed: int) -> None:
    chance = random.Random(seed)
    history = honest_history(chance, STEPS)
    cheat = history.keys[chance.choice(sorted(history.ledger.heads))]
    seq = chance.randrange(history.ledger.heads[cheat.public].seq + 1)
    lie = other_branch(history.entries, cheat, seq)
    honest_view, deceived_view = Peer(), Peer()
    others = [e for e in history.entries if e.author != cheat.public or e.seq < seq]
    for heard in shuffled(history.entries, chance):
        honest_view.hear(heard)
    for heard in shuffled([*others, *lie], chance):
        deceived_view.hear(heard)
    for peer in (honest_view, deceived_view):
        for _ in range(2):  # the second time for what arrived before its predecessors
            for heard in [*history.entries, *lie]:
                peer.hear(heard)
    left, right = honest_view.fold(), deceived_view.fold()
    assert left.state.frozen_from == {cheat.public: seq}
    assert effects(left) == effects(right)
    assert violations(left.state) == violations(right.state) == []
    honest_keys = history.ledger.heads.keys() - {cheat.public}
    assert {a: left.heads[a].id for a in honest_keys} == {a: history.ledger.heads[a].id for a in honest_keys}
    assert left.missing_refs() == right.missing_refs() == set()


def test_a_fold_after_the_proof_equals_one_that_knew_it_from_the_start() -> None:
    scene = delivered()
    proof = ForkProof(scene.offer, entry(PROVIDER, network=scene.history.ledger.network, kind="other"))
    raws = [e.raw for e in scene.history.entries]
    judged_first, known_first = replay(scene.history.ledger.genesis, raws), Ledger(scene.history.ledger.genesis)
    for ledger in (judged_first, known_first):
        ledger.freeze(proof)
    assert (judged_first.stale, known_first.stale) == (True, False)
    assert effects(replay(scene.history.ledger.genesis, raws, [proof]))["offers"] == {}


def test_a_bidders_fork_voids_its_placement_and_leaves_the_others_in_place() -> None:
    scene = bidding(shards=2)
    history = scene.history
    history.offer(OTHER)
    honest_bid = history.bid(OTHER, scene.job)
    award = history.award(
        scene.job, history.placement(scene.bid, shard=0), history.placement(honest_bid, shard=1), author=OWNER
    )
    state = _refolded(history, scene.bid).state
    assert (award.id, 0) not in state.placements
    assert (award.id, 1) in state.placements
    assert award.id not in state.voids


def test_an_award_of_forked_bids_only_is_void() -> None:
    scene = awarded()
    state = _refolded(scene.history, scene.bid).state
    assert state.voids[scene.award.id] == "check 3: every bid is void, for its author signed two histories"
    assert state.jobs[scene.job.id].placements == []


def test_what_was_signed_before_the_fork_stands() -> None:
    scene = awarded()
    later = scene.history.lease(scene.award)
    state = _refolded(scene.history, later).state
    assert (scene.award.id, 0) in state.placements
    assert state.leases == {}


def _refolded(history: History, forked: Entry) -> Ledger:
    """The ledger once `forked` is known to have a twin."""
    author = history.keys[forked.author]
    twin = entry(author, network=forked.network, kind="twin", seq=forked.seq, prev=forked.prev, time_ms=forked.time_ms)
    return replay(history.ledger.genesis, (e.raw for e in history.entries), [ForkProof(forked, twin)])


def test_of_two_proofs_the_one_further_back_counts_in_either_order() -> None:
    first, second = entry(A), entry(A, seq=1, prev=entry(A).id)
    early, late = ForkProof(first, entry(A, kind="x")), ForkProof(second, entry(A, seq=1, prev=first.id, kind="x"))
    for proofs in ([early, late], [late, early]):
        ledger = Ledger(genesis())
        for proof in proofs:
            ledger.freeze(proof)
        assert ledger.forks == {A.public: early}
        assert ledger.state.frozen_from == {A.public: 0}


def test_entries_below_the_fork_are_still_accepted() -> None:
    first = entry(A)
    second, twin = (entry(A, seq=1, prev=first.id, kind=kind) for kind in ("x", "y"))
    ledger = Ledger(genesis())
    ledger.freeze(ForkProof(second, twin))
    assert ledger.extend(first, NOW_MS) == [first]
    with pytest.raises(Ignore, match="frozen since its fork at 1"):
        ledger.extend(second, NOW_MS)


def test_an_honest_feed_does_not_wait_for_a_branch_that_nobody_accepts() -> None:
    first = entry(A)
    seen, unseen = (entry(A, seq=1, prev=first.id, kind=kind) for kind in ("x", "y"))
    waiting = entry(B, refs=(unseen.id,))
    ledger = Ledger(genesis())
    for e in (first, seen, waiting):
        ledger.extend(e, NOW_MS)
    with pytest.raises(Ignore, match="nothing that is known waits"):
        ledger.put_aside(unseen)  # its author is not known to have forked
    ledger.freeze(ForkProof(seen, unseen))
    assert ledger.put_aside(unseen) == [waiting]
    assert ledger.missing_refs() == set()
    with pytest.raises(Ignore, match="nothing that is known waits"):
        ledger.put_aside(unseen)


def test_only_what_somebody_waits_for_is_put_aside() -> None:
    seen, unseen = entry(A, kind="x"), entry(A, kind="y")
    ledger = Ledger(genesis())
    ledger.extend(seen, NOW_MS)
    ledger.freeze(ForkProof(seen, unseen))
    with pytest.raises(Ignore, match="nothing that is known waits"):
        ledger.put_aside(unseen)
    assert ledger.state.aside == set()


def test_a_proof_says_where_the_histories_part() -> None:
    first = entry(A)
    follower = entry(A, seq=1, prev=entry(A, kind="unseen").id)
    assert ForkProof(first, entry(A, kind="x")).seq == 0
    assert ForkProof(first, follower).seq == 0, "its predecessor is another entry 0"
    assert ForkProof(first, follower).author == A.public
    assert ForkProof(first, entry(A, kind="x")).is_exact
    assert not ForkProof(first, follower).is_exact


def test_no_honest_author_is_ever_framed() -> None:
    """Neither another's entry, nor a copy, nor a successor makes a proof."""
    ledger = Ledger(genesis())
    first = entry(A)
    ledger.extend(first, NOW_MS)
    for harmless in (first, entry(B), entry(A, seq=1, prev=first.id), replace(first, raw=first.raw)):
        try:
            ledger.extend(harmless, NOW_MS)
        except Ignore:
            continue
    assert ledger.forks == {}
    assert set(BODIES).isdisjoint({"note", "x", "y"})
    assert parse(first.raw).id == first.id


# --- what was final before --------------------------------------------------------------------------------------------


def final_up_to(last: Entry) -> dict[bytes, Final]:
    return {last.author: Final(last.seq + 1, last.id)}


def test_a_deal_that_was_final_stands_whatever_its_bidder_signs_later() -> None:
    scene = awarded()
    history = scene.history
    twin = entry(PROVIDER, network=history.ledger.network, kind="twin", seq=scene.bid.seq, prev=scene.bid.prev)
    raws = [e.raw for e in history.entries]
    proof = ForkProof(scene.bid, twin)
    lost = replay(history.ledger.genesis, raws, [proof])
    kept = replay(history.ledger.genesis, raws, [proof], finals=final_up_to(scene.bid))
    assert (scene.award.id, 0) not in lost.state.placements
    assert (scene.award.id, 0) in kept.state.placements
    assert kept.state.frozen_from == {PROVIDER.public: scene.bid.seq + 1}


@pytest.mark.parametrize("first", ["the fork", "the quorum"])
def test_fork_and_quorum_may_come_to_be_known_in_either_order(first: str) -> None:
    one, two, three = (chain := feed(A, 3))
    proof = ForkProof(one, entry(A, kind="x"))
    ledger = Ledger(genesis())
    for e in chain:
        ledger.extend(e, NOW_MS)
    if first == "the fork":
        ledger.freeze(proof)
    ledger.finalize(A.public, 2, two.id)
    ledger.freeze(proof)
    assert ledger.stale, "what is final counts, what came after it is void"
    again = replay(genesis(), [e.raw for e in chain], [proof], finals=final_up_to(two))
    assert again.state.voids.keys() == {three.id}
    assert ledger.state.frozen_from == again.state.frozen_from == {A.public: 2}


def test_a_frozen_authors_entries_are_taken_up_to_where_a_quorum_cosigned_them() -> None:
    one, two, three = feed(A, 3)
    ledger = Ledger(genesis())
    ledger.extend(one, NOW_MS)
    ledger.freeze(ForkProof(two, entry(A, seq=1, prev=one.id, kind="x")))
    with pytest.raises(Ignore, match="frozen"):
        ledger.extend(two, NOW_MS)
    ledger.admit(A.public, 2)
    assert ledger.extend(two, NOW_MS) == [two]
    assert two.id in ledger.state.voids, "until it has been held against what was cosigned"
    with pytest.raises(Ignore, match="frozen"):
        ledger.extend(three, NOW_MS)
    assert ledger.finalize(A.public, 2, two.id)
    assert ledger.stale


def test_what_was_kept_aside_and_comes_to_stand_in_its_feed_is_aside_no_more() -> None:
    """Else what is final would count as forked where it had been kept aside, and nowhere else."""
    root, one = feed(A, 2)
    other = entry(A, seq=1, prev=root.id, kind="twin")
    ledger = Ledger(genesis())
    ledger.extend(root, NOW_MS)
    ledger.freeze(ForkProof(one, other))
    ledger.extend(entry(B, refs=(one.id,)), NOW_MS)
    ledger.put_aside(one)
    ledger.admit(A.public, 2)
    ledger.extend(one, NOW_MS)
    assert ledger.state.aside == set()
    assert ledger.state.is_forked(one.id), "as long as it is not final here"
