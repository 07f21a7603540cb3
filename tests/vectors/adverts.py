"""Batches of adverts, updates and goodbyes with what they hold, batches that are refused by a check, and what updates
lead to."""

from __future__ import annotations

from typing import Any

from protocol.adverts import LIFETIME_MAX_MS, Advert, SignedAdvert, goodbye, open_advert, seal, update_of, updated
from protocol.codec import decode, encode
from protocol.errors import Ignore, Reject
from protocol.gossip import BATCH_MAX, CLOCK_SKEW_MAX_MS, encode_batch, judge_adverts
from protocol.messages import ARRAY_MAX, INTEGER_MAX
from protocol.regions import COUNTRIES
from tests.builders import FIRST_SLOT, NOW_MS, digest, genesis, keypair
from tests.protocol.test_adverts import (
    AUTHOR,
    FULL,
    NETWORK,
    UPDATE,
    advert,
    sealed,
    sealed_update,
    signed_body,
    update,
)

REGION = "europe"
SERIES = tuple(range(1000, 1000 + ARRAY_MAX))
FULLEST = {"surplus_s50_j": SERIES, "surplus_s20_j": SERIES, "grid_g_per_kwh": SERIES}
BASE = advert(**{name: values[:64] for name, values in FULLEST.items()})
LATER = {"number": NOW_MS + 9, "expires_at_ms": NOW_MS + 9 + LIFETIME_MAX_MS, "free_units": 1}


def _accepted() -> dict[str, tuple[bytes, ...]]:
    return {
        "a full advert": (FULL,),
        "an update": (UPDATE,),
        "a goodbye": (seal(AUTHOR, NETWORK, goodbye(advert(), NOW_MS)),),
        "several authors": tuple(seal(keypair(n), NETWORK, advert()) for n in range(BATCH_MAX)),
        "full and update": (FULL, UPDATE),
        "the longest arrays": (sealed(**FULLEST),),
        "the highest numbers": (sealed(free_units=INTEGER_MAX, first_slot=INTEGER_MAX),),
        "an hour of life": (sealed(expires_at_ms=NOW_MS + LIFETIME_MAX_MS),),
        "no arrays": (sealed(**dict.fromkeys(FULLEST, ())),),
    }


def _refused() -> dict[str, tuple[bytes, str, int]]:
    """Data, topic's region, network time."""
    five = decode(FULL)
    stale = sealed(number=NOW_MS - 2, expires_at_ms=NOW_MS)
    here = {
        "a byte too many": encode_batch([FULL]) + b"\0",
        "no items": encode(()),
        "too many items": encode((FULL,) * (BATCH_MAX + 1)),
        "an item that is no byte string": encode((FULL, "text")),
        "a byte too many in an item": encode((FULL + b"\0",)),
        "four items": encode((encode(five[:4]),)),
        "version 2": encode((encode((2, *five[1:])),)),
        "another network": encode((seal(AUTHOR, digest("other"), advert()),)),
        "another author": encode((encode((*five[:2], keypair(2).public, *five[3:])),)),
        "an update under the domain of adverts": encode((_forged(),)),
        "an unknown field": encode((signed_body(advert(), unheard_of=1),)),
        "free_units below 0": encode((signed_body(advert(), free_units=-1),)),
        "arrays that differ in length": encode((signed_body(advert(), grid_g_per_kwh=()),)),
        "a run of nothing": encode((signed_body(update(), grid_g_per_kwh=((0, ()),)),)),
        "shift_slots above 256": encode((signed_body(update(), shift_slots=ARRAY_MAX + 1),)),
        "a life of more than an hour": encode((sealed(expires_at_ms=NOW_MS + LIFETIME_MAX_MS + 1),)),
        "a full advert without life": encode((sealed(expires_at_ms=NOW_MS),)),
        "an update that expires before it is sealed": encode((sealed_update(expires_at_ms=NOW_MS),)),
        "an expired one": encode((stale,)),
        "one of several is spoilt": encode((FULL, FULL[:-1] + bytes([FULL[-1] ^ 1]))),
        "one of several has expired": encode((FULL, stale)),
    }
    later = encode((seal(AUTHOR, NETWORK, goodbye(advert(), NOW_MS)),))
    return {name: (data, REGION, NOW_MS) for name, data in here.items()} | {
        "the topic of another region": (encode((FULL,)), "asia", NOW_MS),
        "a goodbye of an hour ago": (later, REGION, NOW_MS + LIFETIME_MAX_MS),
        "dated more than ten minutes ahead": (encode((FULL,)), REGION, NOW_MS - CLOCK_SKEW_MAX_MS - 1),
    }


