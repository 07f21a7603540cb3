"""Files named by the SHA-256 of their content, in one directory.

Only a whole and verified file gets its name: it is written under a temporary one, then renamed. All methods block on
the disk; large files belong on a thread. Not here: the network.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.errors import LocalError, Reject, VerificationFailed
from protocol.messages import Blob

CHUNK_BYTES = 2**20
UNFINISHED = ".tmp"
BLOB_NAME = re.compile("[0-9a-f]{64}")


class Incoming:
    """A blob that is being written; `finish` names it."""

    def __init__(self, directory: Path, size_bytes_max: int) -> None:
        self._directory = directory
        self._size_bytes_max = size_bytes_max
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        descriptor, name = tempfile.mkstemp(dir=directory, suffix=UNFINISHED)
        self.path = Path(name)
        self._file = os.fdopen(descriptor, "wb")

    def write(self, chunk: bytes) -> None:
        """Append. Raises Reject before the file grows past its bound: a peer could fill the disk otherwise."""
        self.size_bytes += len(chunk)
        if self.size_bytes > self._size_bytes_max:
            raise Reject(f"more than the {self._size_bytes_max} bytes that the blob may have")
        self._hash.update(chunk)
        self._file.write(chunk)

    def finish(self, expected: Blob | None = None) -> Blob:
        """Make it durable under its own name. Raises Reject when it is not the `expected` blob."""
        blob = Blob(sha256=self._hash.digest(), size_bytes=self.size_bytes)
        if expected is not None and blob != expected:
            raise Reject(
                f"{blob.size_bytes} bytes with hash {blob.sha256.hex()} came for the blob"
                f" {expected.sha256.hex()} of {expected.size_bytes} bytes"
            )
        self._file.flush()
        os.fsync(self._file.fileno())  # a ledger entry may name it next, and must not name what a power cut emptied
        os.fchmod(self._file.fileno(), 0o400)
        self.path.replace(self._directory / blob.sha256.hex())
        return blob

    def close(self) -> None:
        """Let go of the file and remove it unless it is finished."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class BlobStore:
    """One node's blobs, in a directory that only its owner enters."""

    def __init__(self, directory: Path, size_bytes_max: int) -> None:
        """Open the store for one process; no blob may exceed `size_bytes_max`. Removes what a crash left unfinished."""
        self._directory = directory
        self._size_bytes_max = size_bytes_max
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        for leftover in directory.glob("*" + UNFINISHED):
            leftover.unlink()

    def put(self, source: Path | bytes) -> Blob:
        """Copy a file or bytes of our own in. Raises LocalError when they are too large, OSError."""
        with self._incoming(self._size_bytes_max) as incoming:
            try:
                for chunk in chunks(source):
                    incoming.write(chunk)
            except Reject as error:
                name = source if isinstance(source, Path) else "data"
                raise LocalError(
                    "HEL-BLOB-001", f"{name} has {error}", "split it, or raise the limit of the blob store"
                ) from error
            return incoming.finish()

    def keep(self, expected: Blob, content: bytes) -> None:
        """Store a small blob that came from elsewhere. Raises Reject when it is another one, OSError."""
        with self.receive(expected) as incoming:
            incoming.write(content)

    @contextmanager
    def receive(self, expected: Blob) -> Iterator[Incoming]:
        """A place for a blob that a peer sends: `write` it, then the end of the `with` block verifies and names it.

        Raises Reject: before the first byte when the blob is too large, as soon as more bytes come than announced, and
        at the end when it is another one. Nothing stays behind then.
        """
        if expected.size_bytes > self._size_bytes_max:
            raise Reject(f"a blob of {expected.size_bytes} bytes; this node takes at most {self._size_bytes_max}")
        with self._incoming(expected.size_bytes) as incoming:
            yield incoming
            incoming.finish(expected)

    def __contains__(self, sha256: object) -> bool:
        return isinstance(sha256, bytes) and (self._directory / sha256.hex()).is_file()

    def names(self) -> list[bytes]:
        """The hashes of all blobs here."""
        named = (path.name for path in self._directory.iterdir() if BLOB_NAME.fullmatch(path.name))
        return [bytes.fromhex(name) for name in sorted(named)]

    def path(self, sha256: bytes) -> Path:
        """The file of a blob, to be read only. Raises LocalError when it is not here."""
        path = self._directory / sha256.hex()
        if not path.is_file():
            raise LocalError("HEL-BLOB-002", f"blob {sha256.hex()} is not on this node", "fetch it from a peer")
        return path

    def verify(self, sha256: bytes) -> Path:
        """`path`, after reading it all again. A file that has rotted is removed, so that it can be fetched anew.

        Raises VerificationFailed, and LocalError when it is not here.
        """
        path = self.path(sha256)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
        if found != sha256:
            path.unlink()
            raise VerificationFailed(
                "HEL-BLOB-003",
                f"blob {sha256.hex()} had changed on the disk: its hash was {found.hex()}",
                "fetch it again, and check the disk",
            )
        return path

    def read(self, sha256: bytes, max_bytes: int) -> bytes | None:
        """A small blob's content; None where it is not here, is larger, or has rotted on the disk."""
        try:
            with self.path(sha256).open("rb") as file:
                content = file.read(max_bytes + 1)
        except (LocalError, OSError):
            return None
        is_whole = len(content) <= max_bytes and hashlib.sha256(content).digest() == sha256
        return content if is_whole else None

    def remove(self, sha256: bytes) -> None:
        """Let a blob go. One that is not here is gone already."""
        (self._directory / sha256.hex()).unlink(missing_ok=True)

    @contextmanager
    def _incoming(self, size_bytes_max: int) -> Iterator[Incoming]:
        incoming = Incoming(self._directory, size_bytes_max)
        try:
            yield incoming
        finally:
            incoming.close()


def chunks(source: Path | bytes) -> Iterator[bytes]:
    """The content in pieces of at most `CHUNK_BYTES`."""
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
