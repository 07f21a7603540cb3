"""The API's description, OpenAPI 3.1, built from the same table that the server is built from. Pure.

JSON Schema comes from the models; nothing is said twice, so nothing can differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from node.api.problems import PROBLEM_TYPE, Problem

JSON_TYPE, BINARY_TYPE, EVENTS_TYPE = "application/json", "application/octet-stream", "text/event-stream"
TEXT_TYPE = "text/plain"
PATH_PARAMETER = re.compile(r"\{(\w+)\}")
PATH_SCHEMA = {"type": "string", "pattern": "^[0-9a-f]{64}$"}  # every one is a SHA-256 or a key


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `answers`: the model of its JSON answer, or the media type of a stream.

    `takes`: the model of its JSON request, or BINARY_TYPE. `query`: the model of its parameters.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    summary: str
    answers: type[BaseModel] | str
    takes: type[BaseModel] | str | None = None
    query: type[BaseModel] | None = None
    status: int = 200
    open: bool = False  # needs no token


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The whole description, ready for JSON."""
    answered = {r.answers for r in routes if isinstance(r.answers, type)} | {Problem}
    taken = {r.takes for r in routes if isinstance(r.takes, type)}
    wanted = [*((model, "serialization") for model in answered), *((model, "validation") for model in taken)]
    wanted.sort(key=lambda pair: (pair[0].__name__, pair[1]))
    names, shared = models_json_schema(wanted, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    references = {model: schema for (model, _), schema in names.items()}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Heliotrope node",
            "version": version,
            "description": "The local API of one node, for its own user: loopback only, with the token of its home.",
        },
        "paths": paths,
        "components": {
            "schemas": shared["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, references: Mapping[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": route.handler.__name__.strip("_"),
        "summary": route.summary,
        "responses": {
            str(route.status): {"description": route.summary, "content": _content(route.answers, references)},
            "default": {
                "description": "What went wrong, and what to do",
                "content": {PROBLEM_TYPE: {"schema": references[Problem]}},
            },
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": PATH_SCHEMA}
        for name in PATH_PARAMETER.findall(route.path)
    ]
    if route.query is not None:
        schema = route.query.model_json_schema()
        parameters += [
            {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": field}
            for name, field in schema["properties"].items()
        ]
    if parameters:
        described["parameters"] = parameters
    if route.takes is not None:
        described["requestBody"] = {"required": True, "content": _content(route.takes, references)}
    if route.open:
        described["security"] = []
    return described


def _content(body: type[BaseModel] | str, references: Mapping[Any, Any]) -> dict[str, Any]:
    if isinstance(body, str):
        return {body: {}}
    return {JSON_TYPE: {"schema": references[body]}}
