"""What the API answers, route by route, and the table of all routes. Handlers read the node's state between two turns,
and change it only by submitting an event."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ledger.archive import MATCHING_MAX_BYTES
from ledger.state import JobRecord
from node.accounts.auditing import recorded_matchings
from node.actions import Persist
from node.api import (
    certificate_routes,
    credit_views,
    energy_views,
    finding_routes,
    job_views,
    ledger_routes,
    peer_routes,
    streams,
    views,
)
from node.api.carbon_views import carbon_of
from node.api.energy_resources import EnergyNow, RuleList
from node.api.ledger_resources import EntryOf, EntryPage, ForkList, HeadList, JobAuditOf, Verification
from node.api.ledger_routes import EntriesQuery
from node.api.ledger_views import find_job
from node.api.metrics import exposition
from node.api.openapi import BINARY_TYPE, EVENTS_TYPE, JSON_TYPE, TEXT_TYPE, Route, document
from node.api.problems import Conflict, NotFound, NotReady
from node.api.resources import (
    AccountList,
    AccountOf,
    BlobOf,
    DryRun,
    Health,
    JobCarbon,
    JobDetail,
    JobList,
    OfferList,
    Payment,
    Readiness,
    ThisNode,
)
from node.api.signing import require_signing
from node.documents import Fault, invalid
from node.energy.rules import parse_rules
from node.events import (
    DebtPaid,
    JobCancelled,
    JobSubmitted,
    RulesChanged,
)
from node.home.jobfile import JobRequest
from node.home.keys import key_of
from node.market.question import answer, summary_of_record
from node.version import version
from protocol.errors import LocalError, Refused
from protocol.messages import Job

if TYPE_CHECKING:
    from node.running.runtime import Runtime

# --- the node and its neighbours ----------------------------------------------------------------------------------


async def health(runtime: Runtime, request: web.Request, _: None) -> Health:
    return Health()


async def readiness(runtime: Runtime, request: web.Request, _: None) -> Readiness:
    reasons = views.not_ready(runtime.node, runtime.now_ms())
    if reasons:
        raise NotReady(tuple(Fault(reason.concern, reason.text) for reason in reasons))
    return Readiness()


async def this_node(runtime: Runtime, request: web.Request, _: None) -> ThisNode:
    started = runtime.started_at_unix_ms
    return views.this_node(runtime.node, runtime.now_ms(), version=version(), started_at_unix_ms=started)


async def energy(runtime: Runtime, request: web.Request, _: None) -> EnergyNow:
    return energy_views.energy(runtime.node, runtime.now_ms())


async def set_rules(runtime: Runtime, request: web.Request, asked: RuleList) -> EnergyNow:
    """Have these rules, and no others, from now on."""
    try:
        rules = parse_rules(asked.rules)
    except LocalError as error:
        raise invalid("the rules", [Fault("rules", error.cause)]) from None
    require_signing(runtime.node)
    await runtime.submit(RulesChanged(rules))
    return energy_views.energy(runtime.node, runtime.now_ms())


async def metrics(runtime: Runtime, request: web.Request, _: None) -> str:
    return exposition(runtime.node, runtime.guarding.facts(), runtime.traffic, runtime.now_ms())


async def offers(runtime: Runtime, request: web.Request, _: None) -> OfferList:
    return views.offers(runtime.node, runtime.now_ms())


# --- jobs ---------------------------------------------------------------------------------------------------------


async def jobs(runtime: Runtime, request: web.Request, _: None) -> JobList:
    return job_views.jobs(runtime.node)


async def job(runtime: Runtime, request: web.Request, _: None) -> JobDetail:
    return job_views.detail(runtime.node, _job(runtime, request))


async def job_carbon(runtime: Runtime, request: web.Request, _: None) -> JobCarbon:
    """The record of the job's first matching, if it is here, says what other choices would have emitted."""
    record, node = _job(runtime, request), runtime.node

    def summary() -> dict[str, Any] | None:
        raws = (runtime.blobs.read(sha256, MATCHING_MAX_BYTES) for sha256 in recorded_matchings(record))
        first = next(raws, None)
        return None if first is None else summary_of_record(first)

    run = node.requester.runs.get(record.id)
    return carbon_of(node.ledger.state, record, run, await runtime.compute(summary))


