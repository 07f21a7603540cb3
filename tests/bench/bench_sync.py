"""What it costs to find a hundred missing entries of a million: bytes, round trips, time. Only heads are simulated."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from ledger.heads import ALL, HeadIndex
from protocol.direct import News, Since, encode_direct
from protocol.envelope import Head
from tests.bench.figures import Figure, rate
from tests.ledger.dialogue import EPOCH, Dialogue, behind, index_of, many_heads

AUTHORS = 10_000
ENTRIES = 1_000_000
MISSING = 100


def figures() -> Iterator[Figure]:
    chance = random.Random(1)
    whole = many_heads(chance, AUTHORS, seq_mean=ENTRIES // AUTHORS)
    part = behind(chance, whole, MISSING)
    ours, theirs = index_of(part.values()), index_of(whole.values())
    began = time.perf_counter()
    talk = Dialogue((ours, theirs), chance).run()
    took_ms = (time.perf_counter() - began) * 1000
    missing = sorted(key for key in whole if whole[key] != part[key])
    assert talk.wanted(0) == set(missing)

    question = Since(epoch=EPOCH, position=ENTRIES - MISSING)
    answer = News(epoch=EPOCH, position=ENTRIES, feeds=tuple((key, whole[key].seq) for key in missing), more=False)
    cursor_bytes = len(encode_direct(question)) + len(encode_direct(answer))

    asked = f"{MISSING} missing of {ENTRIES} entries by {AUTHORS} authors"
    yield _at_most(f"{asked}, with a cursor", cursor_bytes / 1024, "KiB", "the bound", 5)
    yield _at_most(f"{asked}, without", talk.sent_bytes / 1024, "KiB", "the bound", 50)
    yield _at_most(f"{asked}, without", talk.round_trips, "round trips", "the bound", 4)
    hashed = "hashing all heads anew"
    hashing_ms = _best_ms(lambda: index_of(whole.values()))
    yield _at_most(f"{asked}, both sides and the codec", took_ms, "ms", hashed, hashing_ms, target=None)
    yield _at_most("all fingerprints after one entry", _update_ms(ours), "ms", hashed, hashing_ms, target=0.5)


def _update_ms(index: HeadIndex) -> float:
    heads = {head.author: head for head in index.heads(ALL, ALL)}
    newest = next(iter(heads.values()))

    def grow() -> None:
        head = heads[newest.author]
        heads[newest.author] = Head(head.author, head.seq + 1, head.id)
        index.update(heads)

    return _best_ms(grow)


def _best_ms(work: Callable[[], object]) -> float:
    return 1000 / rate(work, items=1, rounds=20)


def _at_most(figure: str, value: float, unit: str, against: str, bound: float, target: float | None = 1) -> Figure:
    return Figure("sync", figure, value, unit, against, bound, target=target, at_most=True)
