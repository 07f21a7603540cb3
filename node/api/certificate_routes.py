"""What the API answers about certified energy, stores and devices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from node.actions import Persist
from node.api import certificate_views as views
from node.api.certificate_resources import (
    Act,
    Acted,
    Allocate,
    CancelLot,
    CertificateList,
    ChargeStore,
    DeclareDevice,
    DeviceList,
    DischargeStore,
    Issue,
    SplitLot,
    TransferLot,
)
from node.api.openapi import Route
from node.api.problems import Conflict
from node.api.signing import require_signing
from node.claims.claiming import refusal
from node.events import ClaimMade, DeviceDeclared, StoreDischarged
from node.turn import KINDS
from protocol.devices import Claim, Device
from protocol.messages import Attestation

if TYPE_CHECKING:
    from node.running.runtime import Runtime


async def certificates(runtime: Runtime, request: web.Request, _: None) -> CertificateList:
    return views.certificates(runtime.node)


async def devices(runtime: Runtime, request: web.Request, _: None) -> DeviceList:
    return views.devices(runtime.node)


async def declare_device(runtime: Runtime, request: web.Request, asked: DeclareDevice) -> DeviceList:
    """Sign a declaration, once the auditors who are there have answered: a few seconds at most."""
    device = views.device_of(asked)
    _require_valid(runtime, device, asked)
    if not asked.dry_run:
        await runtime.submit(DeviceDeclared(device))
    return views.devices(runtime.node)


async def discharge_store(runtime: Runtime, request: web.Request, asked: DischargeStore) -> DeviceList:
    """Attest what came out of a store, once the auditors who are there have answered."""
    body = views.discharge_of(asked, runtime.node, runtime.now_ms())
    _require_valid(runtime, body, asked)
    if not asked.dry_run:
        await runtime.submit(StoreDischarged(body))
    return views.devices(runtime.node)


async def _act(runtime: Runtime, request: web.Request, asked: Act) -> Acted:
    claim = views.claim_of(asked, runtime.node)
    _require_valid(runtime, claim, asked)
    entry = None
    if not asked.dry_run:
        actions = await runtime.submit(ClaimMade(claim))
        entry = next(e for a in actions if isinstance(a, Persist) for e in a.entries)
    return views.acted(runtime.node, claim, entry)


def _require_valid(runtime: Runtime, body: Claim | Device | Attestation, asked: Act) -> None:
    """Raises Refused where the node signs nothing now, and Conflict where the entry would count for nothing."""
    node = runtime.node
    if not asked.dry_run:
        require_signing(node)
    reason = refusal(node.ledger.state, node.identity, runtime.now_ms(), body)
    if reason:
        raise Conflict(
            "HEL-CERTIFICATE-005",
            f"this {KINDS[type(body)]} would count for nothing: {reason}",
            "See what there is with: heliotrope certificate list, heliotrope device show",
        )


def _handler(name: str) -> Callable[[Runtime, web.Request, Any], Awaitable[Acted]]:
    """The same handler under a name of its own, which is the operation's in the description."""

    async def act(runtime: Runtime, request: web.Request, asked: Act) -> Acted:
        return await _act(runtime, request, asked)

    act.__name__ = name
    return act


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/certificates", certificates, "Certified energy that this node holds", CertificateList),
    *(
        Route("POST", f"/v1/certificates/{name}", _handler(f"{name}_certificate"), text, Acted, takes=takes, status=201)
        for name, takes, text in (
            ("issue", Issue, "Make attested energy transferable"),
            ("split", SplitLot, "Divide a lot"),
            ("transfer", TransferLot, "Hand a lot on"),
            ("cancel", CancelLot, "Use a lot up"),
            ("allocate", Allocate, "Match cancelled energy with what was drawn"),
        )
    ),
    Route("GET", "/v1/devices", devices, "What this node has declared, and who countersigned it", DeviceList),
    Route("POST", "/v1/devices", declare_device, "Declare a device", DeviceList, takes=DeclareDevice, status=201),
    Route(
        "POST",
        "/v1/stores/discharge",
        discharge_store,
        "Attest what came out of a store",
        DeviceList,
        takes=DischargeStore,
        status=201,
    ),
    Route(
        "POST", "/v1/stores/charge", _handler("charge_store"), "Charge a store", Acted, takes=ChargeStore, status=201
    ),
)
