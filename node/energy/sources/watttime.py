"""WattTime v3: what the plant emits that would follow one more load. Marginal, and never mixed with an average.

`GET /login` with user and password (Basic) answers {"token": "..."}, good for 30 minutes as a Bearer token; logins are
limited to 100 in 5 minutes. `GET /v3/forecast?region=CAISO_NORTH&signal_type=co2_moer&horizon_hours=24` answers
{"data": [{"point_time": "2026-06-21T12:00:00+00:00", "value": 870.0}], "meta": {"region", "signal_type", "units":
"lbs_co2_per_mwh", "data_point_period_seconds": 300, "model": {"date": "2026-03-01"}}}: pounds of CO2 per MWh, each for
the period that begins at its time; a horizon of 0 gives the present. `/v3/historical` answers the same of the past.
`/v3/region-from-loc` names the region of a place. https://docs.watttime.org, and its own client, version 1.4

Traps: a free account gives data of CAISO_NORTH only, wherever the site is, so the region that comes back is compared.
The same paths serve other signals (health damage, average) and percentiles: signal and unit are compared too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from node.energy.keys import read_key
from node.energy.series import coming, newest, spans, unix_ms, utc_text, within
from node.energy.source import GRID_REFRESH_S, BaseUrl, KeySection, Kind, Reading, RefreshSeconds, SourceError
from node.energy.units import converted
from node.energy.web import StatusError, WebService
from protocol.messages import Place

SIGNAL: Final = "co2_moer"
UNIT: Final = "lbs_co2_per_mwh"
TOKEN_LIFETIME_MS = 30 * 60_000
TOKEN_MARGIN_MS = 60_000
HORIZON_HOURS = 72  # the most there is
SPAN_MAX_MS = 30 * 86_400_000  # as its own client asks

# Guess: a marginal figure is a model's, and no meter can check it.
UNCERTAINTY_PERMILLE = 300

Region = Annotated[str, Field(pattern=r"^[A-Z0-9_]{2,64}$")]


class WattTime(KeySection):
    """The key is the password of `username`. `region`: None for the one that the site lies in."""

    source: Literal["watttime"]
    base_url: BaseUrl = "https://api.watttime.org"
    refresh_s: RefreshSeconds = GRID_REFRESH_S
    username: Annotated[str, Field(pattern=r"^[!-9;-~]{1,128}$")]  # printable ASCII without a colon
    region: Region | None = None

    def open(self, place: Place) -> WattTimeSource:
        return WattTimeSource(self, place)


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True)


class _Login(_Answer):
    token: SecretStr


class _Located(_Answer):
    region: Region
    signal_type: str = SIGNAL


class _Model(_Answer):
    date: Annotated[str, Field(pattern=r"^[0-9-]{4,16}$")]


class _Meta(_Answer):
    region: str
    signal_type: str
    units: str
    data_point_period_seconds: Annotated[int, Field(ge=60, le=3600)]
    model: _Model | None = None


class _Point(_Answer):
    point_time: AwareDatetime
    value: float


class _Series(_Answer):
    data: list[_Point]
    meta: _Meta


AnyAnswer = TypeVar("AnyAnswer", bound=_Answer)


class WattTimeSource:
    """The marginal intensity of one region. Asks for its region and a token when first read."""

    kind = Kind.MARGINAL

    def __init__(self, section: WattTime, place: Place) -> None:
        self._section = section
        self._place = place
        self._password = SecretStr(read_key(section))
        self._web = WebService("WattTime", section.base_url)
        self._region = section.region
        self._token: SecretStr | None = None
        self._token_until_ms = 0

    def read(self, now_ms: int) -> Reading:
        return newest(self._forecast(now_ms, 0), now_ms, "WattTime")

    def forecast(self, now_ms: int) -> tuple[Reading, ...]:
        return coming(self._forecast(now_ms, HORIZON_HOURS), now_ms)

    def history(self, start_ms: int, end_ms: int) -> tuple[Reading, ...]:
        pieces = (
            self._series(None, "/v3/historical", {"start": utc_text(begins_ms), "end": utc_text(ends_ms)})
            for begins_ms, ends_ms in spans(start_ms, end_ms, SPAN_MAX_MS)
        )
        return within((reading for piece in pieces for reading in piece), start_ms, end_ms)

    def _forecast(self, now_ms: int, horizon_hours: int) -> Iterator[Reading]:
        return self._series(now_ms, "/v3/forecast", {"horizon_hours": str(horizon_hours)})

    def _series(self, now_ms: int | None, path: str, params: dict[str, str]) -> Iterator[Reading]:
        region = self._region or self._locate(now_ms)
        answer = self._get(_Series, path, {"region": region, "signal_type": SIGNAL, **params}, now_ms)
        for field, asked in (("region", region), ("signal_type", SIGNAL), ("units", UNIT)):
            got = getattr(answer.meta, field)
            if got != asked:
                raise SourceError(
                    f"asked WattTime for {field} {asked}, got {got[:32]!r}",
                    "Check region, and what the account gives: free ones are for CAISO_NORTH.",
                )
        model = answer.meta.model
        for point in answer.data:
            start_ms = unix_ms(point.point_time)
            yield Reading(
                kind=self.kind,
                value=converted(point.value, UNIT, self.kind),
                start_ms=start_ms,
                end_ms=start_ms + answer.meta.data_point_period_seconds * 1000,
                method="modelled",
                uncertainty_permille=self._section.uncertainty_or(UNCERTAINTY_PERMILLE),
                provenance=f"WattTime {region} {SIGNAL}" + (f", model {model.date}" if model is not None else ""),
            )

    def _locate(self, now_ms: int | None) -> str:
        place = {
            "latitude": f"{self._place.latitude_decidegrees / 10:.1f}",
            "longitude": f"{self._place.longitude_decidegrees / 10:.1f}",
        }
        located = self._get(_Located, "/v3/region-from-loc", {**place, "signal_type": SIGNAL}, now_ms)
        if located.signal_type != SIGNAL:
            raise SourceError(
                f"asked WattTime for the region of {SIGNAL}, got that of {located.signal_type[:32]!r}",
                "Set region.",
            )
        self._region = located.region
        return located.region

    def _get(self, model: type[AnyAnswer], path: str, params: dict[str, str], now_ms: int | None) -> AnyAnswer:
        """With a token that is good at `now_ms`; None where nobody knows the time: the answer 401 tells, then."""
        if self._token is not None and (now_ms is None or now_ms < self._token_until_ms):
            try:
                return self._ask(model, path, params, self._token)
            except StatusError as error:
                if error.status != 401:
                    raise
        login = self._web.get(_Login, "/login", basic_auth=(self._section.username, self._password.get_secret_value()))
        self._token = login.token
        self._token_until_ms = (now_ms or 0) + TOKEN_LIFETIME_MS - TOKEN_MARGIN_MS
        return self._ask(model, path, params, login.token)

    def _ask(self, model: type[AnyAnswer], path: str, params: dict[str, str], token: SecretStr) -> AnyAnswer:
        return self._web.get(model, path, params, {"Authorization": f"Bearer {token.get_secret_value()}"})
