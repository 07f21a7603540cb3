"""Whatever is charged and discharged, no joule and no gram comes out that did not go in."""

from __future__ import annotations

import random

import pytest

from tests.builders import SLOT_MS, History
from tests.devices import battery

from .scenes import OTHER, PROVIDER


def _act(history: History, chance: random.Random) -> None:
    """Something an owner of a battery might sign, honest or not."""
    match chance.randrange(6):
        case 0:
            history.attestation(PROVIDER, own_g_per_kwh=chance.randint(0, 60), energy_j=chance.randint(1, 25_000))
        case 1:
            own = [entry for entry in history.entries if entry.kind == "attestation"]
            if own:
                history.charge(chance.choice(own[-3:]), energy_j=chance.randint(1, 12_000))
        case 2:
            lots = [entry for entry in history.entries if entry.kind in ("certificate", "transfer")]
            if lots:
                history.charge(chance.choice(lots), author=chance.choice([PROVIDER, OTHER]))
        case 3:
            own = [entry for entry in history.entries if entry.kind == "attestation"]
            if own:
                history.certificate(chance.choice(own), energy_j=chance.randint(1, 5000))
        case 4:
            changes = {"efficiency_permille": chance.randint(1, 1000), "storage_j": chance.randint(1, 40_000)}
            if chance.random() < 0.3:
                history.append(PROVIDER, battery(**changes))
        case _:
            history.attestation(
                PROVIDER,
                device_id="battery",
                carrier="storage",
                energy_j=chance.randint(0, 6000),
                own_g_per_kwh=chance.choice([30, 60, 200, 10_000]),
            )
    history.now_ms += chance.choice([0, SLOT_MS])


@pytest.mark.parametrize("seed", range(12))
def test_out_and_left_are_never_more_than_in(seed: int) -> None:
    chance = random.Random(seed)
    history = History()
    history.append(PROVIDER, battery())
    for _ in range(200):
        _act(history, chance)
    store = history.state.stores[PROVIDER.public, "battery"]
    assert history.broken == []  # the audit counts joules and grams anew after every entry
    assert store.charges, "nothing was tried"
    assert store.discharges, "nothing was tried"
    made_j = sum(charge.energy_j for charge in store.charges)
    assert sum(record.energy_j for record in store.discharges) + store.held_j <= made_j
