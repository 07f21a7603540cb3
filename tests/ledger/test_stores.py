"""The numbered checks of stores, each broken and each just kept; and whatever is charged and discharged, no joule and
no gram comes out that did not go in."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ledger.state import LotStatus
from protocol.devices import Charge
from protocol.envelope import Entry
from protocol.messages import Attestation, Place
from tests.builders import SLOT_MS, History, attestation
from tests.devices import battery, device
from tests.signatures import AUDITED, AUDITOR, attestation_now, countersigned

from .facts import facts
from .scenes import OTHER, OWNER, PROVIDER, assert_valid, assert_void
from .test_order import arrived, shuffled

FAR = Place(zone="FR", latitude_decidegrees=480, longitude_decidegrees=20)


# --- charge -----------------------------------------------------------------------------------------------------------


def stored(**store: Any) -> tuple[History, Entry]:
    """A battery, and twelve kilojoules of sun that may be charged."""
    history = History(**AUDITED)
    history.append(PROVIDER, battery(**store))
    return history, history.append(PROVIDER, attestation())


def discharge(history: History, energy_j: int, **changes: Any) -> Entry:
    """What came out of the battery in the next minute."""
    history.now_ms += SLOT_MS
    newest = history.state.newest_of_device.get((PROVIDER.public, "battery"))
    start_j = newest.meter_end_j if newest else 0
    fields: dict[str, Any] = {
        "device_id": "battery",
        "carrier": "storage",
        "energy_j": energy_j,
        "meter_start_j": start_j,
        "meter_end_j": start_j + energy_j,
        "own_g_per_kwh": 40,
    }
    body: Attestation = attestation_now(history, **fields | changes)
    return history.append(PROVIDER, body)


def test_void_charge_check_1_of_what_is_no_store() -> None:
    history, sun = stored()
    assert_void(history, history.charge(sun, device_id="inverter"), 1, "device 'inverter' is no store")
    history.append(PROVIDER, device())
    assert_void(history, history.charge(sun, device_id="inverter"), 1)


def test_void_charge_check_2_of_another_peers_energy() -> None:
    history, _ = stored()
    foreign = history.append(OTHER, attestation())
    assert_void(history, history.charge(foreign, author=PROVIDER), 2, "is not the attestation's author")


def test_void_charge_check_2_attestation_is_not_referred_to() -> None:
    history, sun = stored()
    body = Charge(device_id="battery", attestation=sun.id, lot=None, energy_j=1)
    assert_void(history, history.append(PROVIDER, body), 2, "is not among the entry's 0 refs")


def test_void_charge_check_2_assurance_below_what_the_network_accepts() -> None:
    history = History(**AUDITED)
    history.append(PROVIDER, battery())
    weak = history.append(PROVIDER, attestation(method="modelled"))
    assert_void(history, history.charge(weak), 2, "assurance A0 is below the network's A1")


def test_void_charge_check_2_of_a_joule_that_is_certified() -> None:
    history, sun = stored()
    history.certificate(sun, energy_j=1)
    assert_void(history, history.charge(sun, energy_j=12_000), 2, "exceeds the 11999 J that are left")


def test_void_charge_check_2_of_a_part_of_a_lot_or_a_lot_spent() -> None:
    history, sun = stored()
    lot = history.certificate(sun)
    assert_void(history, history.charge(lot, energy_j=1), 2, "energy_j 1 is not the lot's 12000")
    history.cancellation(lot, OWNER)
    assert_void(history, history.charge(lot), 2, "is cancelled already, it must be held")


def test_void_charge_check_3_of_energy_from_another_zone() -> None:
    history, _ = stored()
    elsewhere = history.append(PROVIDER, attestation(device_id="far", place=FAR))
    assert_void(history, history.charge(elsewhere), 3, "zone FR is not the store's DE")


def test_void_charge_check_4_beyond_what_it_can_hold() -> None:
    history, sun = stored(storage_j=10_799)
    assert_void(history, history.charge(sun), 4, "the store would hold 10800 J of at most 10799 J")


def test_valid_charge_check_1_to_4_claims_its_joules_and_fills_the_store() -> None:
    history, sun = stored(storage_j=10_800)
    assert_valid(history, history.charge(sun))
    store = history.state.stores[PROVIDER.public, "battery"]
    assert (store.held_j, history.state.attestations[sun.id].remaining_j) == (10_800, 0)


def test_valid_charge_check_1_to_4_of_a_lot_that_was_bought() -> None:
    history, _ = stored()
    bought = history.transfer(history.certificate(history.append(OTHER, attestation())), PROVIDER)
    assert_valid(history, history.charge(bought))
    assert history.state.lots[bought.id, 0].status is LotStatus.STORED
    assert_void(history, history.cancellation(bought, OWNER), 1, "is stored already, it must be held")


# --- attestation: what comes out of a store ---------------------------------------------------------------------------


def test_void_attestation_check_9_more_than_went_in_less_losses() -> None:
    history, sun = stored()
    history.charge(sun)
    assert_void(history, discharge(history, 10_801), 9, "energy_j 10801 exceeds the 10800 J that the store holds")


def test_void_attestation_check_9_out_of_an_empty_store() -> None:
    history, _ = stored()
    assert_void(history, discharge(history, 1), 9, "exceeds the 0 J that the store holds")


def test_void_attestation_check_9_cleaner_than_what_went_in() -> None:
    history, sun = stored()
    history.charge(sun)
    cleaner = discharge(history, 1, own_g_per_kwh=39)  # 36 g/kWh and a tenth lost are 40
    assert_void(history, cleaner, 9, "own_g_per_kwh 39 is below the 40 of what the store holds")


def test_void_attestation_check_9_before_it_was_charged() -> None:
    history, sun = stored()
    history.charge(sun)
    early = discharge(history, 1, start_ms=sun.body["end_ms"] - 1, end_ms=sun.body["end_ms"])
    assert_void(history, early, 9, "is before the store was charged, until")


def test_valid_attestation_check_9_all_that_is_left_and_nothing_after() -> None:
    history, sun = stored()
    history.charge(sun)
    assert_valid(history, discharge(history, 10_799))
    assert_valid(history, discharge(history, 1))
    assert_valid(history, discharge(history, 0, own_g_per_kwh=0))
    assert_void(history, discharge(history, 1), 9, "exceeds the 0 J that the store holds")


def test_what_comes_out_is_claimed_like_any_surplus() -> None:
    history, sun = stored()
    history.charge(sun)
    out = discharge(history, 10_000)
    assert_valid(history, history.certificate(out))


def test_what_comes_out_is_no_surer_than_what_went_in() -> None:
    history, sun = stored()
    history.charge(sun)
    history.now_ms += SLOT_MS
    body = attestation_now(
        history, device_id="battery", carrier="storage", energy_j=10, meter_end_j=10, own_g_per_kwh=40
    )
    entry = history.append(PROVIDER, countersigned(body, PROVIDER, AUDITOR))
    assert_valid(history, entry)
    assert history.state.attestations[entry.id].assurance == 1


def test_void_device_check_2_a_store_that_loses_less_than_it_did() -> None:
    history = History()
    assert_valid(history, history.append(PROVIDER, battery(efficiency_permille=900)))
    flattered = history.append(PROVIDER, battery(efficiency_permille=1000))
    assert_void(history, flattered, 2, "efficiency_permille 1000 of device 'battery' was 900 before")
    assert_valid(history, history.append(PROVIDER, battery(efficiency_permille=900, storage_j=40_000)))


# --- all of it --------------------------------------------------------------------------------------------------------


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
            before = history.state.devices[PROVIDER.public, "battery"].device.efficiency_permille
            efficiency_permille = chance.choice([before, chance.randint(1, 1000)])
            if chance.random() < 0.3:
                storage_j = chance.randint(1, 40_000)
                history.append(PROVIDER, battery(efficiency_permille=efficiency_permille, storage_j=storage_j))
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
    history.append(PROVIDER, battery(efficiency_permille=chance.randint(500, 1000)))
    for _ in range(200):
        _act(history, chance)
    store = history.state.stores[PROVIDER.public, "battery"]
    assert history.broken == []  # the audit counts joules and grams anew after every entry
    assert store.charges, "nothing was tried"
    assert store.discharges, "nothing was tried"
    for _ in range(3):
        assert facts(arrived(history, shuffled(history.entries, chance))) == facts(history.ledger)
    made_j = sum(charge.energy_j for charge in store.charges)
    assert sum(record.energy_j for record in store.discharges) + store.held_j <= made_j
