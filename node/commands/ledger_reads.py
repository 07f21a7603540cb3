"""Questions to a ledger: a running node's, a stopped one's, or an exported file's, with the same answers."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from node.commands.ledger_source import EntryArgument, FileOption, size_of, source_of, the_one
from node.commands.options import HomeOption, JsonOption, home_of, print_json
from node.commands.progress import progress
from protocol.errors import LocalError, VerificationFailed

if TYPE_CHECKING:
    from ledger.archive.check import Verified
    from ledger.proof import Proven
    from protocol.genesis import Genesis


def verify(
    file: Annotated[Path | None, Parameter(help="An exported ledger; without it the node's own.")] = None,
    /,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every signature, chain, rule and sum; a FILE needs no node. Exit code 5 if anything does not hold."""
    from node.commands.show import moment, say

    facts = _verify_own(home, as_json) if file is None else file_facts(file, as_json)
    if as_json:
        print_json(facts)
        return
    say(f"ledger verify: OK ({facts['entries']} entries)")
    say(f"  heads     {facts['fingerprint']}")
    say(f"  network   {facts['network']} {facts['network_name']}")
    say(f"  forks     {facts['forks']}, checkpoints {facts['checkpoints']}, recorded matchings {facts['matchings']}")
    if file is not None:
        say(f"  exporter  {facts['exporter']} at {moment(facts['exported_at_ms'])}")
    for double in facts["doubles"]:
        say(f"  claimed twice: {double}")


def file_facts(file: Path, quiet: bool) -> dict[str, Any]:
    """What a checked file holds. Raises VerificationFailed, naming the byte, and LocalError if it cannot be read."""
    from node.home.archives import verify_file

    with progress("checking", size_of(file), quiet=quiet) as tell:
        return _facts(verify_file(file, tell))


def _facts(verified: Verified) -> dict[str, Any]:
    from node.api.ledger_views import verification
    from protocol.identity import peer_id

    facts = verification(verified).model_dump(mode="json")
    return {**facts, "exporter": peer_id(verified.seal.exporter), "exported_at_ms": verified.seal.time_ms}


def _verify_own(home: Path | None, quiet: bool) -> dict[str, Any]:
    from node.home.offline import Offline

    with source_of(home, quiet=quiet) as source:
        if not isinstance(source, Offline):
            return source.verify()
        with progress("checking", source.ledger.count, quiet=quiet) as tell:
            return source.verify(tell)


def show(
    entry: Annotated[str | None, Parameter(help="An entry's id, or its first digits; without it the newest.")] = None,
    /,
    *,
    last: Annotated[int, Parameter(name=["--last", "-n"], help="How many of the newest.")] = 20,
    author: Annotated[str | None, Parameter(help="Only this author's: a peer id, or a key in hexadecimal.")] = None,
    kind: Annotated[str | None, Parameter(help="Only of this kind: offer, bid, receipt ...")] = None,
    job: Annotated[str | None, Parameter(help="Only what belongs to this job: its id, or its first digits.")] = None,
    file: FileOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The newest entries of the ledger, or one entry whole."""
    from node.commands import show as shown
    from node.commands.follow import resolve

    with source_of(home, file, quiet=as_json) as source:
        if entry is not None:
            print_json(the_one(source, entry))
            return
        unfiltered = author is None and kind is None and job is None
        after = max(0, source.heads()["entries"] - last) if unfiltered else 0
        job_id = None if job is None else resolve(source, job)
        newest = deque(source.entries(after, author=author, kind=kind, job=job_id), maxlen=max(1, last))
    if as_json:
        print_json({"entries": list(newest)})
    else:
        shown.entries(newest)


def forks(*, file: FileOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Authors that signed two histories, with the proof: what they signed from there on is void."""
    from node.commands.show_ledger import forks as shown

    with source_of(home, file, quiet=as_json) as source:
        found = source.forks()
    if as_json:
        print_json(found)
    else:
        shown(found)


def audit(
    job: Annotated[str, Parameter(help="A job's id, or its first digits.")],
    /,
    *,
    file: FileOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Repeat the matching behind each award of a job, and follow it from its bids to its settlements. Exit code 5 if
    anything does not follow, or could not be checked."""
    from node.commands.follow import resolve
    from node.commands.show_ledger import audit as shown

    with source_of(home, file, quiet=as_json) as source:
        found = source.audit(resolve(source, job))
    if as_json:
        print_json(found)
    else:
        shown(found)
    if not found["ok"]:
        faults = sum(award["follows"] is not True for award in found["awards"])
        raise VerificationFailed(
            "HEL-AUDIT-001",
            f"audit: FAILED: {faults} of {len(found['awards'])} awards do not follow or could not be repeated,"
            f" {len(found['violations'])} promises of the ledger are broken",
            "What is named above says why. Where a recorded matching is not at hand, ask the job's owner for an export,"
            " or audit while it is connected.",
        )


def prove(
    entry: EntryArgument,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Write it to this file instead of printing it.")] = None,
    file: FileOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that an author's feed holds an entry: a file that `ledger verify-proof` checks with the genesis alone."""
    with source_of(home, file, quiet=as_json) as source:
        entry_id = entry if len(entry) == 64 else the_one(source, entry)["id"]
        _check_id(entry_id)
        proof = source.proof(entry_id)
    if out is not None:
        out.write_bytes(proof)
    if as_json:
        print_json({"entry": entry_id, "file": str(out) if out else None, "proof": proof.decode()})
    elif out is not None:
        print(f"{out}: proof of entry {entry_id}")
    else:
        print(proof.decode(), end="")


def _check_id(text: str) -> None:
    try:
        bytes.fromhex(text)
    except ValueError:
        cause = f"an entry's id has hexadecimal digits, not {text[:64]!r}"
        raise LocalError("HEL-LEDGER-010", cause, "List them with: heliotrope ledger show") from None


def verify_proof(
    file: Annotated[Path, Parameter(help="A proof file, as `ledger prove` makes it.")],
    /,
    *,
    genesis: Annotated[Path | None, Parameter(help="The network's genesis file; else that of the home.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a proof file, with no node and no network, and say what it proves. Exit code 5 if it proves nothing."""
    from ledger.proof import PROOF_MAX_BYTES
    from ledger.proof import verify as check
    from node.commands.show_ledger import proven as shown
    from node.home.archives import open_file
    from node.home.identity import load_genesis

    network = load_genesis(genesis or home_of(home).genesis_path)
    with open_file(file) as opened:
        facts = _proven(check(opened.read(PROOF_MAX_BYTES + 1), network), network)
    if as_json:
        print_json(facts)
    else:
        shown(facts)


def _proven(found: Proven, genesis: Genesis) -> dict[str, Any]:
    from ledger.archive.lines import entry_fields
    from protocol.identity import peer_id

    cosigned = sorted(found.cosigned_at_s.items())
    return {
        "ok": True,
        "network": genesis.network_id().hex(),
        "network_name": genesis.name,
        "entry": entry_fields(found.entry),
        "author_peer_id": peer_id(found.entry.author),
        "size": found.size,
        "root": found.root.hex(),
        "witnesses": found.witnesses,
        "cosigned_by": [{"peer_id": peer_id(witness), "unix_s": time_s} for witness, time_s in cosigned],
        "final": found.is_final,
    }
