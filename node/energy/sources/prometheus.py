"""Prometheus: what a query gives at this moment, of whatever already watches the plant or the site.

`GET /api/v1/query?query=...&time=...` answers {"status": "success", "data": {"resultType": "vector", "result":
[{"metric": {...}, "value": [1782043200.0, "16.57"]}]}}, or "scalar" with one such pair; values are text, and may be
"NaN" or "+Inf". https://prometheus.io/docs/prometheus/latest/querying/api/

Traps: the time beside a value is that of the question, not of the sample, which may be five minutes older: so
`timestamp(query)` is asked at the same moment too. Of a selector it tells when the sample was taken; of an expression,
as of a scalar, it is the moment of the question. A query that gives several series is not added up here: `sum(...)`
says what is meant. An answer with warnings may lack a part, and is refused.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from node.energy.keys import read_key
from node.energy.source import BaseUrl, Kind, OptionalKeySection, Reading, SourceError
from node.energy.units import VALUE_MAX, converted
from node.energy.web import WebService
from protocol.messages import Place

QUERY_SHOWN_MAX = 100  # provenance has room for 128 characters
UNCERTAINTY_PERMILLE = 20  # accuracy class 2, as household meters have; guess for others


class Prometheus(OptionalKeySection):
    """`query` gives one figure of `kind` in `unit`. A key is sent as Bearer token, or with `username` as password."""

    source: Literal["prometheus"]
    base_url: BaseUrl = "http://localhost:9090"
    query: Annotated[str, Field(min_length=1, max_length=2000)]
    unit: Annotated[str, Field(min_length=1, max_length=32)]
    kind: Kind = Kind.POWER
    method: Literal["metered", "modelled"] = "metered"
    username: Annotated[str, Field(pattern=r"^[!-9;-~]{1,128}$")] | None = None

    @model_validator(mode="after")
    def _unit_fits(self) -> Prometheus:
        try:
            converted(0, self.unit, self.kind)
        except SourceError as error:
            raise ValueError(error.cause) from None
        if self.username is not None and not self.has_key:
            raise ValueError("username without a password: name its key_file or key_variable")
        return self

    def open(self, place: Place) -> PrometheusSource:
        return PrometheusSource(self)


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True)


Sample = tuple[float, str]  # Unix seconds, value


class _Row(_Answer):
    value: Sample


class _Vector(_Answer):
    type: Literal["vector"] = Field(alias="resultType")
    result: list[_Row]


class _Scalar(_Answer):
    type: Literal["scalar"] = Field(alias="resultType")
    result: Sample


class _Other(_Answer):
    type: Literal["matrix", "string"] = Field(alias="resultType")
    result: Any


class _Reply(_Answer):
    status: Literal["success", "error"]
    data: Annotated[_Vector | _Scalar | _Other, Field(discriminator="type")] | None = None
    warnings: list[str] = []


class PrometheusSource:
    """One query."""

    def __init__(self, section: Prometheus) -> None:
        self.kind = section.kind
        self._section = section
        self._basic_auth: tuple[str, str] | None = None
        headers = {}
        if section.has_key and section.username is not None:
            self._basic_auth = (section.username, read_key(section))
        elif section.has_key:
            headers["Authorization"] = f"Bearer {read_key(section)}"
        self._web = WebService("Prometheus", section.base_url, headers)

    def read(self, now_ms: int) -> Reading:
        section = self._section
        data = self._ask(section.query, now_ms)
        value = converted(self._only(data), section.unit, self.kind)
        at_ms = now_ms
        if isinstance(data, _Vector):
            at_ms = _milliseconds(self._only(self._ask(f"timestamp({section.query})", now_ms)))
        return Reading(
            kind=self.kind,
            value=value,
            start_ms=at_ms,
            end_ms=at_ms,
            method=section.method,
            uncertainty_permille=section.uncertainty_or(UNCERTAINTY_PERMILLE),
            provenance=f"Prometheus {' '.join(section.query.split())[:QUERY_SHOWN_MAX]}",
        )

    def _ask(self, query: str, now_ms: int) -> _Vector | _Scalar:
        params = {"query": query, "time": f"{now_ms // 1000}.{now_ms % 1000:03d}"}
        reply = self._web.get(_Reply, "/api/v1/query", params, basic_auth=self._basic_auth)
        if reply.status == "error":
            raise SourceError("Prometheus answered an error instead of data", "Try the query in its own page.")
        if reply.warnings:
            raise SourceError(
                f"Prometheus answered with {len(reply.warnings)} warnings: data may be missing",
                "Try the query in its own page, which shows them.",
            )
        if not isinstance(reply.data, _Vector | _Scalar):
            found = "nothing" if reply.data is None else f"a {reply.data.type}"
            raise SourceError(
                f"the query gives {found}, not an instant vector or scalar",
                "Ask for one figure of this moment: last_over_time(...) or sum(...) make one of many.",
            )
        return reply.data

    def _only(self, data: _Vector | _Scalar) -> str:
        if isinstance(data, _Scalar):
            return data.result[1]
        if len(data.result) != 1:
            raise SourceError(
                f"the query gives {len(data.result)} series, exactly 1 is wanted",
                "None: see whether the target is up. Several: choose by labels, or say sum(...).",
            )
        return data.result[0].value[1]


def _milliseconds(seconds: str) -> int:
    """Raises SourceError for what is no time."""
    try:
        exact = Decimal(seconds) * 1000
    except ArithmeticError:
        exact = Decimal("NaN")
    if not exact.is_finite() or not 0 <= exact <= VALUE_MAX:
        raise SourceError(f"time {seconds[:32]!r} is none", "Look at Prometheus itself.")
    return round(exact)
