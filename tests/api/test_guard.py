"""Who may speak to the API. A web page that the user has open is on this machine, too."""

from __future__ import annotations

import aiohttp
import pytest

from node.api.guard import check, is_loopback
from node.api.openapi import Route
from node.api.problems import Unauthorized
from node.api.routes import ROUTES
from protocol.errors import Refused
from tests.api.host import TOKEN

PORT = 8470
HOST = f"127.0.0.1:{PORT}"
BEARER = f"Bearer {TOKEN}"


@pytest.mark.parametrize("host", [HOST, "localhost:8470", "[::1]:8470", "127.0.0.9:8470"])
def test_loopback_names_are_answered(host: str) -> None:
    check("/v1/node", host, None, BEARER, port=PORT, token=TOKEN)
    check("/v1/node", host, f"http://{host}", BEARER, port=PORT, token=TOKEN)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8470",  # a name that its owner points at 127.0.0.1
        "127.0.0.1.evil.example:8470",
        "localhost.evil.example:8470",
        "user@127.0.0.1:8470",
        "192.168.1.2:8470",
        "[::2]:8470",
        "127.0.0.1:8471",
        "127.0.0.1",
        "127.0.0.1:8470:8470",
        "127.0.0.1:99999",
        "999.0.0.1:8470",
        "[::1:8470",
        "",
    ],
)
def test_refuse_a_host_that_is_not_this_api_on_loopback(host: str) -> None:
    with pytest.raises(Refused, match="loopback names on port 8470"):
        check("/v1/node", host, None, BEARER, port=PORT, token=TOKEN)


def test_a_host_without_a_port_means_port_80() -> None:
    assert is_loopback("localhost", 80)


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1:8470", "http://127.0.0.1:3000", "http://localhost:8470"],
)
def test_refuse_a_page_of_another_origin(origin: str) -> None:
    with pytest.raises(Refused, match="only pages of this API"):
        check("/v1/node", HOST, origin, BEARER, port=PORT, token=TOKEN)


@pytest.mark.parametrize(
    "authorization", [None, "", TOKEN, "Bearer ", f"bearer {TOKEN}", BEARER + "x", "Bearer \udcff"]
)
def test_refuse_a_missing_or_wrong_token(authorization: str | None) -> None:
    with pytest.raises(Unauthorized):
        check("/v1/node", HOST, None, authorization, port=PORT, token=TOKEN)


def test_health_needs_no_token_but_the_right_host() -> None:
    check("/healthz", HOST, None, None, port=PORT, token=TOKEN)
    with pytest.raises(Refused):
        check("/healthz", "evil.example", None, None, port=PORT, token=TOKEN)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_but_health_wants_the_token(url: str, route: Route) -> None:
    path = route.path.replace("{id}", "00" * 32).replace("{sha256}", "00" * 32)
    async with aiohttp.ClientSession() as anyone, anyone.request(route.method, url + path) as answer:
        assert answer.status == (200 if route.open else 401)
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_token_in_the_url_is_no_token(url: str) -> None:
    async with aiohttp.ClientSession() as anyone, anyone.get(f"{url}/v1/node?token={TOKEN}") as answer:
        assert answer.status == 401


async def test_refuse_a_rebound_name_on_a_real_socket(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/node", headers={"Host": "evil.example"}) as answer:
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (403, "HEL-API-001")
