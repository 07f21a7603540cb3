"""Resources about certified energy, stores and devices: what an operator asks for, and what there is.

Entries are named by the first digits of their id, eight at least; peers by peer id or key.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from node.api.resources import Hex, Peer
from node.documents import Strict
from protocol.messages import Count, Name, Permille, Positive, Text

EntryName = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
ClaimKind = Literal["certificate", "split", "transfer", "cancellation", "allocation", "charge"]
PeerName = Annotated[str, Field(min_length=1, max_length=64)]


class Act(Strict):
    """Base of what may be asked for. `dry_run`: judge it and sign nothing."""

    dry_run: bool = False


class Issue(Act):
    """`energy_j` absent: all that is left of the attestation; `holder` absent: this node."""

    attestation: EntryName
    energy_j: Positive | None = None
    holder: PeerName | None = None


class OnLot(Act):
    """Base of what spends a lot: that which its entry made, at this place."""

    entry: EntryName
    index: Count = 0


class SplitLot(OnLot):
    parts_j: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=256)]


class TransferLot(OnLot):
    recipient: PeerName


class CancelLot(OnLot):
    """`beneficiary` absent: this node."""

    beneficiary: PeerName | None = None
    purpose: Text = ""


class Allocate(Act):
    """`energy_j` absent: as much as the cancelled and the row have left."""

    cancellation: EntryName
    receipt: EntryName
    row: Count = 0
    energy_j: Positive | None = None


class ChargeStore(Act):
    """From either an attestation of this node's or a lot; `energy_j` absent: all of it."""

    device_id: Name
    attestation: EntryName | None = None
    lot: EntryName | None = None
    index: Count = 0
    energy_j: Positive | None = None


class LotOf(Strict):
    """Certified energy in one pair of hands."""

    entry: Hex
    index: int
    holder: Peer
    energy_j: int
    status: str
    attestation: Hex
    producer: Peer
    zone: str
    start_ms: int
    end_ms: int
    own_g_per_kwh: int
    assurance: int


class Acted(Strict):
    """What was signed, or would be."""

    kind: ClaimKind
    entry: Hex | None  # None: nothing was signed
    energy_j: int
    lots: tuple[LotOf, ...]  # that it made


class CancellationOf(Strict):
    entry: Hex
    beneficiary: Peer
    energy_j: int
    allocated_j: int
    zone: str
    start_ms: int


class CertificateList(Strict):
    """Lots that this node holds, and what was cancelled in its favour."""

    lots: tuple[LotOf, ...]
    cancellations: tuple[CancellationOf, ...]


class DeviceOf(Strict):
    """A declared device of this node's. `held_j`: what is in it, if it is a store."""

    entry: Hex
    device_id: str
    carrier: str
    capacity_w: int
    zone: str
    latitude: float
    longitude: float
    tilt_degrees: int | None
    azimuth_degrees: int | None
    storage_j: int
    efficiency_permille: int
    held_j: int | None
    key: Hex | None
    auditors: tuple[Peer, ...]


class DeviceList(Strict):
    """`waiting`: declarations and discharges that auditors have not answered yet. `unaudited`: why the newest
    attestation has no countersignature; empty if it has one, or would gain nothing by it."""

    devices: tuple[DeviceOf, ...]
    waiting: int
    unaudited: str


class DeclareDevice(Act):
    """See kind `device` in the protocol's specification."""

    device_id: Name
    carrier: Literal["solar", "wind", "hydro", "grid", "storage"]
    capacity_w: Count
    zone: str
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    tilt_degrees: Annotated[int, Field(ge=0, le=90)] | None = None
    azimuth_degrees: Annotated[int, Field(ge=0, le=359)] | None = None
    storage_j: Count = 0
    efficiency_permille: Annotated[int, Field(ge=1, le=1000)] = 1000
    key: Hex | None = None


class DischargeStore(Act):
    """What came out of a store in the last `seconds`, or since the last discharge that is attested: its counter rose to
    `counter_j`. `energy_j` absent: all that it rose by."""

    device_id: Name
    counter_j: Count
    seconds: Annotated[int, Field(ge=1, le=3600)] | None = None
    energy_j: Count | None = None
    uncertainty_permille: Permille = 20
