"""A web service that is asked for JSON, by GET: bounded, timed, without redirects, and with errors for people.

A key is sent in a header and stands in no message: neither does an address with its parameters, since some services
take their key there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from node.energy.source import SourceError
from protocol.adverts import first_fault

if TYPE_CHECKING:
    import httpx

ANSWER_MAX_BYTES = 4 * 2**20
TIMEOUT_S = 10.0
RETRY_AFTER_MAX_S = 6 * 3600

Model = TypeVar("Model", bound=BaseModel)


class StatusError(SourceError):
    """The service answered, and not with 200."""

    def __init__(self, cause: str, remedy: str, status: int, retry_after_ms: int | None = None) -> None:
        super().__init__(cause, remedy, retry_after_ms=retry_after_ms)
        self.status = status


class WebService:
    """`name` is for messages; `headers` may hold secrets."""

    def __init__(self, name: str, base_url: str, headers: Mapping[str, str] | None = None) -> None:
        import httpx

        self.name = name
        self._base_url = base_url.rstrip("/")
        # Nothing of the environment: a proxy or a .netrc that the operator forgot would see the key.
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)

    def get(
        self,
        model: type[Model],
        path: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        basic_auth: tuple[str, str] | None = None,
    ) -> Model:
        """The answer as the model. Raises SourceError for every other outcome."""
        import httpx

        try:
            with self._client.stream(
                "GET",
                self._base_url + path,
                params=params,
                headers=headers,
                auth=basic_auth if basic_auth is not None else httpx.USE_CLIENT_DEFAULT,
            ) as response:
                content = self._bounded(response)
        except httpx.TimeoutException:
            raise SourceError(f"{self.name} did not answer within {TIMEOUT_S:.0f} s", _LATER) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # its text may name the address
            raise SourceError(f"{self.name} cannot be reached: {type(error).__name__}", _REACH) from None
        if response.status_code != 200:
            raise self._refusal(response)
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            raise SourceError(
                f"{self.name} answered what its documents do not say: {first_fault(error)[:200]}",
                "See whether base_url, zone and entity are right; the service may have changed.",
            ) from None

    def _bounded(self, response: httpx.Response) -> bytes:
        """The timeout above is for each part: a service that drips would hold the meter's thread for hours."""
        content, ends_at_s = b"", time.monotonic() + TIMEOUT_S
        for chunk in response.iter_bytes():
            content += chunk
            if time.monotonic() > ends_at_s:
                raise SourceError(f"{self.name} was still answering after {TIMEOUT_S:.0f} s", _LATER)
            if len(content) > ANSWER_MAX_BYTES:
                raise SourceError(f"{self.name} answered more than {ANSWER_MAX_BYTES} bytes", _REACH)
        return content

    def _refusal(self, response: httpx.Response) -> StatusError:
        """The service's own words are not repeated: they may hold what was sent."""
        status = response.status_code
        what = f"{self.name} answered {status}"
        if status in (400, 422):
            return StatusError(f"{what}: it does not accept the question", "Check zone, entity or query.", status)
        if status in (401, 403):
            return StatusError(
                f"{what}: the key is refused", "Check key_file or key_variable, and what the plan allows.", status
            )
        if status == 404:
            return StatusError(f"{what}: nothing there", "Check base_url, zone and entity.", status)
        if status == 429:
            return StatusError(f"{what}: asked too often", _LATER, status, _retry_after_ms(response))
        if 300 <= status < 400:
            return StatusError(f"{what}: it sends us elsewhere", "Set base_url to where the service is now.", status)
        return StatusError(what, _LATER, status, _retry_after_ms(response))


def _retry_after_ms(response: httpx.Response) -> int | None:
    """Seconds, or a date beside the answer's own date (RFC 9110, 10.2.3); bounded, as a stranger says it."""
    said = response.headers.get("retry-after", "")
    if said.isascii() and said.isdigit() and len(said) < 10:
        return min(int(said), RETRY_AFTER_MAX_S) * 1000
    try:
        wait = parsedate_to_datetime(said) - parsedate_to_datetime(response.headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return max(0, min(round(wait.total_seconds()), RETRY_AFTER_MAX_S)) * 1000


_LATER = "It is asked again by itself, later."
_REACH = "Check base_url and the way there."
