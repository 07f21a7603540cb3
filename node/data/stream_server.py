"""Serves this node's blobs over streams of the link, as the same admission decides."""

from __future__ import annotations

from typing import BinaryIO

from node.data.admission import STALL_TIMEOUT_S, Admission, Grant, deadline_s
from node.data.quota import Denied
from node.link.blobs import BlobHead


class StreamServer:
    """`serve` is what the link calls."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def serve(self, peer: bytes, authorization: str, first_byte: int) -> Lent | Refused:
        try:
            grant = self._admission.admit(authorization, first_byte, peer=peer)
        except Denied as denied:
            return Refused(denied)
        return Lent(grant)


class Refused:
    """Why not; no bytes."""

    deadline_s = STALL_TIMEOUT_S

    def __init__(self, denied: Denied) -> None:
        self.head = BlobHead(denied.status, retry_after_s=denied.retry_after_s, reason=denied.reason)

    def read(self, size_bytes: int) -> bytes:
        return b""

    def close(self, sent_bytes: int) -> None:
        pass


class Lent:
    """A blob's bytes. `read` is called on a worker thread, one call after the other."""

    def __init__(self, grant: Grant) -> None:
        self.head = BlobHead(206 if grant.first_byte else 200, grant.size_bytes)
        self.deadline_s = deadline_s(grant.unsent_bytes)
        self._grant = grant
        self._file: BinaryIO | None = None

    def read(self, size_bytes: int) -> bytes:
        """Raises OSError."""
        if self._file is None:
            self._file = self._grant.path.open("rb")
            self._file.seek(self._grant.first_byte)
        return self._file.read(size_bytes)

    def close(self, sent_bytes: int) -> None:
        if self._file is not None:
            self._file.close()
        self._grant.sent(sent_bytes)
        self._grant.close()
