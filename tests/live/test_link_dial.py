"""A dial that comes to nothing says at which step, and what to do about it; where dials leave from, and names."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable

import pytest
import trio

from node.link import LinkError, dials
from node.link import thread as link_thread
from node.link.dials import unreached
from protocol.identity import KeyPair, peer_id

from .links import ANY_PORT, Opener, Proxy

NOBODY = peer_id(KeyPair(b"n" * 32).public)


async def code_of(dialling: Awaitable[object]) -> str:
    with pytest.raises(LinkError) as failure:
        await dialling
    assert failure.value.remedy
    return failure.value.code


async def serve(answer: bytes) -> tuple[asyncio.Server, str]:
    """Something that answers every connection so, and its address."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    return server, f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}/p2p/{NOBODY}"


async def test_a_port_on_which_nobody_listens(open_link: Opener) -> None:
    a, _ = await open_link()
    server, address = await serve(b"")
    server.close()
    await server.wait_closed()
    assert await code_of(a.dial(address)) == "HEL-DIAL-001"


async def test_a_machine_that_does_not_answer(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_thread, "DIAL_TIMEOUT_S", 0.2)
    (a, _), (b, _) = await open_link(), await open_link()
    async with Proxy(b.addresses[0]) as held:
        with pytest.raises(LinkError, match=r"no answer within 0\.2 s") as failure:
            await a.dial(held.address)
    assert failure.value.code == "HEL-DIAL-002"
    assert f"let TCP to port {held.address.split('/')[4]} of 127.0.0.1 through" in failure.value.remedy


async def test_a_name_that_does_not_resolve(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int, family: socket.AddressFamily) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    a, _ = await open_link()
    monkeypatch.setattr(dials, "resolve", resolve)
    assert await code_of(a.dial(f"/dns4/nowhere.invalid/tcp/1/p2p/{NOBODY}")) == "HEL-DIAL-004"


async def test_a_resolver_that_does_not_answer(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object) -> object:
        return await trio.sleep_forever()

    a, _ = await open_link()
    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(dials, "RESOLVE_TIMEOUT_S", 0.1)
    assert await code_of(a.dial(f"/dns6/slow.example/tcp/1/p2p/{NOBODY}")) == "HEL-DIAL-004"


async def test_another_node_at_the_address(open_link: Opener) -> None:
    (a, _), (b, _) = await open_link(), await open_link()
    address = b.addresses[0].rpartition("/")[0] + "/" + NOBODY
    assert await code_of(a.dial(address)) == "HEL-DIAL-005"


async def test_something_that_is_no_node(open_link: Opener) -> None:
    a, _ = await open_link()
    server, address = await serve(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert await code_of(a.dial(address)) == "HEL-DIAL-007"
    server.close()


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL])
def test_a_machine_to_which_there_is_no_way(number: int) -> None:
    error = RuntimeError("outer")
    error.__cause__ = OSError(number, "no way")
    failure = unreached(f"/ip4/192.0.2.1/tcp/1/p2p/{NOBODY}", error, 10.0)
    assert (failure.code, "ip route get 192.0.2.1" in failure.remedy) == ("HEL-DIAL-003", True)


async def test_of_several_addresses_of_a_name_the_first_that_answers_is_taken(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int, family: socket.AddressFamily) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]  # nobody listens on the first

    (a, _), (b, _) = await open_link(), await open_link()
    monkeypatch.setattr(dials, "resolve", resolve)
    assert await a.dial(b.addresses[0].replace("/ip4/127.0.0.1/", "/dns4/two.example/")) == b.public


async def test_links_on_two_addresses_of_one_machine_are_told_apart_by_where_they_come_from(
    open_link: Opener,
) -> None:
    peers: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0])
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    address = f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}/p2p/{NOBODY}"
    for listen in (ANY_PORT.replace("127.0.0.1", "127.0.0.2"), ANY_PORT.replace("127.0.0.1", "127.0.0.3")):
        link, _ = await open_link(listen=listen)
        await code_of(link.dial(address))
    server.close()
    assert peers == ["127.0.0.2", "127.0.0.3"]
