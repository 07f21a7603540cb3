"""What a book of adverts comes to, whatever becomes of the messages on their way."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from node.market.book import WAIT_TICKS, Parts
from protocol.adverts import SignedAdvert, SignedUpdate, updated
from protocol.direct import WantAdverts
from protocol.identity import KeyPair
from tests.builders import NOW_MS, keypair
from tests.node.book_scene import ME, Scene, changed, full, gone


def history(chance: random.Random, author: KeyPair) -> Iterator[SignedAdvert | SignedUpdate]:
    """What an author says in an hour or so: full adverts, updates of the newest, perhaps a goodbye."""
    number, base = NOW_MS, full(author)
    yield base
    for _ in range(chance.randrange(3, 20)):
        number += chance.randrange(1, 50)
        if chance.randrange(4) == 0:
            base = full(author, number, free_units=chance.randrange(9))
            yield base
        else:
            yield changed(base, author, number, chance.randrange(9))
    if chance.randrange(3) == 0:
        yield gone(base, author, number + 1)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_lost_doubled_or_overtaken_the_last_word_counts(seed: int) -> None:
    """Any of it may be lost, answers too, until the last word is repeated, by a heartbeat, and a question answered."""
    chance = random.Random(seed)
    authors = {keypair(20 + n).public: list(history(chance, keypair(20 + n))) for n in range(4)}
    scene = Scene(*(keypair(20 + n) for n in range(4)))
    arriving = [item for items in authors.values() for item in chance.choices(items, k=2 * len(items))]
    chance.shuffle(arriving)
    scene.take(*arriving)
    sources, expected = {}, {}
    for author, items in authors.items():
        sources[author] = Scene()
        base, last = next(item for item in reversed(items) if isinstance(item, SignedAdvert)), items[-1]
        if isinstance(last, SignedAdvert):
            expected[author], sources[author].book.parts[author] = last.advert, Parts(last)
        elif not last.update.is_goodbye:
            expected[author], sources[author].book.parts[author] = updated(base.advert, last.update), Parts(base, last)

    def ask(loss_percent: int) -> None:
        for _ in range(4 * WAIT_TICKS):
            for peer, wanted in scene.tick():
                assert isinstance(wanted, WantAdverts)
                answer = sources[peer].want(ME, **wanted.model_dump())
                sources[peer].tick()
                if answer is not None and chance.randrange(100) >= loss_percent:
                    scene.answer(peer, *answer.adverts)

    ask(loss_percent=70)
    scene.take(*(items[-1] for items in authors.values()))
    ask(loss_percent=0)
    assert {author: signed.advert for author, signed in scene.book.adverts.items()} == expected
