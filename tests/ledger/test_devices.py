"""The numbered checks of devices and of the signatures under attestations: each broken, and each just kept."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import assurance
from protocol.envelope import Entry
from protocol.messages import Place
from tests.builders import SLOT_MS, History, attestation, genesis, slot_energy
from tests.devices import battery, device, panels
from tests.signatures import AUDITED, AUDITOR, STRANGER, attestation_now, countersigned, sealed, signing_device

from .scenes import OTHER, PROVIDER, assert_valid, assert_void, leased

FAR = Place(zone="FR", latitude_decidegrees=480, longitude_decidegrees=20)


def audited() -> History:
    """A network with an auditor."""
    return History(**AUDITED)


def level(history: History, entry: Entry) -> int:
    return history.state.attestations[entry.id].assurance


# --- device -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"storage_j": 1}, {"efficiency_permille": 999}, {"carrier": "storage"}], ids=["holds", "loses", "empty"]
)
def test_void_device_check_1_stores_without_being_a_store(changes: dict[str, Any]) -> None:
    history = audited()
    assert_void(history, history.append(PROVIDER, device(**changes)), 1)


def test_void_device_check_2_becomes_a_store() -> None:
    history = audited()
    history.append(PROVIDER, signing_device())
    changed = history.append(PROVIDER, battery(device_id="inverter"))
    assert_void(history, changed, 2, "carrier storage of device 'inverter' was hydro before")


def test_void_device_check_3_the_owner_is_its_own_meter() -> None:
    history = audited()
    assert_void(history, history.append(PROVIDER, device(key=PROVIDER.public)), 3, "is the author's own")


def test_void_device_check_4_countersignature_is_under_another_declaration() -> None:
    history = audited()
    approved = countersigned(signing_device(), PROVIDER, AUDITOR)
    grown = approved.model_copy(update={"capacity_w": 5000})
    assert_void(history, history.append(PROVIDER, grown), 4, "is not under this device")


def test_valid_device_check_1_to_4_and_the_latest_counts() -> None:
    history = audited()
    assert_valid(history, history.append(PROVIDER, signing_device()))
    assert_valid(history, history.append(PROVIDER, countersigned(device(capacity_w=600), PROVIDER, AUDITOR)))
    (record,) = history.state.devices.values()
    assert (record.device.capacity_w, record.auditors) == (600, (AUDITOR.public,))
    assert_valid(history, history.append(PROVIDER, battery()))


def test_a_device_declares_its_whole_orientation_or_none() -> None:
    with pytest.raises(ValueError, match="go together"):
        panels(azimuth_degrees=None)


# --- attestation: what the device says --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"capacity_w": 501}, "capacity_w 501 exceeds the device's 500"),
        ({"carrier": "wind"}, "carrier wind is not the device's hydro"),
        ({"place": FAR}, "place FR 480/20 decidegrees is not the device's DE 525/134"),
    ],
)
def test_void_attestation_check_6_says_otherwise_than_the_device(changes: dict[str, Any], complaint: str) -> None:
    history = audited()
    history.append(PROVIDER, signing_device())
    assert_void(history, history.append(PROVIDER, attestation(**changes)), 6, complaint)


def test_void_attestation_check_6_of_a_store_that_nobody_declared() -> None:
    history = audited()
    void = history.append(PROVIDER, attestation(carrier="storage"))
    assert_void(history, void, 6, "device 'inverter' is not declared")


def test_valid_attestation_check_6_of_a_device_declared_by_another_alone() -> None:
    history = audited()
    history.append(OTHER, device(capacity_w=1))
    assert_valid(history, history.append(PROVIDER, attestation()))
    history.append(PROVIDER, device(capacity_w=600))
    history.now_ms += SLOT_MS
    assert_valid(history, history.attestation(PROVIDER))


def test_void_attestation_check_7_signed_by_a_key_that_does_not_own_the_device() -> None:
    history = audited()
    undeclared = history.append(PROVIDER, sealed(attestation(), PROVIDER))
    assert_void(history, undeclared, 7, "is a key that does not own the device 'inverter'")
    history.append(PROVIDER, signing_device())
    foreign = history.append(PROVIDER, sealed(attestation(), PROVIDER, STRANGER))
    assert_void(history, foreign, 7, "is a key that does not own the device 'inverter'")


@pytest.mark.parametrize(
    ("changes", "end"),
    [({"meter_end_j": 12_001}, "end"), ({"meter_start_j": 1, "energy_j": 11_999}, "start"), ({"start_ms": 1}, "")],
)
def test_void_attestation_check_7_the_meter_signed_other_numbers(changes: dict[str, int], end: str) -> None:
    history = audited()
    history.append(PROVIDER, signing_device())
    changed = sealed(attestation_now(history), PROVIDER).model_copy(update=changes)
    assert_void(history, history.append(PROVIDER, changed), 1 if "start_ms" in changes else 7, end)


def test_void_attestation_check_7_the_meter_signed_for_another_owner_or_network() -> None:
    history = audited()
    history.append(PROVIDER, signing_device())
    stolen = history.append(PROVIDER, sealed(attestation(), OTHER))
    assert_void(history, stolen, 7, "meter.start_signature is not under the counter")
    elsewhere = history.append(PROVIDER, sealed(attestation(), PROVIDER, network=genesis().network_id()))
    assert_void(history, elsewhere, 7, "meter.start_signature is not under the counter")


def test_valid_attestation_check_7_signed_by_the_declared_key() -> None:
    history = audited()
    history.append(PROVIDER, signing_device())
    entry = history.append(PROVIDER, sealed(attestation(), PROVIDER))
    assert_valid(history, entry)
    assert level(history, entry) == 1


# --- attestation: what auditors say -----------------------------------------------------------------------------------


def test_void_attestation_check_8_countersignature_is_under_other_numbers() -> None:
    history = audited()
    grown = countersigned(attestation(), PROVIDER, AUDITOR).model_copy(update={"energy_j": 11_999})
    assert_void(history, history.append(PROVIDER, grown), 8, "is not under this attestation")


def test_void_attestation_check_8_countersignature_of_another_owners() -> None:
    history = audited()
    stolen = history.append(OTHER, countersigned(attestation(), PROVIDER, AUDITOR))
    assert_void(history, stolen, 8, "is not under this attestation")


def test_void_attestation_check_8_under_a_device_it_serves_for_nothing() -> None:
    history = audited()
    (signature,) = countersigned(signing_device(), PROVIDER, AUDITOR).countersignatures
    void = history.append(PROVIDER, attestation().model_copy(update={"countersignatures": (signature,)}))
    assert_void(history, void, 8, "is not under this attestation")


def test_void_attestation_check_8_a_strangers_signature_that_is_none() -> None:
    history = audited()
    (signature,) = countersigned(attestation(), PROVIDER, STRANGER, network=bytes(32)).countersignatures
    void = history.append(PROVIDER, attestation().model_copy(update={"countersignatures": (signature,)}))
    assert_void(history, void, 8)


def test_valid_attestation_check_8_countersigned_by_an_auditor_is_a2() -> None:
    history = audited()
    entry = history.append(PROVIDER, countersigned(attestation(), PROVIDER, STRANGER, AUDITOR))
    assert_valid(history, entry)
    assert level(history, entry) == 2


def test_a_strangers_countersignature_counts_for_nothing() -> None:
    history = audited()
    entry = history.append(PROVIDER, countersigned(attestation(), PROVIDER, STRANGER))
    assert_valid(history, entry)
    assert level(history, entry) == 1


def test_an_auditor_does_not_audit_itself() -> None:
    history = audited()
    entry = history.append(AUDITOR, countersigned(attestation(), AUDITOR, AUDITOR))
    assert_valid(history, entry)
    assert level(history, entry) == 1


@pytest.mark.parametrize("method", ["modelled", "grid_mix", "certificate"])
def test_what_is_not_metered_is_a0_whoever_countersigns(method: str) -> None:
    history = audited()
    entry = history.append(PROVIDER, countersigned(attestation(method=method), PROVIDER, AUDITOR))
    assert level(history, entry) == 0


@pytest.mark.parametrize(
    ("by_device", "by_meter", "expected"), [(True, True, 3), (False, True, 2), (True, False, 2), (False, False, 2)]
)
def test_a3_needs_the_meters_key_and_an_audited_device(by_device: bool, by_meter: bool, expected: int) -> None:
    history = audited()
    history.append(PROVIDER, countersigned(signing_device(), PROVIDER, *([AUDITOR] if by_device else [])))
    body = sealed(attestation(), PROVIDER) if by_meter else attestation()
    entry = history.append(PROVIDER, countersigned(body, PROVIDER, AUDITOR))
    assert_valid(history, entry)
    assert level(history, entry) == expected


def test_a_jobs_own_auditors_count_in_its_receipts_and_nowhere_else() -> None:
    for auditors, is_void in (((), True), ((STRANGER.public,), False)):
        s = leased(auditors=auditors)
        s.history.state.surplus_assurance_min = 2
        network = s.history.ledger.network
        body = countersigned(attestation_now(s.history), PROVIDER, STRANGER, network=network)
        entry = s.history.append(PROVIDER, body)
        assert level(s.history, entry) == 1
        receipt = s.history.receipt(s.lease, slot_energy(surplus_j=6000, attestation=entry.id))
        assert (s.history.void(receipt) is not None) == is_void
        if is_void:
            assert "assurance A1 is below A2" in str(s.history.void(receipt))
        else:
            record = s.history.state.receipts[receipt.id]
            assert assurance.level_of_row(s.history.state, record, 0) == 2
        certificate = s.history.certificate(entry, energy_j=1)
        assert "assurance A1 is below the network's A2" in str(s.history.void(certificate))


def test_a_row_that_cancelled_certificates_cover_is_a4() -> None:
    s = leased()
    history = s.history
    certified = history.certificate(history.attestation(PROVIDER))
    cancelled = history.cancellation(history.split(certified, 6000, 6000), PROVIDER)
    receipt = history.receipt(s.lease)
    record = history.state.receipts[receipt.id]
    history.allocation(cancelled, receipt, energy_j=5999)
    assert assurance.level_of_row(history.state, record, 0) == 0
    history.allocation(cancelled, receipt, energy_j=1)
    assert assurance.level_of_row(history.state, record, 0) == 4


def test_a_network_of_a4_issues_certificates_at_a3() -> None:
    history = History(**AUDITED, surplus_assurance_min=4)
    network = history.ledger.network
    history.append(PROVIDER, countersigned(signing_device(), PROVIDER, AUDITOR, network=network))
    low = history.append(PROVIDER, countersigned(attestation(), PROVIDER, AUDITOR, network=network))
    assert_void(history, history.certificate(low), 2, "assurance A2 is below the network's A3")
    history.now_ms += SLOT_MS
    body = attestation_now(history, meter_start_j=12_000, meter_end_j=24_000)
    high = countersigned(sealed(body, PROVIDER, network=network), PROVIDER, AUDITOR, network=network)
    assert_valid(history, history.certificate(history.append(PROVIDER, high)))


# --- the same device under two names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("MaStR:SEE900123456789", "mastr: see-900123456789", True),
        ("Marktstammdatenregister:SEE900123456789", "mastr:see900123456789", True),
        ("GS1:5712345-000000000017", "gsrn:5712345000000000017", True),
        ("mastr:1", "eic:1", False),
        ("Inverter", "inverter", False),
    ],
)
def test_ids_of_a_registry_are_compared_without_case_and_punctuation(one: str, other: str, same: bool) -> None:
    assert (assurance.comparable(one) == assurance.comparable(other)) == same


def test_void_attestation_of_the_same_device_in_another_spelling() -> None:
    history = audited()
    history.append(PROVIDER, attestation(device_id="mastr:SEE1"))
    again = history.append(PROVIDER, attestation(device_id="MaStR:SEE-1"))
    assert_void(history, again, 5, "is before the device's last ended")