async def submit_job(runtime: Runtime, request: web.Request, asked: JobRequest) -> JobDetail:
    """Sign and record the job; bids are awaited from now on."""
    if not runtime.config.market.buys:
        remedy = "Submit it through another node, or set `buys` under [market] in config.toml and restart with `up`."
        raise Refused("HEL-JOB-013", "this node buys nothing: it keeps the ledger, or is a witness", remedy)
    require_signing(runtime.node)
    wanted = asked.job(runtime.genesis, runtime.now_ms())
    _require_data(runtime, wanted)
    actions = await runtime.submit(JobSubmitted(wanted))
    entry = next(e for a in actions if isinstance(a, Persist) for e in a.entries if e.kind == "job")
    record = runtime.node.ledger.state.jobs.get(entry.id)
    if record is None:
        why = runtime.node.ledger.state.voids.get(entry.id, "it waits for other entries")
        raise LocalError("HEL-JOB-004", f"the job does not count: {why}", "Submit it again.")
    return job_views.detail(runtime.node, record)


async def plan_job(runtime: Runtime, request: web.Request, asked: JobRequest) -> DryRun:
    """What the matching would choose now; nothing is recorded, nobody asked."""
    wanted = asked.job(runtime.genesis, runtime.now_ms())
    candidates, demand = job_views.question(runtime.node, wanted, runtime.now_ms())

    plan, _, totals = await runtime.compute(answer, candidates, demand)
    return job_views.dry_run(wanted, plan, totals)


async def cancel_job(runtime: Runtime, request: web.Request, _: None) -> JobDetail:
    """Close an own job; what was done until now is receipted and paid."""
    require_signing(runtime.node)
    record = _job(runtime, request)
    if record.owner != runtime.node.identity.key:
        cause = f"job {record.id.hex()[:16]} belongs to {views.peer(runtime.node, record.owner).label}"
        raise Refused("HEL-JOB-005", cause, "Only the node that submitted a job can cancel it.")
    if record.closure is not None:
        raise Conflict(
            "HEL-JOB-006", f"job {record.id.hex()[:16]} is {record.status} already", "Nothing is to be done."
        )
    await runtime.submit(JobCancelled(record.id))
    return job_views.detail(runtime.node, record)


def _job(runtime: Runtime, request: web.Request) -> JobRecord:
    return find_job(runtime.node.ledger.state, request.match_info["id"])


def _require_data(runtime: Runtime, wanted: Job) -> None:
    """The lead serves a job's texts to the workers: it must hold them."""
    faults = []
    for index, blob in enumerate(wanted.training.data):
        if blob.sha256 not in runtime.blobs:
            faults.append(
                Fault(f"training.data.{index}", f"blob {blob.sha256.hex()} is not on this node: upload it first")
            )
        elif (held := runtime.blobs.path(blob.sha256).stat().st_size) != blob.size_bytes:
            faults.append(
                Fault(f"training.data.{index}.size_bytes", f"the blob has {held} bytes, not {blob.size_bytes}")
            )
    if faults:
        raise invalid("the job", faults)


# --- credit -------------------------------------------------------------------------------------------------------


async def credit(runtime: Runtime, request: web.Request, _: None) -> AccountList:
    return credit_views.accounts(runtime.node)


async def record_payment(runtime: Runtime, request: web.Request, paid: Payment) -> AccountOf:
    """Sign what a debtor has paid over all time. It can neither be more than it has acknowledged, nor fall."""
    node, total = runtime.node, paid.total_microcredits
    try:
        debtor = key_of(paid.debtor)
    except LocalError:
        fault = Fault("debtor", f"expected 64 hexadecimal digits or a peer id, not {paid.debtor!r}")
        raise invalid("the request", [fault]) from None
    own = credit_views.account(node, debtor)
    if own is None:
        raise NotFound(
            "HEL-CREDIT-001",
            f"{views.peer(node, debtor).label} has acknowledged no debt to this node",
            "List who has with: heliotrope credit list",
        )
    low, high = own.paid_microcredits, own.acknowledged_microcredits
    if not low <= total <= high:
        raise Conflict(
            "HEL-CREDIT-002",
            f"total_microcredits {total} is not within {low}, as you said last, and {high}, as acknowledged",
            "Give the sum of all payments, not the last one alone.",
        )
    await runtime.submit(DebtPaid(debtor, total))
    return credit_views.account(node, debtor) or own


