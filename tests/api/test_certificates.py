"""Certified energy, stores and devices through the API: what is asked for is judged first, and then signed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.api.problems import Conflict, NotFound
from node.client import Client
from node.documents import Invalid
from node.energy.profile import Profile
from node.events import ClaimMade, MessageReceived, PeerConnected
from protocol.devices import Charge
from protocol.direct import Countersigned, encode_direct
from protocol.errors import LocalError, Refused
from protocol.identity import peer_id
from tests.api.host import SITE, TOKEN, Host, served
from tests.builders import NOW_MS, SLOT_MS, History, keypair
from tests.devices import battery
from tests.signatures import AUDITED, AUDITOR

US, BUYER = keypair(0), keypair(1)


class Seller:
    """A node that has attested and delivered; `energy` is its attestation of twelve kilojoules, `drawn` its receipt."""

    def __init__(self, directory: Path, *, may_sign: bool = True, **genesis: Any) -> None:
        history = History(**genesis)
        history.offer(US)
        job = history.job(BUYER)
        lease = history.lease(history.award(job, history.placement(history.bid(US, job))))
        history.now_ms += SLOT_MS
        self.energy = history.attestation(US).id.hex()
        self.drawn = history.receipt(lease).id.hex()
        history.append(US, battery())
        raws = tuple(entry.raw for entry in history.entries)
        self.host = Host(directory, raws=raws, network=history.ledger.genesis, may_sign=may_sign)
        self.host.clock_ms = history.now_ms

    async def ask(self, *questions: Callable[[Client], Any]) -> list[Any]:
        async with served(self.host) as url:
            client = Client(url, TOKEN)
            return [await asyncio.to_thread(question, client) for question in questions]

    async def act(self, name: str, **asked: Any) -> Any:
        (answer,) = await self.ask(lambda client: client.act(f"/v1/certificates/{name}", asked))
        return answer


@pytest.fixture
def seller(tmp_path: Path) -> Seller:
    return Seller(tmp_path)


async def test_energy_is_issued_split_cancelled_and_matched(seller: Seller) -> None:
    made = await seller.act("issue", attestation=seller.energy[:12])
    assert (made["kind"], made["energy_j"]) == ("certificate", 12_000)
    (lot,) = made["lots"]
    assert (lot["holder"]["key"], lot["status"], lot["assurance"]) == (US.public.hex(), "held", 1)
    split = await seller.act("split", entry=lot["entry"], parts_j=[5000, 7000])
    assert [part["energy_j"] for part in split["lots"]] == [5000, 7000]
    used = await seller.act("cancel", entry=split["entry"], index=1, purpose="training")
    matched = await seller.act("allocate", cancellation=used["entry"], receipt=seller.drawn)
    assert (matched["kind"], matched["energy_j"]) == ("allocation", 6000), "as much as the row drew"
    (held,) = await seller.ask(lambda client: client.certificates())
    assert [lot["energy_j"] for lot in held["lots"]] == [5000]
    (favour,) = held["cancellations"]
    assert (favour["energy_j"], favour["allocated_j"]) == (7000, 6000)


async def test_a_lot_that_was_handed_on_is_held_no_more(seller: Seller) -> None:
    made = await seller.act("issue", attestation=seller.energy, energy_j=1)
    sold = await seller.act("transfer", entry=made["entry"], recipient=peer_id(BUYER.public))
    assert sold["lots"][0]["holder"]["key"] == BUYER.public.hex()
    (held,) = await seller.ask(lambda client: client.certificates())
    assert held["lots"] == []


async def test_a_dry_run_signs_nothing(seller: Seller) -> None:
    before = seller.host.node.ledger.count
    would = await seller.act("issue", attestation=seller.energy, dry_run=True)
    assert (would["entry"], would["energy_j"], would["lots"]) == (None, 12_000, [])
    assert seller.host.node.ledger.count == before
    with pytest.raises(Conflict, match="check 4: energy_j 12001 exceeds the 12000 J that are left"):
        await seller.act("issue", attestation=seller.energy, energy_j=12_001, dry_run=True)


@pytest.mark.parametrize(
    ("name", "asked", "error", "complaint"),
    [
        ("issue", {"attestation": "00000000"}, NotFound, "no attestation that begins with '00000000'"),
        ("issue", {"attestation": "{energy}", "energy_j": 12_001}, Conflict, "would count for nothing: check 4"),
        ("issue", {"attestation": "{energy}", "holder": "nobody"}, LocalError, "64 hexadecimal digits or a peer id"),
        ("issue", {"attestation": "{energy}", "energy_j": 0}, Invalid, "energy_j"),
        ("split", {"entry": "{energy}", "parts_j": [1, 2]}, NotFound, "no lot that begins with"),
        ("allocate", {"cancellation": "{energy}", "receipt": "{drawn}"}, NotFound, "no cancellation that begins"),
    ],
)
async def test_what_would_count_for_nothing_is_refused_before_it_is_signed(
    seller: Seller, name: str, asked: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    before = seller.host.node.ledger.count
    names = {"{energy}": seller.energy, "{drawn}": seller.drawn}
    with pytest.raises(error, match=complaint):
        await seller.act(name, **{field: names.get(str(value), value) for field, value in asked.items()})
    assert seller.host.node.ledger.count == before


async def test_a_receipt_without_such_a_row_is_not_matched(seller: Seller) -> None:
    made = await seller.act("issue", attestation=seller.energy)
    used = await seller.act("cancel", entry=made["entry"])
    with pytest.raises(NotFound, match="has 1 rows of energy, and no row 1"):
        await seller.act("allocate", cancellation=used["entry"], receipt=seller.drawn, row=1)


async def test_a_node_that_may_not_sign_only_tries(tmp_path: Path) -> None:
    seller = Seller(tmp_path, may_sign=False)
    assert (await seller.act("issue", attestation=seller.energy, dry_run=True))["entry"] is None
    with pytest.raises(Refused, match="signs nothing now"):
        await seller.act("issue", attestation=seller.energy)


async def test_a_battery_is_charged_from_an_attestation_and_from_a_lot(seller: Seller) -> None:
    def charge(**asked: Any) -> Callable[[Client], Any]:
        return lambda client: client.act("/v1/stores/charge", {"device_id": "battery"} | asked)

    lot = await seller.act("issue", attestation=seller.energy, energy_j=2000)
    bought, sunned, shown = await seller.ask(
        charge(lot=lot["entry"]), charge(attestation=seller.energy), lambda client: client.devices()
    )
    assert (bought["energy_j"], sunned["energy_j"]) == (2000, 10_000)
    assert shown["devices"][0]["held_j"] == 1800 + 9000


# --- devices ----------------------------------------------------------------------------------------------------------

PANELS = {
    "device_id": "inverter",
    "carrier": "solar",
    "capacity_w": 500,
    "zone": "DE",
    "latitude": 52.5,
    "longitude": 13.4,
    "tilt_degrees": 30,
    "azimuth_degrees": 180,
}


def declare(**changes: Any) -> Callable[[Client], Any]:
    return lambda client: client.act("/v1/devices", PANELS | changes)


async def test_a_device_is_declared_at_once_where_there_is_no_auditor(seller: Seller) -> None:
    (answer,) = await seller.ask(declare())
    found = {device["device_id"]: device for device in answer["devices"]}
    assert found["inverter"]["azimuth_degrees"] == 180
    assert (found["inverter"]["auditors"], answer["waiting"]) == ([], 0)


async def test_a_declaration_waits_for_the_auditor(tmp_path: Path) -> None:
    seller = Seller(tmp_path, auditors=AUDITED["auditors"])
    seller.host.turn(PeerConnected(AUDITOR.public))
    (answer,) = await seller.ask(declare())
    assert (answer["waiting"], [d["device_id"] for d in answer["devices"]]) == (1, ["battery"])
    refused = Countersigned(body_sha256=bytes(32), signature=None, check=2, reason="not asked")
    seller.host.turn(MessageReceived(AUDITOR.public, encode_direct(refused)))
    assert seller.host.node.attesting.operators_waiting == 1, "an answer to another question"


@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        ({"tilt_degrees": 91}, Invalid, "tilt_degrees"),
        ({"zone": "de"}, Invalid, "zone"),
        ({"storage_j": 1}, Conflict, "check 1: storage_j 1 with carrier solar"),
        ({"device_id": "battery"}, Conflict, "check 2: carrier solar of device 'battery' was storage before"),
    ],
)
async def test_an_impossible_device_is_refused(
    seller: Seller, changes: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        await seller.ask(declare(**changes))


# --- what comes out of a battery --------------------------------------------------------------------------------------


def discharge(**asked: Any) -> Callable[[Client], Any]:
    return lambda client: client.act("/v1/stores/discharge", {"device_id": "battery"} | asked)


def charged(seller: Seller) -> Seller:
    """The battery holds 10,800 J, and what the grid emits is known."""
    seller.host.node.sourcing.newest = Profile(SITE).read(NOW_MS, NOW_MS + SLOT_MS)
    energy = bytes.fromhex(seller.energy)
    seller.host.turn(ClaimMade(Charge(device_id="battery", attestation=energy, lot=None, energy_j=12_000)))
    seller.host.clock_ms += 2 * SLOT_MS
    return seller


async def test_what_came_out_of_a_battery_is_attested_as_dirty_as_what_went_in(seller: Seller) -> None:
    charged(seller)
    (shown,) = await seller.ask(discharge(counter_j=10_000, seconds=60))
    assert shown["devices"][0]["held_j"] == 800
    newest = seller.host.node.ledger.state.newest_of_device[US.public, "battery"]
    assert (newest.energy_j, newest.own_g_per_kwh, newest.method) == (10_000, 40, "metered")
    seller.host.clock_ms += SLOT_MS
    (shown,) = await seller.ask(discharge(counter_j=10_800))
    assert shown["devices"][0]["held_j"] == 0


@pytest.mark.parametrize(
    ("asked", "error", "complaint"),
    [
        ({"counter_j": 10_801, "seconds": 60}, Conflict, "check 9: energy_j 10801 exceeds the 10800 J"),
        ({"counter_j": 1}, Conflict, "since when its counter rose is not known"),
        ({"counter_j": 1, "device_id": "inverter"}, NotFound, "is no battery that this node has declared"),
        ({"counter_j": 1, "seconds": 3601}, Invalid, "seconds"),
    ],
)
async def test_what_did_not_go_in_does_not_come_out(
    seller: Seller, asked: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        await charged(seller).ask(discharge(**asked))


async def test_a_battery_waits_until_the_grid_is_known(seller: Seller) -> None:
    with pytest.raises(Conflict, match="what the grid emits is not known yet"):
        await seller.ask(discharge(counter_j=1, seconds=60))
