"""Forks, proofs and audits for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from node.commands.show import moment, rows, say
from protocol.units import format_carbon, format_credits, format_energy


def forks(answer: Mapping[str, Any]) -> None:
    if not answer["forks"]:
        say("no forks: every author that is known here has signed one history")
        return
    rows(
        ("author", "frozen from seq", "since", "one entry", "the other"),
        (
            (
                fork["author"]["peer_id"],
                fork["frozen_from"],
                moment(fork["since_ms"]),
                *(f"{entry['seq']} {entry['id'][:16]}" for entry in fork["entries"]),
            )
            for fork in answer["forks"]
        ),
    )


def proven(facts: Mapping[str, Any]) -> None:
    """First whether it can still be taken back, then what was said, by whom, and who saw it."""
    entry = facts["entry"]
    say(f"verify-proof: OK ({_standing(facts)})")
    say(f"  entry       {entry['id']}, {entry['kind']}, seq {entry['seq']}, {moment(entry['time_ms'])}")
    say(f"  author      {facts['author_peer_id']}")
    say(f"  network     {facts['network']} {facts['network_name']}")
    say(f"  checkpoint  the feed's first {facts['size']} entries, root {facts['root']}")
    for witness in facts["cosigned_by"]:
        say(f"  witness     {witness['peer_id']} at {moment(witness['unix_s'] * 1000)}")
    say(json.dumps(entry["body"], indent=2))


def _standing(facts: Mapping[str, Any]) -> str:
    if facts["final"]:
        return "final: no fork can take it back"
    return (
        f"not final: {len(facts['cosigned_by'])} of {facts['witnesses']} witnesses cosigned; a fork could take it back"
    )


def audit(found: Mapping[str, Any]) -> None:
    """Verdict, awards with what was found, the chain of every shard, sums, broken promises, doubts."""
    verdict = "OK, every award follows from what was recorded" if found["ok"] else "FAILED"
    say(f"audit of job {found['job'][:16]} {found['name']}, of {found['owner']['label']}, {found['status']}: {verdict}")
    rows(
        ("award", "matching", "matcher", "bids", "recorded", "placed", "follows"),
        (
            (
                award["id"][:12],
                award["instance_sha256"][:12],
                award["matcher"],
                found["bids"],
                award["candidates"],
                award["placements"],
                {True: "yes", False: "NO", None: "not repeated"}[award["follows"]],
            )
            for award in found["awards"]
        ),
    )
    for award in found["awards"]:
        for finding in award["findings"]:
            say(f"  award {award['id'][:12]}: {finding}")
        for excluded in award["excluded"]:
            say(f"  award {award['id'][:12]}: {excluded['provider']['label']} was excluded: {excluded['reason']}")
        if award["left_out"]:
            bidders = ", ".join(peer["label"] for peer in award["left_out"])
            say(f"  award {award['id'][:12]}: bids that its record lacks, perhaps since they came late: {bidders}")
    rows(
        ("shard", "provider", "status", "lease", "awarded", "receipt", "energy", "own surplus", "carbon", "settled"),
        (row for chain in found["shards"] for row in _chain(chain)),
    )
    totals = found["totals"]
    say(
        f"in all: {format_energy(totals['energy_j'])}, of it {format_energy(totals['surplus_j'])} own surplus and"
        f" {format_energy(totals['lost_energy_j'])} lost; {format_carbon(totals['carbon_ug'])} CO2e;"
        f" owed {format_credits(totals['owed_microcredits'])}"
    )
    for violation in found["violations"]:
        say(f"the ledger's promise is broken: {violation}")
    for doubt in found["doubts"]:
        say(f"hard to believe: {doubt}")


def _chain(chain: Mapping[str, Any]) -> list[tuple[object, ...]]:
    lease = chain["lease"][:12] if chain["lease"] else None
    awarded = f"{format_energy(chain['energy_j'])}, {format_carbon(chain['carbon_ug'])}"
    placed = (chain["shard"], chain["provider"]["label"], chain["status"], lease, awarded)
    return [(*placed, *_delivery(each)) for each in chain["deliveries"]] or [(*placed, *(None,) * 5)]


def _delivery(each: Mapping[str, Any]) -> tuple[object, ...]:
    if each["accepted"] is None:
        settled = "not yet"
    else:
        settled = format_credits(each["amount_microcredits"]) if each["accepted"] else f"refused: {each['reason']}"
    energy, surplus = format_energy(each["energy_j"]), format_energy(each["surplus_j"])
    return each["receipt"][:12], energy, surplus, f"{format_carbon(each['carbon_ug'])} ({each['method']})", settled
