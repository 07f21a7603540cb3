"""Who may speak to the local API: the checks of a request's headers, in order.

The API listens on loopback, and so does every web page that the user has open: a page can make the browser send
requests here, and by DNS rebinding even read the answers. So the name that was asked for must be a loopback name, the
page that asks must be our own, and the token, which no page knows, must be there. Pure.
"""

from __future__ import annotations

import hmac
import ipaddress
import re

from node.api.problems import Unauthorized
from protocol.errors import Refused

OPEN_PATHS = frozenset({"/healthz"})
HOST = re.compile(r"(?:localhost|(?P<v4>[0-9.]{7,15})|\[(?P<v6>[0-9a-fA-F:.]{2,45})\])(?::(?P<port>[0-9]{1,5}))?")


def check(path: str, host: str, origin: str | None, authorization: str | None, *, port: int, token: str) -> None:
    """Return if the request may be answered.

    1. Host names loopback and this port: else DNS rebinding. Refused.
    2. Origin, where a browser sends one, is this API itself: else another site's page. Refused.
    3. The bearer token is right, but for OPEN_PATHS. Unauthorized.
    """
    if not is_loopback(host, port):
        raise Refused(
            "HEL-API-001",
            f"the request was addressed to {host[:100]!r}; this API answers for loopback names on port {port} only",
            f"Use http://127.0.0.1:{port}.",
        )
    if origin is not None and origin != f"http://{host}":
        raise Refused(
            "HEL-API-002",
            f"the request comes from a page of {origin[:100]!r}; only pages of this API may use it",
            "Ask from the command line, or through a program of your own that sends no Origin header.",
        )
    if path not in OPEN_PATHS and not _is_bearer(authorization, token):
        raise Unauthorized(
            "HEL-API-003",
            "the bearer token is missing or wrong",
            "Send the header `Authorization: Bearer TOKEN`, where TOKEN is the content of the file `token` in the"
            " node's home.",
        )


def is_loopback(host: str, port: int) -> bool:
    """Whether a Host header names this machine's loopback and this port."""
    found = HOST.fullmatch(host)
    if found is None or int(found["port"] or 80) != port:
        return False
    address = found["v4"] or found["v6"]
    try:
        return address is None or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_bearer(authorization: str | None, token: str) -> bool:
    """Compared in constant time; the token is never in a URL, which logs and histories keep."""
    expected = f"Bearer {token}"
    given = (authorization or "").encode(errors="replace")
    return hmac.compare_digest(given, expected.encode())
