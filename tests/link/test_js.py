"""The multiplexer with js-libp2p at the other end (`deploy/bootstrap.sh dev` installs it)."""

from __future__ import annotations

import json
import random
from typing import Any

import trio
from libp2p.custom_types import TProtocol
from multiaddr import Multiaddr

from node.link.host import running
from tests.hosts import own_host
from tests.interop.js import FOLDER, require_js

from .ends import TIMEOUT_S, read_all

SCRIPT = FOLDER / "echo_peer.mjs"
PROTOCOL = TProtocol("/heliotrope/test/echo/1")
STREAMS, SIZE_BYTES = 8, 3_000_000


async def echo(stream: Any) -> None:
    muxed = stream.muxed_stream
    await muxed.write(await read_all(muxed))
    await muxed.close()


def test_large_streams_go_to_js_libp2p_and_come_back() -> None:
    require_js()

    async def main() -> dict[str, int]:
        host, swarm = own_host(b"e" * 32)
        host.set_stream_handler(PROTOCOL, echo)
        async with running(swarm):
            await swarm.listen(Multiaddr("/ip4/127.0.0.1/tcp/0"))
            command = ["node", str(SCRIPT), str(host.get_addrs()[0]), str(STREAMS), str(SIZE_BYTES)]
            async with trio.open_nursery() as nursery:
                done = await nursery.start(run_process, command)
                with trio.fail_after(TIMEOUT_S):
                    while not swarm.connections:  # noqa: ASYNC110  no event announces the first
                        await trio.sleep(0.01)
                stream: Any = await host.new_stream(next(iter(swarm.connections)), [PROTOCOL])
                data = random.Random(1).randbytes(SIZE_BYTES)
                nursery.start_soon(write_and_close, stream.muxed_stream, data)
                assert await read_all(stream.muxed_stream) == data
                await done.finished.wait()
            result: dict[str, int] = json.loads(done.output)
            return result

    assert trio.run(main) == {"same": STREAMS}


class Done:
    def __init__(self) -> None:
        self.finished, self.output = trio.Event(), b""


async def run_process(command: list[str], task_status: Any) -> None:
    done = Done()
    task_status.started(done)
    with trio.fail_after(TIMEOUT_S):
        process = await trio.run_process(command, capture_stdout=True)
    done.output = process.stdout
    done.finished.set()


async def write_and_close(stream: Any, data: bytes) -> None:
    await stream.write(data)
    await stream.close()
