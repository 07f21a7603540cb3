"""A flipped bit anywhere in the file is found and located, or changes nothing."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.store.sqlite import SqliteStore
from protocol.errors import LocalError, VerificationFailed

from .places import NETWORK, content, fill

FLIPS = 500


@pytest.fixture
def path(in_memory: Path) -> Path:
    """A ledger with something of everything, closed."""
    path = in_memory / "ledger.db"
    with closing(SqliteStore(path, NETWORK)) as store:
        fill(store)
    return path


def flip(path: Path, original: bytes, bit: int) -> None:
    damaged = bytearray(original)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)


def found(path: Path) -> tuple[list[str], dict[str, Any] | None]:
    """What opening and the check find, and, if that is nothing, what the store then holds."""
    try:
        with closing(SqliteStore(path, NETWORK)) as store:
            damages = list(store.check())
            return damages, None if damages else content(store)
    except LocalError as error:
        return [error.cause], None


def test_a_flipped_bit_anywhere_is_found_or_harmless(path: Path, chance: random.Random) -> None:
    original = path.read_bytes()
    damages, whole = found(path)
    assert damages == []
    harmless = 0
    for bit in chance.sample(range(8 * len(original)), FLIPS):
        flip(path, original, bit)
        damages, held = found(path)
        if not damages:
            assert held == whole, f"bit {bit} changed what is read, and the check did not find it"
            harmless += 1
    assert harmless < FLIPS  # the rest of the pages is empty


def test_a_flipped_bit_of_what_is_stored_names_its_row(path: Path, chance: random.Random) -> None:
    """The signature's bits too, which no id covers."""
    original = path.read_bytes()
    with closing(SqliteStore(path, NETWORK)) as store:
        entries = list(store.replay())
        asides = store.asides()
    parts = [(raw, f"entry {position} is damaged") for position, raw in entries]
    parts += [(raw, "aside ") for raw in asides]
    parts += [(b"cursor", "reading "), (b"origin", "cosigned"), (NETWORK, "")]
    for part, name in parts:
        start = original.rindex(part)
        names = (name, "fork ") if original.count(part) > 1 else (name,)  # a proof holds a copy
        for byte in {start, start + len(part) - 1, *chance.sample(range(start, start + len(part)), 4)}:
            flip(path, original, 8 * byte + chance.randrange(8))
            damages, _ = found(path)
            assert any(each in damage for damage in damages for each in names), (name, byte - start, damages)


def test_a_damaged_entry_is_never_read_as_if_it_were_whole(path: Path) -> None:
    original = path.read_bytes()
    with closing(SqliteStore(path, NETWORK)) as store:
        position, raw = store.page(2, 1)[0]
    flip(path, original, 8 * (original.index(raw) + len(raw)) - 1)
    with closing(SqliteStore(path, NETWORK)) as store:
        assert [at for at, _ in store.page(0, position - 1)] == [1, 2]
        for read in (lambda: store.page(0, 100), lambda: list(store.replay()), store.heads):
            with pytest.raises(VerificationFailed, match=f"entry {position} is damaged"):
                read()
