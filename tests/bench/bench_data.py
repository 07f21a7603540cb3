"""A blob of 1 GiB from one process to another over loopback, by HTTPS as nodes fetch it and by a stream of the link,
against a plain TCP socket that is hashed and written to a file the same way: in turns, in one run. The best of three
counts, since whatever else the machine does only slows it; memory is the most that each side grew by, of all three."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from node.data.client import DataClient
from node.data.roads import Https, Road, Streams
from node.data.traffic import Traffic
from node.training.blobs import BlobStore
from protocol.identity import KeyPair
from protocol.messages import Blob
from protocol.tickets import issue
from tests.bench.figures import Figure

SIZE_BYTES = 2**30
STREAM_SIZE_BYTES = 2**26  # a sixteenth: it is slower by far
ROUNDS = 3
CHUNK_BYTES = 2**20
RATE_MIN_MB_PER_S = 150.0
MEMORY_MAX_MIB = 64.0
SERVER, HOLDER = KeyPair(b"s" * 32), KeyPair(b"h" * 32)


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        yield from asyncio.run(_measure(directory))


async def _measure(directory: Path) -> list[Figure]:
    blob, small = (_make(directory / str(size), size) for size in (SIZE_BYTES, STREAM_SIZE_BYTES))
    store = BlobStore(directory / "holder", SIZE_BYTES)
    plain, https, stream, sha256 = 0.0, 0.0, 0.0, 0.0
    grown = [0.0, 0.0]
    for _ in range(ROUNDS):
        sha256 = max(sha256, _rate(SIZE_BYTES, partial(_hash, directory / str(SIZE_BYTES))))
        with _child("plain", directory) as (_, words):
            plain = max(plain, _rate(SIZE_BYTES, partial(_receive, int(words[0]), directory / "plain")))
        with _child("serve", directory) as (process, words):
            ours, theirs = _Memory(os.getpid()), _Memory(process.pid)
            https = max(https, await _fetch(words, blob, store, Https(30)))
            grown = [max(grown[0], ours.grown_mib()), max(grown[1], theirs.grown_mib())]
            stream = max(stream, await _by_stream(words, small, store))
    bench, rate = "data", "MB/s"
    return [
        Figure(bench, "1 GiB by HTTPS", https, rate, "target", RATE_MIN_MB_PER_S, 1.0),
        Figure(bench, "1 GiB by HTTPS", https, rate, "plain socket, hashed and written", plain),
        Figure(bench, "1 GiB by HTTPS", https, rate, "SHA-256 of the file alone", sha256),
        Figure(bench, "memory that the holder grew by", grown[0], "MiB", "target", MEMORY_MAX_MIB, 1.0, at_most=True),
        Figure(bench, "memory that the server grew by", grown[1], "MiB", "target", MEMORY_MAX_MIB, 1.0, at_most=True),
        Figure(bench, "64 MiB by a stream of the link", stream, rate, "plain socket, hashed and written", plain),
    ]


def _make(path: Path, size_bytes: int) -> Blob:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size_bytes // CHUNK_BYTES):
            chunk = os.urandom(CHUNK_BYTES)
            digest.update(chunk)
            file.write(chunk)
    return Blob(sha256=digest.digest(), size_bytes=size_bytes)


def _rate(size_bytes: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return size_bytes / 1e6 / (time.perf_counter() - began)


def _hash(path: Path) -> None:
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def _receive(port: int, path: Path) -> None:
    """As a fetch does, made durable too."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with socket.create_connection(("127.0.0.1", port)) as connection, path.open("wb") as file:
        while size := connection.recv_into(buffer):
            digest.update(buffer[:size])
            file.write(buffer[:size])
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


async def _fetch(words: list[str], blob: Blob, store: BlobStore, road: Road) -> float:
    ticket = issue(
        SERVER,
        blob=blob,
        url=words[0],
        certificate_sha256=bytes.fromhex(words[1]),
        holder=HOLDER.public,
        award=bytes(32),
        shard=0,
        expires_at_ms=2,
    )
    began = time.perf_counter()
    await DataClient(HOLDER, (road,), Traffic()).fetch(ticket, store)
    elapsed_s = time.perf_counter() - began
    store.remove(blob.sha256)
    return blob.size_bytes / 1e6 / elapsed_s


async def _by_stream(words: list[str], blob: Blob, store: BlobStore) -> float:
    from node.link import Link, Verdict  # after memory was measured: it weighs 50 MB

    link = Link(
        seed=HOLDER.seed,
        listen="/ip4/127.0.0.1/tcp/0",
        topics=(),
        judge=lambda topic, data: Verdict.ACCEPT,
        deliver=lambda event: None,
    )
    await link.start()
    try:
        await link.dial(words[2])
        return await _fetch(words, blob, store, Streams(link.fetch_blob))
    finally:
        await link.stop()


class _Memory:
    """The most that a process has resident, from now on."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
        self._before_mib = self._peak_mib()

    def grown_mib(self) -> float:
        return self._peak_mib() - self._before_mib

    def _peak_mib(self) -> float:
        line = next(line for line in self._status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024


@contextmanager
def _child(what: str, directory: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    command = [sys.executable, "-m", "tests.bench.data_server", what, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()
        finally:
            process.kill()
