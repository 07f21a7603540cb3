"""Instances: what is well formed is read to the last number, what is not is refused with line, field and check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import node.matching.files
from node.json_lines import Malformed
from node.matching.files.fields import FIELDS
from node.matching.files.instance import read
from node.matching.files.lines import LINE_MAX_BYTES
from node.matching.files.sums import KEYS_MAX
from node.matching.problem import CARBON_MAX

from .instances import Row, generated, instance, job, lines, peer, problem, zone


def base() -> list[Row]:
    """Line 1 meta, 2 and 3 zones, 4 and 5 peers, 6 and 7 jobs."""
    return instance([peer(0), peer(1, zone=1)], [job(0), job(1)], [zone(0), zone(1)])


def refusal(rows: list[Row]) -> str:
    with pytest.raises(Malformed) as caught:
        problem(rows)
    assert caught.value.code == "HEL-MATCH-003"
    return caught.value.cause


def refusal_of(raw: bytes, at: int = 5) -> str:
    """Of the base with the bytes of one line replaced."""
    raw_lines = lines(base())
    raw_lines[at - 1] = raw
    with pytest.raises(Malformed) as caught:
        read(raw_lines)
    return caught.value.cause


REQUIRED = [
    (line, name) for line, row in enumerate(base(), 1) if line in (1, 2, 4, 6) for name in row if name != "kind"
]


@pytest.mark.parametrize(("line", "name"), REQUIRED)
def test_refuse_a_missing_field(line: int, name: str) -> None:
    rows = base()
    del rows[line - 1][name]
    assert refusal(rows) == f"line {line}, field {name}: check 3: is required and missing"


WRONG_EVERYWHERE = [-(2**70), 2**64, True, 1.0, "1", None, [], {}]


@pytest.mark.parametrize(("line", "name"), [each for each in REQUIRED if each[1] not in ("name", "gpu", "pool")])
def test_refuse_what_is_no_integer_within_its_bounds(line: int, name: str) -> None:
    for wrong in WRONG_EVERYWHERE:
        rows = base()
        right = rows[line - 1][name]
        if isinstance(right, str) and isinstance(wrong, str):
            continue
        rows[line - 1][name] = [wrong, *right[1:]] if isinstance(right, list) else wrong
        cause = refusal(rows)
        if wrong == 1.0 and wrong is not True:
            assert cause == f"line {line}: check 1: not a line of JSON with integers only: 1.0 is not an integer"
        else:
            assert cause.startswith(f"line {line}, field {name}: check 4: ")


@pytest.mark.parametrize(("name", "wrong"), [("id", ""), ("id", "x" * 65), ("gpu", "a\x1b[2J"), ("id", "\ud800")])
def test_refuse_a_name_that_cannot_be_printed(name: str, wrong: str) -> None:
    cause = refusal_of(json.dumps(peer(1) | {name: wrong}).encode())
    assert cause.startswith(f"line 5, field {name}: check 4: ")
    assert cause.isprintable()


def change(line: int, **changes: Any) -> Callable[[list[Row]], None]:
    return lambda rows: rows[line - 1].update(changes)


INCONSISTENT = {
    "unknown field": (change(5, colour=3), 5, "colour", 3),
    "unknown field with an odd name": (change(5, **{"a\nb": 3}), 5, "a\\nb", 3),
    "unknown kind": (change(5, kind="truth_peer"), 5, "kind", 2),
    "kind of another type": (change(5, kind=["peer"]), 5, "kind", 2),
    "unknown version": (change(1, version=2), 1, "version", 4),
    "no slots": (change(1, slots=0), 1, "slots", 4),
    "meta twice": (lambda rows: rows.append(rows[0]), 8, "kind", 2),
    "meta not first": (lambda rows: rows.reverse(), 1, "kind", 2),
    "empty file": (lambda rows: rows.clear(), 1, "kind", 2),
    "forecast too short": (change(5, s50=[1, 2, 3]), 5, "s50", 5),
    "forecast too long": (change(2, ci=[1, 2, 3, 4, 5]), 2, "ci", 5),
    "zone twice": (change(3, id=0), 3, "id", 6),
    "peer twice": (change(5, id="p0"), 5, "id", 6),
    "job twice": (change(7, id="j0"), 7, "id", 6),
    "unknown zone": (change(5, zone=9), 5, "zone", 7),
    "idle above peak": (change(5, idle_w=401), 5, "idle_w", 8),
    "more free than there are": (change(5, avail=[2, 3, 2, 2]), 5, "avail", 9),
    "quantile above the median": (change(5, s20=[0, 0, 301, 0]), 5, "s20", 10),
    "PUE below one": (change(5, pue_m=999), 5, "pue_m", 4),
    "peer without a rate": (change(5, rate=0), 5, "rate", 4),
    "reputation above all": (change(5, rep=1001), 5, "rep", 4),
    "deadline beyond the slots": (change(6, dl=5), 6, "dl", 11),
    "deadline at the arrival": (change(6, arr=2, dl=2), 6, "dl", 11),
    "kmin above kmax": (change(6, kmin=3), 6, "kmin", 12),
    "kmin of none": (change(6, kmin=0), 6, "kmin", 4),
    "no shard per peer": (change(6, mpp=0), 6, "mpp", 4),
    "half a shard is redundant": (change(6, K=3, kmin=3, kmax=3, red=2), 6, "K", 13),
    "threefold redundancy": (change(6, red=3), 6, "red", 4),
    "work that no slots make": (change(6, K=3, H=1), 6, "H", 14),
    "work that no slots make, elastic": (change(6, K=5, kmin=3, kmax=4, H=1), 6, "H", 14),
    "closed for nobody": (change(6, pool="closed", tenant=0), 6, "tenant", 15),
    "unknown pool": (change(6, pool="all"), 6, "pool", 4),
    "pool of another type": (change(6, pool=["open"]), 6, "pool", 4),
    "fewer peers than the meta line says": (change(1, n_peers=3), 1, "n_peers", 16),
    "more peers than the meta line says": (change(1, n_peers=1), 5, "kind", 16),
    "fewer jobs than the meta line says": (change(1, n_jobs=3), 1, "n_jobs", 16),
    "more jobs than the meta line says": (change(1, n_jobs=1), 7, "kind", 16),
    "latency of one zone only": (change(2, latency_ms=[0, 5]), 3, "latency_ms", 17),
    "latency limit where zones have none": (change(6, latency_max_ms=5), 6, "latency_max_ms", 18),
    "link limit where zones have none": (change(6, link_min_mbps=5), 6, "link_min_mbps", 18),
    "energy beyond 64 bits": (change(5, rate=2**31, peak_w=2**20), 5, "rate", 19),
    "price beyond 64 bits": (change(6, g=2**16, price=2**40, K=2**10, kmin=2**10, kmax=2**10), 6, "price", 19),
    "penalties beyond 64 bits": (change(1, penalty_mg=2**53, slots=4), 7, "H", 19),
    "work beyond memory": (change(6, K=2**20, kmin=2**20, kmax=2**20, H=10_000), 6, "H", 19),
    "counts beyond memory": (change(6, K=2**14, kmin=1, kmax=2**14), 6, "H", 19),
}


@pytest.mark.parametrize("name", INCONSISTENT)
def test_refuse_what_does_not_agree(name: str) -> None:
    spoil, line, field, check = INCONSISTENT[name]
    rows = base()
    if name == "penalties beyond 64 bits":
        rows[5] |= {"K": 256, "kmin": 256, "kmax": 256}
        rows[6] |= {"K": 256, "kmin": 256, "kmax": 256}
    spoil(rows)
    assert refusal(rows).startswith(f"line {line}, field {field}: check {check}: ")


def test_refuse_a_table_between_zones_that_differs_there_and_back() -> None:
    rows = instance(zones=[zone(0, link_mbps=[0, 8]), zone(1, link_mbps=[9, 0])])
    cause = "line 2, field link_mbps: check 17: 8 at index 1, and 9 the other way round"
    assert refusal(rows) == cause
    assert "field link_mbps: check 17: 1 numbers, where the file has 2 zones" in refusal(
        instance(zones=[zone(0, link_mbps=[0, 8]), zone(1, link_mbps=[8])])
    )


BROKEN = {
    "not JSON": b"{",
    "nothing": b"",
    "blank": b"   \n",
    "an array": b"[1]",
    "a number": b"7",
    "not UTF-8": b'{"kind":"peer\xff"}',
    "UTF-16": '{"kind":"peer"}'.encode("utf-16"),
    "two objects": b"{}{}",
    "not a number": b'{"kind":NaN}',
    "infinity": b'{"kind":-Infinity}',
    "an exponent": b'{"kind":1e3}',
    "a name twice": b'{"kind":"peer","kind":"job"}',
    "more digits than anybody needs": b'{"kind":' + b"9" * 5000 + b"}",
    "deeper than anybody needs": b'{"kind":' + b"[" * 100_000,
    "longer than anybody needs": b'{"kind":"peer"}' + b" " * LINE_MAX_BYTES,
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuse_a_line_that_is_no_object_of_integers(name: str) -> None:
    cause = refusal_of(BROKEN[name])
    assert cause.startswith("line 5: check 1: ")
    assert len(cause) < 300


def test_deep_values_are_refused_and_not_quoted() -> None:
    for depth in range(1, 2000, 37):
        assert refusal_of(b'{"kind":' + b"[" * depth + b"]" * depth + b"}").startswith("line 5")


def test_refuse_more_carbon_than_64_bits_add_up() -> None:
    """Each peer is within its bounds; the sum over all of them and all slots is not."""
    cause = refusal(instance([peer(0), peer(1, emb=2**40, n=2**11)], slots=4))
    assert cause.startswith("line 4, field n: check 19: with this line a plan might come to ")
    assert cause.endswith(f", over {CARBON_MAX}")


def test_refuse_costs_that_do_not_fit_into_one_sorting_key() -> None:
    many = [peer(number) for number in range(3)]
    many[1] |= {"n": 2**12, "avail": [0] * 4, "emb": 2**36}
    spread = instance(many, [job(kmin=1, kmax=2**12, mpp=2**12)])
    with pytest.raises(Malformed, match=f"line 6, field mpp: check 19: .* ranks .* over {KEYS_MAX}"):
        problem(spread)
    assert problem(instance(many, [job()])).jobs


def test_refuse_more_shards_that_might_run_somewhere_than_memory_holds() -> None:
    rows = instance(
        [peer(0, 1000, n=2**16, idle_w=0, peak_w=0, emb=0)], [job(0, 1000, kmin=1, kmax=2**16, mpp=2**16)], slots=1000
    )
    many = rows[0] | {"n_peers": 2**10}
    assert refusal([many, *rows[1:]]).startswith("line 4, field mpp: check 19: with this line ranks × peers × slots ")


def test_refuse_moves_that_add_up_to_too_much() -> None:
    rows = instance([peer()], [job(ckpt_gb=2**20)], move_wh_per_gb=2**20)
    assert refusal(rows).startswith("line 4, field ckpt_gb: check 19: ")


def test_every_number_arrives_where_it_belongs() -> None:
    zones = [zone(7, ci=[10, 20, 30, 40]), zone(3, ci=[5, 6, 7, 8])]
    rows = instance([peer(0, zone=3, cig=7), peer(1, zone=7, s50=[1, 2, 3, 4], s20=[0, 1, 2, 3])], [job(0)], zones)
    read_with = {surplus: problem(rows, surplus).peers for surplus in ("s50", "s20")}
    peers = read_with["s50"]
    assert peers.ids == ("p0", "p1")
    assert peers.zone.tolist() == [1, 0]
    assert peers.grid.T.tolist() == [[5, 6, 7, 8], [10, 20, 30, 40]]
    assert peers.own.T.tolist() == [[5, 6, 7, 7], [10, 20, 20, 20]]
    assert peers.surplus[:, 1].tolist() == [1, 2, 3, 4]
    assert read_with["s20"].surplus[:, 1].tolist() == [0, 1, 2, 3]
    assert peers.free.T.tolist() == [[2] * 4] * 2
    assert all(getattr(peers, name).dtype == np.int64 for name in ("units", "zone", "grid", "own", "free", "surplus"))
    scalars = {
        "units": 2,
        "memory_gb": 40,
        "rate": 80,
        "idle_w": 50,
        "peak_w": 400,
        "pue_permille": 1200,
        "price": 900_000,
        "reputation": 900,
        "bandwidth_mbps": 1000,
        "attested": 1,
        "tenant": 0,
        "embodied": 5000,
    }
    assert {name: getattr(peers, name).tolist() for name in scalars} == {name: [n] * 2 for name, n in scalars.items()}


def test_optional_fields_arrive_too() -> None:
    limits = {"carbon_max_mg": 9, "budget_microusd": 8, "latency_max_ms": 7, "link_min_mbps": 6}
    zones = [zone(z, latency_ms=[0, 5] if z == 0 else [5, 0], link_mbps=[3, 3]) for z in range(2)]
    found = problem(instance([], [job(0), job(1, **limits)], zones, move_wh_per_gb=30))
    assert (found.move_wh_per_gb, problem(base()).move_wh_per_gb) == (30, None)
    assert found.latency_ms is not None
    assert found.latency_ms.tolist() == [[0, 5], [5, 0]]
    assert found.link_mbps is not None
    assert found.link_mbps.tolist() == [[3, 3], [3, 3]]
    free, limited = found.jobs
    assert (free.carbon_max, free.budget, free.latency_max_ms, free.link_min_mbps) == (0, 0, 0, 0)
    assert (limited.carbon_max, limited.budget, limited.latency_max_ms, limited.link_min_mbps) == (9, 8, 7, 6)


def test_lines_after_the_first_may_stand_in_any_order() -> None:
    rows = generated(1, 20, 5)
    turned = [rows[0], *reversed(rows[1:])]
    assert problem(turned).peers.ids == problem(rows).peers.ids[::-1]
    assert problem(turned).peers.grid.tolist() == problem(rows).peers.grid[:, ::-1].tolist()


def test_an_infeasible_job_is_well_formed() -> None:
    """It is declined and explained: too short a window, too many shards, a memory that nobody has."""
    asked = [job(0, H=9), job(1, K=500, kmin=500, kmax=500), job(2, vram=1000), job(3, mpz=1, same_zone=1)]
    assert len(problem(instance([peer()], asked)).jobs) == 4


def test_the_description_names_every_field_and_check() -> None:
    text = (Path(node.matching.files.__file__).parent / "FORMAT.md").read_text()
    assert [name for fields in FIELDS.values() for name in fields if f"`{name}`" not in text] == []
    assert all(f"{check}. " in text for check in range(1, 20))
