"""The examples of `protocol/CARBON.md`, worked out by the code: what the document says is what everyone computes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ledger import energy
from ledger.energy import embodied_ug, emitted_ug, shard_energy_j, transfer_energy_j
from node.accounts import figures
from node.accounts.carbon import counterfactuals, job_account
from node.accounts.figures import Carbon, Report, report
from protocol.messages import Revocation
from tests.builders import FIRST_SLOT, SLOT_MS, History, keypair, slot_energy

DOCUMENT = (Path(__file__).parents[2] / "protocol/CARBON.md").read_text()
EXAMPLES = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)]
SHARD, LOST, CERTIFICATE, WORK, OTHERWISE = (example["given"] for example in EXAMPLES)
OWNER, PROVIDER, NEIGHBOUR = (keypair(n) for n in range(3))


def follows(number: int) -> dict[str, Any]:
    """What the document says of the example with this number."""
    found: dict[str, Any] = EXAMPLES[number - 1]["follows"]
    return found


def drawn_j() -> int:
    fields = ("units", "idle_w", "peak_w", "pue_permille", "duration_ms")
    return shard_energy_j(**{name: SHARD[name] for name in fields}, unit_rate_tps=1000, job_rate_tps=0)


def worked(*, certified: bool = False, lost: bool = False) -> tuple[History, Report]:
    """The shard of the first example, from its offer to its receipt; with what the other examples add to it."""
    history = History()
    history.offer(
        PROVIDER,
        **{name: SHARD[name] for name in ("idle_w", "peak_w", "pue_permille", "embodied_ug_per_unit_hour")},
    )
    history.offer(NEIGHBOUR)
    job = history.job(OWNER, units_per_shard=SHARD["units"])
    award = history.award(job, history.placement(history.bid(PROVIDER, job)))
    lease = history.lease(award)
    other = history.award(job, history.placement(history.bid(NEIGHBOUR, job), shard=1)) if lost else None
    lost_lease = history.lease(other, 1) if other else None
    history.now_ms += SHARD["duration_ms"]
    surplus = history.attestation(
        PROVIDER,
        energy_j=SHARD["surplus_j"],
        own_g_per_kwh=SHARD["own_g_per_kwh"],
        grid_g_per_kwh=SHARD["grid_g_per_kwh"],
        uncertainty_permille=SHARD["surplus_uncertainty_permille"],
        marginal_g_per_kwh=CERTIFICATE["marginal_g_per_kwh"],
        carbon_free_permille=CERTIFICATE["carbon_free_permille"],
    )
    row = slot_energy(
        energy_j=drawn_j(),
        surplus_j=SHARD["surplus_j"],
        embodied_ug=embodied_ug(SHARD["units"], SHARD["embodied_ug_per_unit_hour"], SHARD["duration_ms"]),
        attestation=surplus.id,
    )
    receipt = history.receipt(
        lease,
        row,
        busy_ms=SHARD["duration_ms"],
        moved_bytes=SHARD["moved_bytes"],
        uncertainty_permille=SHARD["uncertainty_permille"],
        tokens=WORK["tokens"],
        inner_steps=WORK["inner_steps"],
    )
    if certified:
        made = history.attestation(NEIGHBOUR, carrier="wind", own_g_per_kwh=CERTIFICATE["certified_g_per_kwh"])
        lot = history.certificate(made, energy_j=CERTIFICATE["certified_j"])
        history.allocation(history.cancellation(lot, PROVIDER), receipt, energy_j=CERTIFICATE["certified_j"])
    if lost_lease and other:
        history.receipt(lost_lease, slot_energy(energy_j=LOST["receipted_j"]), final=False, busy_ms=0)
        reported = {"energy_j": LOST["reported_j"], "carbon_ug": LOST["reported_ug"]}
        history.append(OWNER, Revocation(award=other.id, shard=1, reason="gone", **reported), other.id)
    assert history.broken == []
    assert history.state.voids == {}
    return history, report(history.state, history.state.jobs[job.id])


def test_the_document_has_as_many_examples_as_are_worked_out_here() -> None:
    assert len(re.findall(r"^## \d", DOCUMENT, re.MULTILINE)) == len(EXAMPLES) == 5


def test_example_1_a_shard_with_partial_surplus_and_overhead() -> None:
    _, told = worked()
    said = follows(1)
    assert drawn_j() == said["energy_j"] == told.account.energy_j
    covered = [(SHARD["surplus_j"], SHARD["own_g_per_kwh"])]
    assert emitted_ug(drawn_j(), covered, SHARD["grid_g_per_kwh"]) == said["use_ug"]
    assert told.account.embodied_ug == said["embodied_ug"]
    assert transfer_energy_j(SHARD["moved_bytes"]) == said["transfer_j"] == told.account.transfer_j
    assert told.account.transfer_ug == said["transfer_ug"]
    assert told.account.carbon_ug == said["carbon_ug"]
    assert told.location == Carbon(said["carbon_ug"], said["least_ug"], said["most_ug"])


def test_example_2_idle_overhead_and_lost_work() -> None:
    _, alone = worked()
    _, told = worked(lost=True)
    said = follows(2)
    assert (alone.account.idle_j, alone.account.overhead_j) == (said["idle_j"], said["overhead_j"])
    assert (alone.account.redundant_j, alone.account.redundant_ug) == (0, 0)
    assert (told.account.lost_energy_j, told.account.lost_carbon_ug) == (said["lost_energy_j"], said["lost_carbon_ug"])
    assert (told.account.redundant_j, told.account.redundant_ug) == (said["lost_energy_j"], said["lost_carbon_ug"])
    assert told.account.energy_j == alone.account.energy_j + LOST["receipted_j"] + said["lost_energy_j"]


def test_example_3_a_certificate_of_the_same_hour() -> None:
    _, told = worked(certified=True)
    said = follows(3)
    assert told.certified_j == CERTIFICATE["certified_j"]
    assert told.location.carbon_ug == said["location_ug"]
    assert told.market.carbon_ug == said["market_ug"]
    assert told.carbon_free is not None
    assert told.carbon_free.carbon_free_permille == said["score_permille"] == said["matched_j"] * 1000 // drawn_j()
    assert told.carbon_free.unknown_permille == 0
    assert told.marginal is not None
    assert (told.marginal.carbon_ug, told.marginal_known_j) == (said["marginal_ug"], drawn_j())


def test_example_4_sci_per_token_and_step() -> None:
    _, told = worked()
    assert told.sci_per_token is not None
    assert told.sci_per_step is not None
    assert told.sci_per_token.carbon_pg == follows(4)["pg_per_token"]
    assert told.sci_per_step.carbon_pg == follows(4)["pg_per_step"]


def test_example_5_what_another_choice_would_have_emitted() -> None:
    history, _ = worked()
    (job,) = history.state.jobs.values()
    summary = {
        "energy_j": OTHERWISE["predicted_j"],
        "baselines": {"cheapest": {"carbon_ug": OTHERWISE["baseline_ug"]}},
    }
    assert counterfactuals(job_account(job), summary) == {"cheapest": follows(5)["counterfactual_ug"]}


@pytest.mark.parametrize("name", ["TRANSFER_J_PER_GB", "TRANSFER_LEAST_J_PER_GB", "TRANSFER_MOST_J_PER_GB"])
def test_the_document_names_what_a_gigabyte_draws(name: str) -> None:
    value = getattr(energy, name, None) or getattr(figures, name)
    assert f"{value:,} J/GB" in DOCUMENT


def test_the_examples_take_place_in_one_slot() -> None:
    assert SHARD["duration_ms"] == SLOT_MS
    assert slot_energy().slot == FIRST_SLOT