# --- the table ----------------------------------------------------------------------------------------------------


async def describe(runtime: Runtime, request: web.Request, _: None) -> str:
    return _description()


@cache
def _description() -> str:
    return json.dumps(document(ROUTES, version()))


ROUTES: tuple[Route, ...] = (
    Route("GET", "/healthz", health, "The process answers", Health, open=True),
    Route("GET", "/readyz", readiness, "The node can do its work; 503 with every reason why not", Readiness),
    Route("GET", "/v1/node", this_node, "This node: who, where, since when, doing what", ThisNode),
    Route("GET", "/metrics", metrics, "The node in numbers, for Prometheus", TEXT_TYPE),
    Route("GET", "/v1/energy", energy, "Own power: sources, newest reading, forecast", EnergyNow),
    Route("PUT", "/v1/energy/rules", set_rules, "Replace the operator's rules", EnergyNow, takes=RuleList),
    *peer_routes.ROUTES,
    *finding_routes.ROUTES,
    Route("GET", "/v1/offers", offers, "What could be bought now, by the newest adverts", OfferList),
    Route("GET", "/v1/jobs", jobs, "Every job that the ledger knows, the newest first", JobList),
    Route("POST", "/v1/jobs", submit_job, "Submit a job", JobDetail, takes=JobRequest, status=201),
    Route("POST", "/v1/jobs/plan", plan_job, "What the matching would choose now", DryRun, takes=JobRequest),
    Route("GET", "/v1/jobs/{id}", job, "A job: placements, rounds, energy and carbon, receipts", JobDetail),
    Route("GET", "/v1/jobs/{id}/carbon", job_carbon, "A job's carbon in several ways, with bounds", JobCarbon),
    Route("POST", "/v1/jobs/{id}/cancel", cancel_job, "Cancel an own job", JobDetail),
    Route("GET", "/v1/credit", credit, "What this node is owed and owes", AccountList),
    Route("POST", "/v1/credit/payments", record_payment, "Say what was paid", AccountOf, takes=Payment, status=201),
    *certificate_routes.ROUTES,
    Route("PUT", "/v1/blobs/{sha256}", streams.put_blob, "Upload a text", BlobOf, takes=BINARY_TYPE),
    Route("GET", "/v1/blobs/{sha256}", streams.get_blob, "Download a blob", BINARY_TYPE),
    Route("GET", "/v1/jobs/{id}/audit", ledger_routes.audit, "Repeat the matchings behind a job's awards", JobAuditOf),
    Route("GET", "/v1/ledger/entries", ledger_routes.entries, "Entries in order", EntryPage, query=EntriesQuery),
    Route("GET", "/v1/ledger/entries/{id}", ledger_routes.entry, "One entry", EntryOf),
    Route("GET", "/v1/ledger/entries/{id}/proof", ledger_routes.prove, "That a feed holds an entry", TEXT_TYPE),
    Route("GET", "/v1/ledger/heads", ledger_routes.heads, "The newest entry of every feed", HeadList),
    Route("GET", "/v1/ledger/forks", ledger_routes.forks, "Authors that signed two histories", ForkList),
    Route("GET", "/v1/ledger/export", streams.export_ledger, "The ledger as one file", BINARY_TYPE),
    Route("GET", "/v1/ledger/verify", ledger_routes.verify, "Check all that is stored again", Verification),
    Route("GET", "/v1/events", streams.events, "Events", EVENTS_TYPE, query=streams.EventsQuery),
    Route("GET", "/openapi.json", describe, "This description", JSON_TYPE),
)
