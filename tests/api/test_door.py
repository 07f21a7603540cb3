"""HTTP's own matters: problems, bounds, methods, types, parameters, and the description of it all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from node.api.openapi import document
from node.api.problems import KINDS, Problem, error_of, problem_of
from node.api.routes import ROUTES
from node.api.server import JSON_MAX_BYTES, serve
from node.documents import Fault, Invalid
from protocol.errors import LocalError
from tests.api.host import TOKEN, Host
from tests.api.requests import job_request


async def problem(answer: aiohttp.ClientResponse) -> Problem:
    assert answer.content_type == "application/problem+json"
    found = Problem.model_validate_json(await answer.read())
    assert found.status == answer.status
    assert found.remedy
    return found


async def test_an_unknown_path_is_a_problem(http: aiohttp.ClientSession) -> None:
    async with http.get("/v2/node") as answer:
        assert (await problem(answer)).code == "HEL-API-004"


async def test_a_malformed_id_is_an_unknown_path(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/jobs/not-an-id") as answer:
        assert (await problem(answer)).status == 404


async def test_a_wrong_method_says_which_is_right(http: aiohttp.ClientSession) -> None:
    async with http.delete("/v1/node") as answer:
        assert (await problem(answer)).status == 405
        assert answer.headers["Allow"] == "GET"


async def test_a_body_of_another_type_is_not_read(http: aiohttp.ClientSession) -> None:
    async with http.post(
        "/v1/jobs/plan", data=json.dumps(job_request()), headers={"Content-Type": "text/plain"}
    ) as answer:
        assert (await problem(answer)).status == 415


async def test_a_body_beyond_the_bound_is_not_read(http: aiohttp.ClientSession) -> None:
    body = b" " * (JSON_MAX_BYTES + 1)
    async with http.post("/v1/jobs/plan", data=body, headers={"Content-Type": "application/json"}) as answer:
        found = await problem(answer)
        assert found.status == 413
        assert str(JSON_MAX_BYTES) in found.detail


async def test_every_fault_of_a_body_is_told(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/jobs", json=job_request(shards=False, nam="x", deadline="soon")) as answer:
        found = await problem(answer)
        assert found.status == 422
        assert {error.field for error in found.errors} == {"shards", "nam", "deadline"}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/node?verbose=1", "verbose"),
        ("/v1/jobs?status=open", "status"),
        ("/v1/ledger/entries?limit=0", "limit"),
        ("/v1/ledger/entries?limit=many", "limit"),
        ("/v1/ledger/entries?kind=a&kind=b", "kind"),
        ("/v1/ledger/entries?author=nobody", "author"),
    ],
)
async def test_a_parameter_that_would_be_dropped_is_refused(http: aiohttp.ClientSession, path: str, field: str) -> None:
    async with http.get(path) as answer:
        found = await problem(answer)
        assert (found.status, [error.field for error in found.errors]) == (422, [field])


async def test_a_fault_of_the_program_is_a_problem_without_its_insides(
    host: Host, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(host, "now_ms", lambda: 1 / 0)
    async with http.get("/v1/node") as answer:
        found = await problem(answer)
    assert (found.status, found.detail) == (500, "a fault of this program: ZeroDivisionError")
    assert "ZeroDivisionError" in caplog.text


async def test_a_taken_port_is_named(host: Host, url: str) -> None:
    host.config.api = host.config.api.model_copy(update={"port": int(url.rpartition(":")[2])})
    with pytest.raises(LocalError, match=r"the API cannot listen on 127\.0\.0\.1:\d+"):
        async with serve(host, TOKEN):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize("kind", [kind for kind, _, _ in KINDS], ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_on_both_sides(kind: type[LocalError]) -> None:
    error = kind((Fault("peers", "none"),)) if kind.__name__ == "NotReady" else kind("HEL-X-001", "cause", "remedy")  # type: ignore[call-arg,arg-type]
    again = error_of(problem_of(error).model_dump(mode="json"))
    assert isinstance(error, type(again))
    assert (again.code, again.cause, again.remedy) == (error.code, error.cause, error.remedy)


def test_faults_cross_with_their_error() -> None:
    error = Invalid("HEL-X-001", "cause", "remedy", (Fault("a.b", "wrong"),))
    again = error_of(problem_of(error).model_dump(mode="json"))
    assert isinstance(again, Invalid)
    assert again.faults == error.faults


# --- the description ----------------------------------------------------------------------------------------------


async def description(http: aiohttp.ClientSession) -> dict[str, Any]:
    async with http.get("/openapi.json") as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json()
        return found


async def test_every_route_is_described(http: aiohttp.ClientSession) -> None:
    described = await description(http)
    assert described["openapi"] == "3.1.0"
    operations = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert operations == {(route.method, route.path) for route in ROUTES}


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [
        operation["operationId"] for path in document(ROUTES, "0")["paths"].values() for operation in path.values()
    ]
    assert len(set(names)) == len(ROUTES)


def test_every_reference_of_the_description_leads_somewhere() -> None:
    described = document(ROUTES, "0")

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (item for key, item in value.items() if key == "$ref")
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from references(item)

    schemas = described["components"]["schemas"]
    found = set(references(described))
    assert found
    assert all(reference.removeprefix("#/components/schemas/") in schemas for reference in found)


def test_bounds_stand_in_the_description() -> None:
    schemas = document(ROUTES, "0")["components"]["schemas"]
    shards = schemas["JobRequest"]["properties"]["shards"]
    assert (shards["type"], shards["minimum"], shards["maximum"]) == ("integer", 1, 256)
    rate = schemas["RequestTraining"]["properties"]["inner_learning_rate"]
    assert (rate["type"], rate["exclusiveMinimum"], rate["maximum"]) == ("number", 0, 1)
    assert schemas["JobRequest"]["additionalProperties"] is False


def test_no_bytes_are_described_as_binary_text() -> None:
    assert '"format": "binary"' not in json.dumps(document(ROUTES, "0"))
