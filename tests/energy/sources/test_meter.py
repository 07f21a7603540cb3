"""Facts about a meter that signs: the reference meter itself, and how it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.ledger import Ledger
from node.claims.attesting import attestation as attested
from node.energy.meter_server import MeterConfig, counter_of, load_key, make_key, serve
from node.energy.metered import open_supply
from node.energy.signing import SignedReading, Signer
from node.energy.source import Kind, Reading, SourceError
from node.energy.sources.meter import SigningMeter, SigningMeterSource
from node.energy.supply import EnergyConfig
from node.home.toml_file import load
from protocol.devices import Device
from protocol.errors import LocalError, Refused
from protocol.messages import MeterSeal
from tests.builders import genesis, keypair, offer
from tests.energy.standin import Answer, Asked, StandIn, stand_in
from tests.signatures import METER, STRANGER

NETWORK, OWNER = genesis(), keypair(1)
AT_MS = 1_782_043_200_000
SITE: dict[str, Any] = {
    "device_id": "inverter",
    "zone": "DE",
    "latitude": 52.5,
    "longitude": 13.4,
    "carrier": "solar",
    "capacity_w": 500,
    "own_g_per_kwh": 36,
}


def signer() -> Signer:
    return Signer(METER, NETWORK.network_id(), OWNER.public, "inverter")


def counter(value: int, at_ms: int = AT_MS) -> Reading:
    return Reading(Kind.COUNTER, value, at_ms, at_ms, "metered", 20, "inverter behind glass")


def said(**changes: Any) -> dict[str, Any]:
    return signer().sign(counter(5000), AT_MS).model_dump() | changes


@pytest.fixture
def service() -> Iterator[StandIn]:
    with stand_in(lambda _: Answer(said())) as running:
        yield running


def opened(service: StandIn, **changes: Any) -> SigningMeterSource:
    given = {"source": "meter", "base_url": service.base_url, "key": METER.public.hex()}
    return SigningMeter.model_validate(given | changes).open(offer().place)


# --- how it is read ---------------------------------------------------------------------------------------------------


def test_a_signed_counter_is_read_with_its_signature(service: StandIn) -> None:
    reading = opened(service).read(AT_MS)
    assert (reading.value, reading.end_ms, reading.method, reading.uncertainty_permille) == (5000, AT_MS, "metered", 20)
    assert reading.signature is not None
    assert reading.signature.signature.hex() == said()["signature"]
    assert reading.provenance.endswith("inverter behind glass")
    assert service.asked[0].path == "/v1/reading"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"counter_j": 5001}, "signature is not under what it says"),
        ({"at_ms": AT_MS + 1}, "signature is not under what it says"),
        ({"owner": STRANGER.public.hex()}, "signature is not under what it says"),
        ({"key": STRANGER.public.hex()}, "the meter signs with key"),
        ({"kind": "power"}, "answered what its documents do not say"),
        ({"counter_j": -1}, "answered what its documents do not say"),
        ({"signature": "00"}, "answered what its documents do not say"),
    ],
)
def test_what_the_meter_did_not_sign_is_no_reading(service: StandIn, changes: dict[str, Any], complaint: str) -> None:
    service.answer = lambda _: Answer(said(**changes))
    with pytest.raises(SourceError, match=complaint):
        opened(service).read(AT_MS)


def test_a_device_that_gives_nothing_is_no_reading(service: StandIn) -> None:
    service.answer = lambda _: Answer({"fault": "away"}, status=503)
    with pytest.raises(SourceError, match="503"):
        opened(service).read(AT_MS)


# --- the meter itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "at_ms"), [(4999, AT_MS + 1), (5000, AT_MS - 1)])
def test_a_meter_signs_nothing_that_goes_back(value: int, at_ms: int) -> None:
    meter = signer()
    meter.sign(counter(5000), AT_MS)
    with pytest.raises(SourceError, match="are signed"):
        meter.sign(counter(value), at_ms)
    assert meter.sign(counter(5000), AT_MS).is_genuine


def test_a_meters_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "meter.key"
    made = make_key(path, METER.seed)
    assert load_key(path).public == made.public
    with pytest.raises(FileExistsError):
        make_key(path, STRANGER.seed)
    path.chmod(0o644)
    with pytest.raises(Refused, match="can be read by others"):
        load_key(path)
    path.chmod(0o600)
    path.write_text("no key")
    with pytest.raises(LocalError, match="holds no key"):
        load_key(path)


def test_a_meter_without_a_source_stands_for_a_declared_profile_and_says_so(tmp_path: Path) -> None:
    fields = "\n".join(f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in SITE.items())
    (tmp_path / "meter.toml").write_text(f'owner = "{OWNER.public.hex()}"\n[energy]\n{fields}\n')
    config = load(tmp_path / "meter.toml", MeterConfig)
    first, later = (counter_of(config.energy).read(at_ms) for at_ms in (AT_MS, AT_MS + 3_600_000))
    assert first.value < later.value
    assert first.method == "modelled"


def test_a_meter_signs_no_sum_of_powers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_TOKEN", "token")
    power = {"source": "homeassistant", "entity": "sensor.pv", "kind": Kind.POWER, "key_variable": "HOME_TOKEN"}
    config = EnergyConfig.model_validate(SITE | {"generation": power})
    with pytest.raises(LocalError, match="gives power; a meter signs a counter"):
        counter_of(config)


class Counting:
    """A device whose counter the test sets."""

    kind = Kind.COUNTER

    def __init__(self) -> None:
        self.reading: Reading | None = counter(5000)

    def read(self, now_ms: int) -> Reading:
        if self.reading is None:
            raise SourceError("the inverter does not answer", "Look at it.")
        return self.reading


async def test_what_the_reference_meter_signed_is_attested_under_its_key() -> None:
    device, meter = Counting(), signer()
    async with serve(meter, device, NETWORK.clock, "127.0.0.1", 0) as url:
        section = SigningMeter(source="meter", base_url=url, key=METER.public.hex(), stale_after_s=7 * 86_400)
        supply = open_supply(EnergyConfig.model_validate(SITE | {"generation": section}), NETWORK.clock)
        device.reading = counter(5000)
        assert await asyncio.to_thread(supply.read, AT_MS - 60_000, AT_MS) is None, "one reading spans nothing"
        device.reading = counter(17_000, AT_MS + 60_000)
        reading = await asyncio.to_thread(supply.read, AT_MS, AT_MS + 60_000)
        device.reading = None
        with pytest.raises(SourceError, match="503"):
            await asyncio.to_thread(supply.read, AT_MS + 60_000, AT_MS + 120_000)
    assert reading is not None
    assert reading.signatures is not None
    seal = MeterSeal(
        key=reading.signatures.key,
        start_signature=reading.signatures.start,
        end_signature=reading.signatures.end,
    )
    ledger = Ledger(NETWORK)
    place = EnergyConfig.model_validate(SITE).place
    declared = Device(
        device_id="inverter",
        carrier="solar",
        capacity_w=500,
        place=place,
        tilt_degrees=None,
        azimuth_degrees=None,
        storage_j=0,
        efficiency_permille=1000,
        key=METER.public,
        countersignatures=(),
    )
    ledger.append(OWNER, "device", declared.model_dump(), (), AT_MS)
    body = attested(reading, offer(place=place)).model_copy(update={"meter": seal})
    entry, _ = ledger.append(OWNER, "attestation", body.model_dump(), (), AT_MS + 60_000)
    assert entry.id not in ledger.state.voids
    assert ledger.state.attestations[entry.id].sealed_by is not None


def test_asked_for_something_else_it_has_nothing(service: StandIn) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(said()) if asked.path == "/v1/reading" else Answer({}, status=404)

    service.answer = answer
    with pytest.raises(SourceError, match="404"):
        opened(service, base_url=f"{service.base_url}/elsewhere").read(AT_MS)
    assert SignedReading.model_validate(said()).is_genuine
