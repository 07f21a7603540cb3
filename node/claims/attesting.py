"""From readings to attestations: signs what the meter said, with an auditor's countersignature where one is to be had.

An auditor is asked before the entry is signed, since its signature stands in the entry. Whoever does not answer within
ASK_MS is done without: the reading is attested all the same, at A1, and `status` says why. Readings are attested in the
order in which they came; a declaration waits in the same line.

Auditors are those of the genesis, and those of the jobs we have a running lease for, as far as they are connected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from ledger import solar
from ledger.assurance import comparable
from ledger.rules import Void
from ledger.state import DeviceRecord
from ledger.storage import require_agreement
from node.actions import Send, SetTimeout
from node.energy.supply import SupplyReading
from node.events import Timer, TimerKind
from node.peers import Peers
from node.turn import KINDS, Turn
from protocol.codec import encode
from protocol.devices import Device, audited_statement, counter_statement
from protocol.direct import Countersigned, WantCountersignature
from protocol.identity import peer_id, short, verify
from protocol.messages import COUNTERSIGNATURES_MAX, Attestation, Countersignature, MeterSeal, Offer
from protocol.units import ceil_div

ASK_MS = 3_000  # guess, not measured: a round trip, a file and a dozen signatures take a tenth of it


@dataclass(slots=True)
class Pending:
    """A body that waits for its auditors."""

    number: int
    body: Attestation | Device
    asked: set[bytes]  # auditors that have not answered yet
    signatures: list[Countersignature] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    is_due: bool = False

    @property
    def is_decided(self) -> bool:
        return self.is_due or not self.asked

    def signed(self) -> Attestation | Device:
        return self.body.model_copy(update={"countersignatures": tuple(self.signatures)})


@dataclass(slots=True)
class Attesting:
    """`unaudited`: why the newest attestation has no countersignature; "" if it has one, or would gain nothing."""

    peers: Peers
    line: deque[Pending] = field(default_factory=deque)
    asked: int = 0
    unaudited: str = ""

    @property
    def is_waiting(self) -> bool:
        """Whether a reading is not attested yet."""
        return bool(self.line)

    @property
    def operators_waiting(self) -> int:
        """How much of it our operator said: declarations, and what came out of stores."""
        return sum(isinstance(p.body, Device) or p.body.carrier == "storage" for p in self.line)

    def on_reading(self, turn: Turn, reading: SupplyReading, offer: Offer) -> None:
        """Attest a reading, once its auditors have answered; one that lies before the last attested is let pass."""
        device_id = comparable(reading.device_id)
        ends_ms = [
            pending.body.end_ms
            for pending in self.line
            if isinstance(pending.body, Attestation) and comparable(pending.body.device_id) == device_id
        ]
        if newest := turn.state.newest_of_device.get((turn.identity.key, device_id)):
            ends_ms.append(newest.end_ms)
        if reading.start_ms < max(ends_ms, default=0):
            return
        body = attestation(reading, offer)
        device = turn.state.devices.get((turn.identity.key, device_id))
        try:
            require_agreement(device, body, 6)
        except Void as void:
            turn.notify("reading not attested", reason=f"{void}; declare the device anew: heliotrope device declare")
            return
        meter = _seal(turn, body, reading)
        if meter is not None and (device is None or device.device.key != meter.key):
            turn.notify("meter's signature unused", reason="its key is not declared: heliotrope device declare")
            meter = None
        self._ask(turn, _believable(turn, body, device).model_copy(update={"meter": meter}))

    def on_signed(self, turn: Turn, body: Attestation | Device) -> None:
        """Our operator declares a device, or says what came out of a store."""
        self._ask(turn, body)

    def on_countersigned(self, turn: Turn, peer: bytes, message: Countersigned) -> None:
        """An auditor's answer. A signature that is none would void our entry: it is not believed unseen."""
        for pending in self.line:
            if peer in pending.asked and message.body_sha256 == sha256(_bytes(pending.body)).digest():
                pending.asked.discard(peer)
                self._take(turn, pending, peer, message)
        self._record_decided(turn)

    def on_due(self, turn: Turn, timer: Timer) -> None:
        """Whoever has not answered is done without."""
        for pending in self.line:
            if pending.number == timer.number:
                pending.is_due = True
                pending.refusals += [f"{short(auditor)} did not answer" for auditor in sorted(pending.asked)]
        self._record_decided(turn)

    def _ask(self, turn: Turn, body: Attestation | Device) -> None:
        auditors = self._auditors(turn) if can_gain(body) else ()
        self.asked += 1
        pending = Pending(self.asked, body, set(auditors))
        if not auditors and can_gain(body) and turn.state.auditors:
            pending.refusals.append(f"none of {len(turn.state.auditors)} auditors is connected")
        self.line.append(pending)
        message = WantCountersignature(kind="device" if isinstance(body, Device) else "attestation", body=_bytes(body))
        for auditor in auditors:
            turn.do(Send(auditor, message))
        if auditors:
            turn.do(SetTimeout(Timer(TimerKind.COUNTERSIGNATURES_DUE, number=pending.number), ASK_MS))
        self._record_decided(turn)

    def _auditors(self, turn: Turn) -> tuple[bytes, ...]:
        me = turn.identity.key
        named = list(turn.state.auditors)
        for lease in turn.state.leases_of.get(me, ()):
            if not lease.is_over:
                named += lease.placement.job.job.auditors
        found = (key for key in dict.fromkeys(named) if key in self.peers.connected and key != me)
        return tuple(found)[:COUNTERSIGNATURES_MAX]

    def _take(self, turn: Turn, pending: Pending, auditor: bytes, message: Countersigned) -> None:
        kind = KINDS[type(pending.body)]
        fields = pending.body.model_dump()
        statement = audited_statement(turn.identity.network, turn.identity.key, kind, fields)
        if message.signature is None:
            reason = f"{short(auditor)} refused: check {message.check}: {message.reason}"
        elif not verify(auditor, statement, message.signature):
            reason = f"{short(auditor)} answered with a signature that is not under this {kind}"
        else:
            pending.signatures.append(Countersignature(auditor=auditor, signature=message.signature))
            return
        pending.refusals.append(reason)
        turn.notify("no countersignature", auditor=peer_id(auditor), entry_kind=kind, reason=reason)

    def _record_decided(self, turn: Turn) -> None:
        """In the order of the line: an attestation that overtook an earlier one would void it."""
        while self.line and self.line[0].is_decided:
            pending = self.line.popleft()
            body = pending.signed()
            entry = turn.record(body, ())
            reason = "" if pending.signatures else "; ".join(pending.refusals)
            if isinstance(body, Attestation):
                self.unaudited = reason
            elif entry is not None:
                turn.notify("device declared", device_id=body.device_id, countersigned=len(pending.signatures))


