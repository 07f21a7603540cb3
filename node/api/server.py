"""The local API: aiohttp around the route table. HTTP's own matters only; what is answered is in `routes`.

Every request passes, from the outside in: errors become problems; Host, Origin and token are checked; the query or the
body is checked against its model; the handler answers.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from node.api.guard import check
from node.api.openapi import JSON_TYPE, PATH_PARAMETER, Route
from node.api.problems import PROBLEM_TYPE, NotFound, TooLarge, WrongMethod, WrongType, problem_of
from node.api.routes import ROUTES
from node.documents import Fault, Strict, faults_of, invalid, read_json
from node.listening import listening
from protocol.errors import LocalError

if TYPE_CHECKING:
    from node.running.runtime import Runtime

JSON_MAX_BYTES = 64 * 1024
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("heliotrope")


def build_api(runtime: Runtime, token: str) -> web.Application:
    """The application that answers for `runtime`. Every path but `/healthz` wants `token`."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers, transport = request.headers, request.transport
        port = transport.get_extra_info("sockname")[1] if transport else 0
        host, authorization = headers.get("Host", ""), headers.get("Authorization")
        check(request.path, host, headers.get("Origin"), authorization, port=port, token=token)
        return await handler(request)

    application = web.Application(middlewares=[_problems, guard], client_max_size=JSON_MAX_BYTES)
    for route in ROUTES:
        path = PATH_PARAMETER.sub(r"{\1:[0-9a-f]{64}}", route.path)
        application.router.add_route(route.method, path, _endpoint(runtime, route))
    return application


@asynccontextmanager
async def serve(runtime: Runtime, token: str) -> AsyncIterator[str]:
    """Listen where the configuration says; yields the URL. Raises LocalError for a port that is taken."""
    host, port = runtime.config.api.host, runtime.config.api.port

    def refusal(reason: str) -> LocalError:
        return LocalError(
            "HEL-API-010",
            f"the API cannot listen on {host}:{port}: {reason}",
            "Stop what holds the port, or set api.port in config.toml (0 takes any free one).",
        )

    async with listening(build_api(runtime, token), host, port, refusal) as url:
        yield url


def _endpoint(runtime: Runtime, route: Route) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        given = await _given(request, route)
        result = await route.handler(runtime, request, given)
        if isinstance(result, web.StreamResponse):
            return result
        body = result.model_dump_json() if isinstance(result, BaseModel) else result
        return web.Response(text=body, status=route.status, content_type=JSON_TYPE, headers=HEADERS)

    return answer


async def _given(request: web.Request, route: Route) -> Any:
    """The checked body, else the checked query, None for a route that takes neither. Raises Invalid, WrongType,
    TooLarge; a parameter that the route does not know is a fault too: a filter dropped in silence answers wrongly."""
    given = request.query
    repeated = [Fault(name, "is given more than once") for name in set(given) if len(given.getall(name)) > 1]
    if repeated:
        raise invalid("the query", repeated)
    model = route.query or Strict
    try:
        query = model.model_validate_strings(dict(given), strict=True)
    except ValidationError as error:
        raise invalid("the query", list(faults_of(error, model).values())) from None
    if not isinstance(route.takes, type):
        return query if route.query else None
    if request.content_type != JSON_TYPE:
        cause = f"the body's type is {request.content_type[:100]!r}; {JSON_TYPE} is read here"
        raise WrongType("HEL-API-007", cause, f"Send the header `Content-Type: {JSON_TYPE}`.")
    return read_json(await request.read(), route.takes)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as problem+json; a fault of this program goes to the log with its traceback, not to the user."""
    headers = dict(HEADERS)
    try:
        return await handler(request)
    except LocalError as error:
        failure = error
    except web.HTTPException as error:
        failure = _of_http(request, error)
        headers |= {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    except Exception as error:
        log.exception("the API failed on %s %s", request.method, request.path)
        cause = f"a fault of this program: {type(error).__name__}"
        failure = LocalError("HEL-API-009", cause, "Nothing is known to be lost. See the node's log, and report it.")
    problem = problem_of(failure)
    return web.Response(
        text=problem.model_dump_json(), status=problem.status, content_type=PROBLEM_TYPE, headers=headers
    )


def _of_http(request: web.Request, error: web.HTTPException) -> LocalError:
    where = f"{request.method} {request.path[:200]}"
    match error.status:
        case 404:
            return NotFound("HEL-API-004", f"there is no {where}", "See /openapi.json for what there is.")
        case 405:
            allowed = error.headers.get("Allow", "")
            return WrongMethod("HEL-API-005", f"there is no {where}, only {allowed}", "See /openapi.json.")
        case 413:
            return TooLarge(
                "HEL-API-006", f"the body exceeds {JSON_MAX_BYTES} bytes", "Send less; upload texts as blobs."
            )
        case _:
            return LocalError("HEL-API-008", f"{where}: {error.reason}", "See /openapi.json.")