def _forged() -> bytes:
    four = encode((1, NETWORK, AUTHOR.public, update().model_dump()))
    return b"\x95" + four[1:] + b"\xc4\x40" + AUTHOR.sign(b"heliotrope-advert/v1\0" + four)


def _updates() -> dict[str, tuple[Advert, bytes]]:
    """A base, and an update of it that leads to an advert or to none."""
    moved = {name: (*values[12:64], *range(7, 19)) for name, values in FULLEST.items()}
    changes: dict[str, dict[str, Any]] = {
        "nothing but time": LATER,
        "an hour later": LATER | moved | {"first_slot": FIRST_SLOT + 12},
        "some slots in the middle": LATER | {"surplus_s20_j": (*SERIES[:10], 0, 0, *SERIES[12:20], 0, *SERIES[21:64])},
        "all of it": LATER | dict.fromkeys(FULLEST, (5,) * 64),
        "shorter": LATER | {name: values[:10] for name, values in FULLEST.items()},
        "longer": LATER | FULLEST,
        "attestations and addresses": LATER | {"attestations": (), "addresses": ("/ip4/127.0.0.2/tcp/1",)},
    }
    told = {name: update_of(BASE, BASE.model_copy(update=each)) for name, each in changes.items()}
    good = {name: (BASE, seal(AUTHOR, NETWORK, each)) for name, each in told.items() if each is not None}
    small = advert()
    spoilt: dict[str, dict[str, Any]] = {
        "of another base": {"base_number": NOW_MS + 1},
        "a hole": {"surplus_s50_j": ((2, (1,)),)},
        "a run beyond the end": {"surplus_s50_j": ((1, (1, 2)),)},
        "too few slots": {"surplus_s50_j": ()},
        "nothing left to write on": {"shift_slots": 2},
    }
    return good | {name: (small, sealed_update(**each)) for name, each in spoilt.items()}


def make() -> dict[str, Any]:
    return {
        "networks": [{"name": "test", "genesis": genesis().encoded().hex(), "id": NETWORK.hex()}],
        "regions": [{"name": name, "countries": countries.split()} for name, countries in COUNTRIES.items()],
        "accepted": [{"name": name} | _batch(raws) for name, raws in _accepted().items()],
        "refused": [
            {"name": name, "data": data.hex(), "region": region, "now_ms": now_ms} | _verdict(data, region, now_ms)
            for name, (data, region, now_ms) in _refused().items()
        ],
        "updates": [
            {
                "name": name,
                "base": seal(AUTHOR, NETWORK, base).hex(),
                "update": raw.hex(),
                "advert": _outcome(base, raw),
            }
            for name, (base, raw) in _updates().items()
        ],
    }


def _batch(raws: tuple[bytes, ...]) -> dict[str, Any]:
    data = encode_batch(raws)
    items = []
    for item in judge_adverts(data, NETWORK, REGION, NOW_MS):
        is_full = isinstance(item, SignedAdvert)
        told = item.advert if isinstance(item, SignedAdvert) else item.update
        kind = "advert" if is_full else "goodbye" if told.expires_at_ms == told.number else "update"
        items.append({"author": item.author.hex(), "kind": kind, "number": told.number})
    return {"data": data.hex(), "region": REGION, "now_ms": NOW_MS, "items": items}


def _verdict(data: bytes, region: str, now_ms: int) -> dict[str, Any]:
    try:
        judge_adverts(data, NETWORK, region, now_ms)
    except (Reject, Ignore) as refusal:
        check = int(str(refusal).partition("check ")[2].partition(":")[0])
        return {"verdict": type(refusal).__name__, "check": check}
    raise AssertionError("it was accepted")


def _outcome(base: Advert, raw: bytes) -> dict[str, Any] | None:
    item = open_advert(raw, NETWORK)
    assert not isinstance(item, SignedAdvert)
    try:
        now = updated(base, item.update)
    except Reject:
        return None
    told = now.model_dump(exclude={"offer"})
    return told | {"attestations": [each.hex() for each in now.attestations]}
