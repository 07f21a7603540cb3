"""Facts about a home whose key has signed: when the node asks its peers first, and what a commit leaves behind."""

from __future__ import annotations

import pytest

from ledger.feed import ForkProof
from ledger.store.sqlite import SqliteStore
from node import actions as ac
from node import events as ev
from node.feeds.own_feed import Signing
from node.home.home import Home
from node.running.keeping import keep
from node.running.runtime import Runtime
from protocol.envelope import Entry
from tests.builders import digest, entry, keypair
from tests.shells.runtime_scene import NETWORK, made, running

OWN, PEER = keypair(1), keypair(2)


def signing(home: Home, *, trusts_ledger: bool = False) -> Signing:
    """As the node starts in this home."""
    runtime = Runtime(home, trusts_ledger=trusts_ledger)
    runtime.store.close()
    return runtime.node.own_feed.signing


async def record(home: Home, *, is_own: bool) -> None:
    """Run the node until it has stored one entry."""
    runtime, core, _ = made(home)
    author = runtime.keypair if is_own else PEER
    core.script[ev.JobCancelled] = [ac.Persist((entry(author, network=NETWORK.network_id()),))]
    async with running(runtime):
        await runtime.submit(ev.JobCancelled(b""))


async def test_a_key_is_fresh_until_it_signs(home: Home) -> None:
    assert signing(home) is Signing.ALLOWED
    await record(home, is_own=False)
    assert signing(home) is Signing.ALLOWED
    await record(home, is_own=True)
    assert signing(home) is Signing.UNCONFIRMED
    assert signing(home, trusts_ledger=True) is Signing.ALLOWED


async def test_a_key_whose_ledger_is_lost_is_not_fresh(home: Home) -> None:
    await record(home, is_own=True)
    home.ledger_path.unlink()
    assert signing(home) is Signing.UNCONFIRMED


async def test_an_old_mark_beside_a_ledger_that_knows_better_is_not_believed(home: Home) -> None:
    """A crash between the commit and the mark's end, or a mark from a backup."""
    await record(home, is_own=True)
    home.fresh_path.touch()
    assert signing(home) is Signing.UNCONFIRMED


async def test_cursors_and_the_epoch_are_there_at_the_next_start(home: Home) -> None:
    runtime, core, _ = made(home)
    cursor = digest("epoch")[:16] + (7).to_bytes(8, "big")
    core.script[ev.Started] = [ac.PersistCursor(PEER.public, cursor)]
    async with running(runtime):
        await core.until(ev.MessageReceived(keypair(7).public, b"early"))
    again = Runtime(home)
    again.store.close()
    assert {peer: known.encode() for peer, known in again.node.exchange.cursors.items()} == {PEER.public: cursor}
    assert again.node.exchange.epoch == again.store.epoch


# --- what a commit writes -----------------------------------------------------------------------------------------


@pytest.fixture
def store() -> SqliteStore:
    return SqliteStore(":memory:", NETWORK.network_id())


def note(author: int, **changes: object) -> Entry:
    return entry(keypair(author), network=NETWORK.network_id(), **changes)


def test_a_commit_keeps_all_that_was_asked_of_it_and_says_whether_it_signed(store: SqliteStore) -> None:
    own, theirs, aside = note(1), note(2), note(3)
    proof = ForkProof(theirs, note(2, kind="other"))
    actions: list[ac.Lasting] = [
        ac.PersistCursor(PEER.public, b"cursor"),
        ac.Persist((theirs,)),
        ac.PersistFork(PEER.public),
        ac.PersistAside((aside,)),
    ]
    assert not keep(store, actions, [proof], OWN.public)
    assert [raw for _, raw in store.replay()] == [theirs.raw]
    assert [each.b.id for each in store.forks()] == [proof.b.id]
    assert store.asides() == [aside.raw]
    assert store.cursors() == {PEER.public: b"cursor"}
    assert keep(store, [ac.Persist((own,))], [], OWN.public)


def test_no_cursor_is_kept_of_entries_that_were_not(store: SqliteStore) -> None:
    twice = note(2)
    store.append([twice], durable=True)
    with pytest.raises(ValueError, match="does not continue its feed"):
        keep(store, [ac.PersistCursor(PEER.public, b"cursor"), ac.Persist((twice,))], [], OWN.public)
    assert store.cursors() == {}


@pytest.mark.parametrize("author", [1, 2])
def test_own_entries_survive_a_power_cut_and_others_can_be_fetched_again(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, author: int
) -> None:
    durabilities: list[bool] = []
    monkeypatch.setattr(store, "append", lambda entries, durable: durabilities.append(durable))
    keep(store, [ac.Persist((note(3),)), ac.Persist((note(author),))], [], OWN.public)
    assert durabilities == [author == 1]
