"""What a store promises from one opening to the next, in a file and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.feed import ForkProof
from ledger.ledger import replay
from ledger.store import Store
from ledger.store.schema import POSTGRES, SQLITE
from protocol.errors import LocalError
from tests.builders import digest, entry, feed, genesis, keypair, whole_history

from .facts import facts
from .places import NETWORK, A, B, Open, content, crash, fill, place_of


@pytest.fixture(params=["file", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return place_of(request.param, tmp_path / "ledger.db", request)


def refused(place: Open, network: bytes = NETWORK) -> LocalError:
    with pytest.raises(LocalError) as failure:
        place(network)
    assert failure.value.remedy
    return failure.value


def test_the_ledger_is_the_same_after_opening_again(place: Open) -> None:
    history = whole_history()
    proof = ForkProof(history.entries[0], entry(keypair(1), kind="other"))
    with closing(place()) as store:
        store.append(history.entries, durable=True)
        store.add_fork(proof)
    with closing(place()) as store:
        again = replay(genesis(), (raw for _, raw in store.replay()), store.forks())
        store.append([entry(keypair(8))], durable=True)
    assert facts(again) == facts(replay(genesis(), (e.raw for e in history.entries), [proof]))
    assert again.forks.keys() == {proof.author}


@pytest.mark.parametrize("end", [Store.close, crash])
def test_all_is_there_after_any_end(place: Open, end: Any) -> None:
    store = place()
    fill(store)
    before = content(store)
    store.close() if end is Store.close else crash(store)
    with closing(place()) as store:
        assert content(store) == before
        assert list(store.check()) == []
        store.append([*feed(B, 3)[2:], entry(keypair(2))], durable=True)
        with pytest.raises(ValueError, match="does not continue its feed"):
            store.append(feed(A, 1), durable=True)
        assert store.position == before["position"] + 2


def test_the_epoch_stays_after_a_clean_end(place: Open) -> None:
    epochs = set()
    for _ in range(3):
        with closing(place()) as store:
            epochs.add(store.epoch)
            store.append([entry(keypair(store.position))], durable=False)
    assert len(epochs) == 1


def test_the_parts_of_an_interrupted_snapshot_are_gone_with_the_next(place: Open) -> None:
    store = place()
    store.save_snapshot(0, [b"old"])

    def die() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.save_snapshot(0, die())
    crash(store)
    with closing(place()) as store:
        assert content(store)["snapshot"] == (0, [b"old"])
        store.save_snapshot(0, [b"new"])
        assert store._turned("SELECT data FROM snapshot_part") == [(b"new",)]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_ledger_of_another_network_is_refused_and_goes_on_in_its_own(place: Open) -> None:
    with closing(place()) as store:
        fill(store)
        before, epoch = content(store), store.epoch
    errors = [refused(place, digest("other")) for _ in range(2)]  # with their tracebacks, and all that those refer to
    assert {error.code for error in errors} == {"HEL-LEDGER-004"}
    assert NETWORK.hex()[:16] in errors[0].cause
    assert digest("other").hex()[:16] in errors[0].cause
    with closing(place()) as store:
        assert (content(store), store.epoch) == (before, epoch)


def test_a_second_opening_is_refused_until_the_first_is_gone(place: Open) -> None:
    store = place()
    assert refused(place).code == "HEL-LEDGER-005"
    fill(store)
    store.close()
    place().close()


@pytest.mark.parametrize("number", [3, 99])
def test_a_later_schema_is_refused(place: Open, number: int) -> None:
    with closing(place()) as store:
        if "PostgreSQL" in store.name:
            store._set_meta("schema", b"%d" % number)
        else:
            store._execute(f"PRAGMA user_version={number}")
    error = refused(place)
    assert error.code == "HEL-LEDGER-003"
    assert f"schema {number}, this program reads 2" in error.cause


def test_migrations_are_numbered_and_say_why() -> None:
    assert [migration.number for migration in SQLITE] == list(range(1, len(SQLITE) + 1))
    assert SQLITE[-1].number == POSTGRES[-1].number
    assert all(migration.reason for migration in (*SQLITE, *POSTGRES))
