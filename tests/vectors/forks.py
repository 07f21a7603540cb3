"""Forks: which two entries prove one, and what follows, whichever branch a peer holds and whenever it hears of it.

A case of `pairs` says of (a, b) whether they are a proof, of which seq, and whether it is exact. A case of `cases`
gives the entries that a peer has stored, the proofs that it knows, what it keeps aside, and how much of which feed is
final; then who is frozen from which seq, what is not judged, and all facts. `same_as` names the case of a peer that
holds another branch: but for the void entries of the branches themselves, the same follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.feed import ForkProof, prove_fork
from ledger.ledger import Final, Ledger, replay
from protocol.envelope import Entry
from protocol.errors import Reject
from protocol.genesis import Genesis
from protocol.identity import KeyPair
from tests.builders import entry, genesis, keypair
from tests.ledger.scenes import OTHER, OWNER, PROVIDER, awarded, bidding, settled
from tests.vectors.summary import summary

A, B, C = (keypair(n) for n in range(3))


@dataclass(frozen=True, slots=True)
class Case:
    """What a peer holds. `final`: the last entries that quorums cosigned. `same_as`: the name of another case."""

    feeds: list[Entry]
    proofs: list[ForkProof]
    aside: tuple[Entry, ...] = ()
    final: tuple[Entry, ...] = ()
    same_as: str | None = None


def follow(document: Genesis, case: Case) -> dict[str, Any]:
    """What the case says that follows."""
    finals = {last.author: Final(last.seq + 1, last.id) for last in case.final}
    ledger = replay(document, [e.raw for e in case.feeds], case.proofs, [e.raw for e in case.aside], finals)
    return {
        "frozen_from": {author.hex(): seq for author, seq in sorted(ledger.state.frozen_from.items())},
        "waiting": sorted(each.id.hex() for each in ledger.waiting()),
        "post": summary(ledger.state),
    }


def follow_late(document: Genesis, case: Case) -> Ledger:
    """The ledger that heard of proofs and quorums last; it is stale where they change what was judged."""
    ledger = replay(document, [e.raw for e in case.feeds])
    for proof in case.proofs:
        ledger.freeze(proof)
    for last in case.final:
        ledger.finalize(last.author, last.seq + 1, last.id)
    ledger.release({each.id for each in case.aside})
    return ledger


def twin(told: Entry, author: KeyPair, **changes: Any) -> Entry:
    """What the author says to others instead: of a kind that nobody knows, unless it is changed."""
    fields: dict[str, Any] = {"network": told.network, "seq": told.seq, "prev": told.prev, "time_ms": told.time_ms}
    return entry(author, **fields | {"kind": "twin"} | changes)


def _pairs() -> dict[str, tuple[Entry, Entry]]:
    first, others_first = entry(A), entry(B)
    second, third = entry(A, seq=1, prev=first.id), entry(A, seq=2, prev=entry(A, seq=1, prev=first.id).id)
    parted = twin(second, A)
    return {
        "two first entries": (first, twin(first, A)),
        "two entries after one": (second, parted),
        "two entries after one, the other way about": (parted, second),
        "one seq after different predecessors": (second, twin(second, A, prev=twin(first, A).id)),
        "a follower of another first entry": (first, entry(A, seq=1, prev=twin(first, A).id)),
        "a follower of another second entry": (second, entry(A, seq=2, prev=parted.id)),
        "a follower that names no predecessor": (first, entry(A, seq=1)),
        "differing in time alone": (first, twin(first, A, kind=first.kind, time_ms=first.time_ms + 1)),
        "an entry and itself": (first, first),
        "an entry and its follower": (first, second),
        "a follower before its predecessor": (second, first),
        "a follower of another first entry before that of the feed": (entry(A, seq=1, prev=parted.id), first),
        "a gap between them": (first, third),
        "of two authors": (first, others_first),
        "of two authors, as if one followed the other": (first, entry(B, seq=1, prev=entry(B, kind="x").id)),
    }


def _cases() -> dict[str, Case]:
    return _small_cases() | _market_cases() | _credit_cases()


def _small_cases() -> dict[str, Case]:
    first = entry(A)
    seen, unseen = (entry(A, seq=1, prev=first.id, kind=kind) for kind in ("seen", "unseen"))
    after = entry(A, seq=2, prev=unseen.id)
    of_seen, of_unseen = entry(B, refs=(seen.id,)), entry(C, refs=(unseen.id, after.id))
    here, there = [first, seen, of_seen, of_unseen], [first, unseen, after, of_seen, of_unseen]
    proof, inexact = prove_fork(seen, unseen), prove_fork(seen, after)
    earlier = prove_fork(first, twin(first, A))
    return {
        "nobody has heard of the fork: who refers to the unseen branch waits": Case(here, []),
        "the unseen branch is kept aside: nobody waits": Case(here, [proof], (unseen, after)),
        "the other branch": Case(there, [proof], (seen,), same_as="the unseen branch is kept aside: nobody waits"),
        "the fork is known, what is referred to is not": Case(here, [proof]),
        "a proof that is not exact": Case(here, [inexact], (unseen, after)),
        "of two proofs the lower counts, come last": Case(here, [proof, earlier], (unseen, after)),
        "of two proofs the lower counts, come first": Case(here, [earlier, proof], (unseen, after)),
        "what stands above the fork does not wait for what it refers to": Case(
            [first, entry(A, seq=1, prev=first.id, refs=(unseen.id,))], [proof]
        ),
    }


def _market_cases() -> dict[str, Case]:
    """A bidder forks at its bid, and an owner at its award."""
    scene = bidding(shards=2)
    history = scene.history
    history.offer(OTHER)
    honest = history.bid(OTHER, scene.job)
    award = history.award(scene.job, history.placement(scene.bid), history.placement(honest, shard=1), author=OWNER)
    history.lease(award, 1)
    told = twin(scene.bid, PROVIDER)
    view = [told if each is scene.bid else each for each in history.entries]
    sold = awarded()
    leased = sold.history.lease(sold.award)
    return {
        "an award of two bids, nobody has forked": Case(history.entries, []),
        "a late proof: the bidder's placement is void alone": Case(history.entries, [prove_fork(scene.bid, told)]),
        "the bidder's other branch, the bid kept aside": Case(
            view,
            [prove_fork(told, scene.bid)],
            (scene.bid,),
            same_as="a late proof: the bidder's placement is void alone",
        ),
        "a late proof: the only bidder forked, the award is void": Case(
            sold.history.entries, [prove_fork(sold.bid, twin(sold.bid, PROVIDER))]
        ),
        "a late proof: the only bidder forked, its bid was final": Case(
            sold.history.entries, [prove_fork(sold.bid, twin(sold.bid, PROVIDER))], final=(sold.bid,)
        ),
        "a late proof: the bidder forked at its offer, all it signed was final": Case(
            sold.history.entries, [prove_fork(sold.offer, twin(sold.offer, PROVIDER))], final=(leased,)
        ),
        "a late proof: the bidder forked at its bid, only its offer was final": Case(
            sold.history.entries, [prove_fork(sold.bid, twin(sold.bid, PROVIDER))], final=(sold.offer,)
        ),
        "a late proof: the owner forked at its award, the lease is void": Case(
            sold.history.entries, [prove_fork(sold.award, twin(sold.award, OWNER))]
        ),
        "a late proof: the provider forked at its lease, the award stands": Case(
            sold.history.entries, [prove_fork(leased, twin(leased, PROVIDER))]
        ),
    }


def _credit_cases() -> dict[str, Case]:
    """A debtor forks at its IOU."""
    scene = settled()
    iou = scene.history.iou(scene.limit, scene.settlement)
    scene.history.discharge(iou, 1)
    return {
        "an IOU, part of it paid": Case(scene.history.entries, []),
        "a late proof: the debtor forked at its IOU, the settlement waits again": Case(
            scene.history.entries, [prove_fork(iou, twin(iou, OWNER))]
        ),
    }


def make() -> dict[str, Any]:
    pairs, cases = _pairs(), _cases()
    entries: dict[str, str] = {}
    for each in (
        *(e for pair in pairs.values() for e in pair),
        *(e for case in cases.values() for e in _entries(case)),
    ):
        entries[each.id.hex()] = each.raw.hex()
    document = genesis()
    return {
        "networks": [{"name": "test", "genesis": document.encoded().hex(), "id": document.network_id().hex()}],
        "entries": [{"name": name, "raw": raw} for name, raw in entries.items()],
        "pairs": [
            {"name": name, "a": a.id.hex(), "b": b.id.hex()} | judged_pair(a, b) for name, (a, b) in pairs.items()
        ],
        "cases": [{"name": name} | _written(case) | follow(document, case) for name, case in cases.items()],
    }


def judged_pair(a: Entry, b: Entry) -> dict[str, Any]:
    """What a pair is."""
    try:
        proof = prove_fork(a, b)
    except Reject:
        return {"fork": False}
    return {"fork": True, "seq": proof.seq, "exact": proof.is_exact}


def _entries(case: Case) -> list[Entry]:
    return [*case.feeds, *(e for proof in case.proofs for e in (proof.a, proof.b)), *case.aside]


def _written(case: Case) -> dict[str, Any]:
    held: dict[str, Any] = {"feeds": [e.id.hex() for e in case.feeds], "aside": [e.id.hex() for e in case.aside]}
    proofs = [[proof.a.id.hex(), proof.b.id.hex()] for proof in case.proofs]
    held |= {"final": {last.author.hex(): last.seq + 1 for last in case.final}}
    return held | {"proofs": proofs} | ({} if case.same_as is None else {"same_as": case.same_as})
