"""What the API answers about the ledger. As `routes`: state is read between two turns, the store on worker threads."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from aiohttp import web
from pydantic import Field

from ledger.archive import MATCHING_MAX_BYTES
from ledger.archive.check import Check
from ledger.audit import violations
from ledger.state import JobRecord
from node.accounts.auditing import JobAudit, audit_awards, audit_energy, recorded_matchings
from node.api import ledger_views, streams, views
from node.api.audit_views import audit_of
from node.api.ledger_resources import EntryOf, EntryPage, ForkList, HeadList, JobAuditOf, Verification
from node.api.openapi import TEXT_TYPE
from node.api.problems import NotFound
from node.documents import Fault, Strict, invalid
from node.events import MatchingsWanted
from protocol.envelope import parse
from protocol.errors import LocalError
from protocol.messages import Count

if TYPE_CHECKING:
    from node.running.runtime import Runtime

PARTS_AT_ONCE = 500  # checked on a worker thread, about a tenth of a second, then the next
MATCHINGS_WAIT_S = 5.0  # for a peer that was asked for what it recorded; guess, not measured
LOOK_AGAIN_S = 0.1


class EntriesQuery(Strict):
    """`after`: a position, 0 for the beginning. `author`: a key in hexadecimal, or a peer id. `job`: its id."""

    after: Count = 0
    limit: Annotated[int, Field(ge=1, le=ledger_views.PAGE_ENTRIES)] = 100
    author: Annotated[str, Field(max_length=64)] | None = None
    kind: Annotated[str, Field(max_length=32)] | None = None
    job: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


def _names(runtime: Runtime) -> ledger_views.Names:
    return partial(views.peer, runtime.node)


async def entries(runtime: Runtime, request: web.Request, asked: EntriesQuery) -> EntryPage:
    ledger = runtime.node.ledger
    try:
        wanted = ledger_views.filtered(ledger.state, asked.author, asked.kind, asked.job)
    except NotFound:
        raise
    except LocalError as error:
        raise invalid("the query", [Fault("author", error.cause)]) from None
    found = await runtime.compute(ledger_views.search, runtime.store, asked.after, asked.limit, wanted)
    names = _names(runtime)
    return EntryPage(
        entries=tuple(ledger_views.entry_of(ledger, names, entry, position) for position, entry in found.entries),
        next_after=found.next_after,
        more=found.more,
    )


async def entry(runtime: Runtime, request: web.Request, _: None) -> EntryOf:
    raw = await runtime.compute(runtime.store.entry, _digest(request))
    if raw is None:
        cause = f"no entry {request.match_info['id']} is in this ledger"
        raise NotFound("HEL-LEDGER-010", cause, "It may not have arrived yet.")
    return ledger_views.entry_of(runtime.node.ledger, _names(runtime), parse(raw), None)


async def prove(runtime: Runtime, request: web.Request, _: None) -> web.Response:
    """A proof file, to be checked anywhere with the genesis alone."""
    identity = runtime.node.identity
    proven = await runtime.compute(
        ledger_views.prove, runtime.store, identity.network, _digest(request), identity.keypair
    )
    return web.Response(text=proven.decode(), content_type=TEXT_TYPE)


async def heads(runtime: Runtime, request: web.Request, _: None) -> HeadList:
    return ledger_views.heads(runtime.node.ledger, _names(runtime))


async def forks(runtime: Runtime, request: web.Request, _: None) -> ForkList:
    return ledger_views.forks(runtime.node.ledger, _names(runtime))


async def verify(runtime: Runtime, request: web.Request, _: None) -> Verification:
    """The disk first, then all that was said, as a stranger would check our export: the node goes on meanwhile."""
    await runtime.compute(ledger_views.check_store, runtime.store)
    check = Check()
    steps = check.run(await runtime.compute(streams.parts, runtime))

    def advance() -> int:
        return sum(1 for _ in islice(steps, PARTS_AT_ONCE))

    with ledger_views.faults_of_the_store():
        while await runtime.compute(advance):
            pass
    return ledger_views.verification(check.verified())


async def audit(runtime: Runtime, request: web.Request, _: None) -> JobAuditOf:
    """Repeat the matchings behind a job's awards; records that are missing here are asked of the job's owner."""
    state = runtime.node.ledger.state
    job = ledger_views.find_job(state, request.match_info["id"])
    await _fetch_matchings(runtime, job)
    awards = await runtime.compute(
        audit_awards, job, state, lambda sha256: runtime.blobs.read(sha256, MATCHING_MAX_BYTES)
    )
    doubtful = await runtime.compute(audit_energy, job, state)
    return audit_of(JobAudit(job, awards, tuple(violations(state)), doubtful), _names(runtime))


async def _fetch_matchings(runtime: Runtime, job: JobRecord) -> None:
    """Wait a while for what others recorded; whatever is missing then, the audit says so."""

    def missing() -> bool:
        return any(sha256 not in runtime.blobs for sha256 in recorded_matchings(job))

    if not missing() or job.owner not in runtime.node.peers.connected:
        return
    await runtime.submit(MatchingsWanted(job.id))
    waited_s = 0.0
    while missing() and waited_s < MATCHINGS_WAIT_S:
        await asyncio.sleep(LOOK_AGAIN_S)
        waited_s += LOOK_AGAIN_S


def _digest(request: web.Request) -> bytes:
    return bytes.fromhex(request.match_info["id"])