def can_gain(body: Attestation | Device) -> bool:
    """Whether a countersignature raises anything: what is not metered stays at A0."""
    return isinstance(body, Device) or body.method == "metered"


def attestation(reading: SupplyReading, offer: Offer) -> Attestation:
    """A reading as it is attested, not signed by a meter or an auditor yet."""
    return Attestation(
        device_id=reading.device_id,
        carrier=reading.carrier,
        method=reading.method,
        start_ms=reading.start_ms,
        end_ms=reading.end_ms,
        energy_j=reading.energy_j,
        meter_start_j=reading.meter_start_j,
        meter_end_j=reading.meter_end_j,
        capacity_w=reading.capacity_w,
        place=offer.place,
        own_g_per_kwh=reading.own_g_per_kwh,
        grid_g_per_kwh=reading.grid_g_per_kwh,
        intensity_kind=reading.intensity_kind,
        intensity_source=reading.intensity_source,
        uncertainty_permille=reading.uncertainty_permille,
        source=reading.source,
        marginal_g_per_kwh=reading.marginal_g_per_kwh,
        carbon_free_permille=reading.carbon_free_permille,
    )


def _believable(turn: Turn, body: Attestation, device: DeviceRecord | None) -> Attestation:
    """The same, claiming no more than the ledger believes. A counter that moves in large steps, or is read late, says
    more of a minute than the source can give; what is left out is lost, and the rest counts."""
    most_j = min(body.energy_j, ceil_div(body.capacity_w * (body.end_ms - body.start_ms), 1000))
    fault = solar.attestation_fault(
        body.model_copy(update={"energy_j": most_j}), None if device is None else device.device
    )
    if fault is not None:
        most_j = fault.bound_j
    if most_j < body.energy_j:
        reason = f"the counter rose by more than the source can give: {most_j} of {body.energy_j} J are claimed"
        turn.notify("reading cut", device_id=body.device_id, reason=reason)
    return body.model_copy(update={"energy_j": most_j})


def _bytes(body: Attestation | Device) -> bytes:
    """What an auditor is sent."""
    return encode(body.model_dump())


def _seal(turn: Turn, body: Attestation, reading: SupplyReading) -> MeterSeal | None:
    """The meter's signatures, if there are both and they are under these counters; else a notice says why not."""
    signatures = reading.signatures
    if signatures is None:
        return None
    ends: Mapping[str, tuple[int, int, bytes]] = {
        "start": (body.start_ms, body.meter_start_j, signatures.start),
        "end": (body.end_ms, body.meter_end_j, signatures.end),
    }
    for end, (at_ms, counter_j, signature) in ends.items():
        statement = counter_statement(turn.identity.network, turn.identity.key, body.device_id, at_ms, counter_j)
        if not verify(signatures.key, statement, signature):
            reason = f"the {end} is not signed for this network, owner and device, {counter_j} J at {at_ms} ms"
            turn.notify("meter's signature unused", reason=reason)
            return None
    return MeterSeal(key=signatures.key, start_signature=signatures.start, end_signature=signatures.end)
