"""The local API from Python: what the command line, the devnet and the demo speak to a node with.

Synchronous, and of the standard library alone: a command starts at once. Answers are the JSON documents that
`resources` describes; refusals are the LocalErrors that they were on the node. Proxies are never asked: the token is
for the node only.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from node.api.problems import error_of
from node.home.home import Home
from node.home.identity import load_token
from protocol.errors import LocalError, Unreachable, VerificationFailed
from protocol.messages import Blob

TIMEOUT_S = 30.0
STREAM_TIMEOUT_S = 45.0  # three of the node's keep-alives
RECONNECTS_MAX = 10
RECONNECT_PAUSE_S = 0.5
CHUNK_BYTES = 256 * 1024
ENTRIES_PER_PAGE = 500
ANSWER_MAX_BYTES = 64 * 1024 * 1024


class Client:
    """One node's API. Every method raises LocalError: Unreachable where no node answers, else what the node said."""

    def __init__(self, api: str, token: str) -> None:
        """`api`: its URL, as in the home's `runtime.json`."""
        self.api = api
        self._token = token

    @classmethod
    def of_home(cls, home: Home) -> Client:
        """The client of the node that runs in a home. Raises Unreachable if none does."""
        try:
            api = str(json.loads(home.runtime_path.read_bytes())["api"])
        except (OSError, ValueError, KeyError, TypeError):
            raise Unreachable(
                "HEL-CLIENT-001",
                f"no node runs in {home.path}",
                "Make one with: heliotrope init. Start it with: heliotrope up. Or name another with --home.",
            ) from None
        return cls(api, load_token(home))

    # --- reading ----------------------------------------------------------------------------------------------------

    def node(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/node")

    def ready(self) -> None:
        """Return if the node can do its work. Raises Unreachable with the reasons."""
        self._ask("GET", "/readyz")

    def peers(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/peers")

    def ban(self, key: str, seconds: int | None, reason: str) -> dict[str, Any]:
        """Keep a peer out, by its key in hexadecimal; the list of peers."""
        asked = {"seconds": seconds, "reason": reason}
        return self._ask("PUT", f"/v1/peers/{key}/ban", json.dumps(asked).encode())

    def unban(self, key: str) -> dict[str, Any]:
        return self._ask("DELETE", f"/v1/peers/{key}/ban")

    def deny(self, networks: Mapping[str, int | None]) -> dict[str, Any]:
        """Replace the denied networks, each for so many seconds or, with None, for good; the list of peers."""
        asked = [{"network": network, "seconds": seconds} for network, seconds in networks.items()]
        return self._ask("PUT", "/v1/peers/denied", json.dumps({"networks": asked}).encode())

    def find_peers(self, region: str, device: str) -> dict[str, Any]:
        query = urlencode({"region": region, "device": device})
        return self._ask("GET", f"/v1/peers/found?{query}", timeout_s=120.0)

    def energy(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/energy")

    def set_rules(self, rules: Sequence[str]) -> dict[str, Any]:
        """Replace the operator's rules."""
        return self._ask("PUT", "/v1/energy/rules", json.dumps({"rules": list(rules)}).encode())

    def offers(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/offers")

    def jobs(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/jobs")

    def job(self, job_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/v1/jobs/{job_id}")

    def carbon(self, job_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/v1/jobs/{job_id}/carbon")

    def heads(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/ledger/heads")

    def entry(self, entry_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/v1/ledger/entries/{entry_id}")

    def entries(
        self, after: int = 0, *, author: str | None = None, kind: str | None = None, job: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """All entries behind a position, of one author, kind or job where given."""
        given = {"author": author, "kind": kind, "job": job}
        filters = {name: value for name, value in given.items() if value is not None}
        more = True
        while more:
            query = urlencode({"after": after, "limit": ENTRIES_PER_PAGE, **filters})
            page = self._ask("GET", f"/v1/ledger/entries?{query}")
            yield from page["entries"]
            after, more = page["next_after"], page["more"]

    def verify(self) -> dict[str, Any]:
        """Have the node check its whole ledger again. Raises VerificationFailed."""
        return self._ask("GET", "/v1/ledger/verify", timeout_s=600.0)

    def forks(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/ledger/forks")

    def proof(self, entry_id: str) -> bytes:
        """A proof file. Raises Conflict where no checkpoint covers the entry yet."""
        with self._request("GET", f"/v1/ledger/entries/{entry_id}/proof") as response:
            return response.read(ANSWER_MAX_BYTES)

    def audit(self, job_id: str) -> dict[str, Any]:
        """Have the node repeat a job's matchings; it may ask the job's owner for their records."""
        return self._ask("GET", f"/v1/jobs/{job_id}/audit", timeout_s=600.0)

    # --- jobs -------------------------------------------------------------------------------------------------------

    def plan(self, request: str) -> dict[str, Any]:
        """What a job request (JSON) would get now."""
        return self._ask("POST", "/v1/jobs/plan", request.encode())

    def submit(self, request: str) -> dict[str, Any]:
        """Submit a job request (JSON) whose texts are uploaded."""
        return self._ask("POST", "/v1/jobs", request.encode())

    def cancel(self, job_id: str) -> dict[str, Any]:
        return self._ask("POST", f"/v1/jobs/{job_id}/cancel")

    # --- credit -----------------------------------------------------------------------------------------------------

    def credit(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/credit")

    def paid(self, debtor: str, total_microcredits: int) -> dict[str, Any]:
        """Say what a debtor has paid over all time, by peer id or key."""
        request = {"debtor": debtor, "total_microcredits": total_microcredits}
        return self._ask("POST", "/v1/credit/payments", json.dumps(request).encode())

    # --- certified energy and devices ---------------------------------------------------------------------------------

    def certificates(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/certificates")

    def devices(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/devices")

    def act(self, path: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Have the node sign something about energy of its own, or judge it only."""
        return self._ask("POST", path, json.dumps(asked).encode())

    # --- events -----------------------------------------------------------------------------------------------------

    def events(self, after: int | None = None) -> Iterator[dict[str, Any]]:
        """Events as they happen, {number, time_ms, kind, data}; first those that the node still holds. Ends never.

        Takes the stream up again where it broke; of kind `lost` where events are missing. Raises Unreachable when the
        node stays away.
        """
        failures = 0
        while True:
            try:
                for event in self._stream(after):
                    failures, after = 0, event.get("number", after)
                    yield event
            except Unreachable:
                failures += 1
                if failures > RECONNECTS_MAX:
                    raise
            time.sleep(RECONNECT_PAUSE_S)

    def _stream(self, after: int | None) -> Iterator[dict[str, Any]]:
        position = {} if after is None else {"Last-Event-ID": str(after)}
        with self._request("GET", "/v1/events", headers=position, timeout_s=STREAM_TIMEOUT_S) as response:
            while line := response.readline(ANSWER_MAX_BYTES):
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    # --- files ------------------------------------------------------------------------------------------------------

    def upload(self, path: Path) -> Blob:
        """Send a file; its blob."""
        blob = blob_of(path)
        headers = {"Content-Length": str(blob.size_bytes)}
        with path.open("rb") as file:
            pieces = iter(lambda: file.read(CHUNK_BYTES), b"")
            self._ask("PUT", f"/v1/blobs/{blob.sha256.hex()}", pieces, headers)
        return blob

    def download(self, sha256: str, path: Path) -> None:
        """Fetch a blob into a file. Raises VerificationFailed if other bytes came; the file is not written then."""
        with _draft(path) as draft:
            with self._request("GET", f"/v1/blobs/{sha256}") as response:
                _save(response, draft)
            found = blob_of(draft).sha256.hex()
            if found != sha256:
                cause = f"blob {sha256} came with hash {found}"
                remedy = "Try again; if it happens again, check the node's disk."
                raise VerificationFailed("HEL-CLIENT-003", cause, remedy)

    def export(self, path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """Fetch the ledger's archive into a file; whether it is whole, `ledger.archive.check` says."""
        with _draft(path) as draft, self._request("GET", "/v1/ledger/export") as response:
            _save(response, draft, on_bytes)

    # --- HTTP -------------------------------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, Any]:
        with self._request(method, path, body, headers, timeout_s) as response:
            answer: dict[str, Any] = json.loads(response.read(ANSWER_MAX_BYTES))
            return answer

    @contextmanager
    def _request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Iterator[http.client.HTTPResponse]:
        """The response of a request that was granted."""
        parts = urlsplit(self.api)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
        sent = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", **(headers or {})}
        with closing(connection), self._named_failures():
            connection.connect()
            with suppress(BrokenPipeError, ConnectionResetError):  # a refusal in mid-upload: the answer says why
                connection.request(method, path, body, sent)
            response = connection.getresponse()
            if response.status >= 400:
                raise _refusal(response)
            yield response

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        """Whatever the connection suffers, as Unreachable. A file's failures pass: they are no fault of the node."""
        try:
            yield
        except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
            raise Unreachable(
                "HEL-CLIENT-002",
                f"no node answers at {self.api}: {str(error) or type(error).__name__}",
                "Start it with: heliotrope up, or name another with --home.",
            ) from None


def blob_of(path: Path) -> Blob:
    """The name of a file's content, without sending it anywhere."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        return Blob(sha256=digest, size_bytes=file.tell())


def _refusal(response: http.client.HTTPResponse) -> LocalError:
    raw = response.read(ANSWER_MAX_BYTES)
    try:
        return error_of(json.loads(raw))
    except (ValueError, TypeError, AttributeError):
        cause = f"the answer is HTTP {response.status} and no problem document: {raw[:200]!r}"
        return Unreachable("HEL-CLIENT-004", cause, "Something else than a Heliotrope node may hold the port.")


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place once it is whole, and vanishes otherwise."""
    draft = path.with_name(path.name + ".part")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _save(response: http.client.HTTPResponse, path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> None:
    with path.open("wb") as file:
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            on_bytes(file.tell())
