"""`python -m tests.bench.data_server plain|serve DIRECTORY`: what `bench_data` fetches from. It prints where."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import sys
from pathlib import Path

from node.data.admission import Admission
from node.data.certificate import make_certificate
from node.data.server import DataServer
from node.data.stream_server import StreamServer
from node.data.traffic import Traffic
from node.link import Link, Verdict
from node.market.tickets import data_url
from node.running.runtime import unix_ms
from tests.bench.bench_data import CHUNK_BYTES, SERVER, SIZE_BYTES, STREAM_SIZE_BYTES


def plain(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
        with connection, (directory / str(SIZE_BYTES)).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                connection.sendall(chunk)


async def serve(directory: Path) -> None:
    files = {}
    for size in (SIZE_BYTES, STREAM_SIZE_BYTES):
        path = directory / str(size)
        with path.open("rb") as file:
            files[hashlib.file_digest(file, "sha256").digest()] = path
    admission = Admission(files.get, SERVER.public, lambda: 1, unix_ms, Traffic())
    certificate_sha256 = make_certificate(directory / "tls.pem")
    port = await DataServer(admission).start("127.0.0.1", 0, directory / "tls.pem")
    link = Link(
        seed=SERVER.seed,
        listen="/ip4/127.0.0.1/tcp/0",
        topics=(),
        judge=lambda topic, data: Verdict.ACCEPT,
        deliver=lambda event: None,
        serve_blob=StreamServer(admission).serve,
    )
    await link.start()
    print(data_url("127.0.0.1", port), certificate_sha256.hex(), link.addresses[0], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        plain(Path(sys.argv[2]))
    else:
        asyncio.run(serve(Path(sys.argv[2])))
