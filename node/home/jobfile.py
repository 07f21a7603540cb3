"""What a researcher asks for, as a job file (TOML) or as the API's request (JSON), and the Job that follows from it.

The two differ in one thing: a file names its texts by path, a request by the hash of blobs that the node holds already.
Decimal rates become the protocol's integers exactly, durations become slots, work becomes slots by a reference rate.
Pure: whoever reads the texts and knows the time passes both in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, field_validator

from node.documents import Fault, Invalid, Strict, faults_of, invalid
from protocol.genesis import Clock, Genesis
from protocol.identity import public_key
from protocol.messages import ARRAY_MAX, Blob, Count, Job, Mode, ModelSpec, Name, Positive, Tenant, TrainingSpec
from protocol.units import ceil_div, slot_of

UPLOAD_MAX_BYTES = 64 * 1024 * 1024
START_MS = 15_000  # of the machine's time, for a worker's start and its data; 7 s were seen on a busy machine
MARGIN_SLOTS = 1  # for the part of the first slot that has passed already
DURATION_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _places(most: int) -> AfterValidator:
    """Refuse a decimal that would have to be rounded to become an integer of the protocol."""

    def check(value: float) -> float:
        exponent = Decimal(repr(value)).normalize().as_tuple().exponent
        if isinstance(exponent, int) and exponent < -most:
            raise ValueError(f"{value!r} has more than {most} decimal places; no more are kept")
        return value

    return AfterValidator(check)


MICRO, MILLI = _places(6), _places(3)
Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}(ms|s|m|h|d)$", examples=["2s", "10m"])]
RelativePath = Annotated[str, Field(min_length=1, max_length=255)]


class BlobName(Strict):
    """A blob by its content, as JSON spells it."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=1, le=UPLOAD_MAX_BYTES)]


class _Training(Strict):
    """DiLoCo: `rounds` outer steps of `inner_steps` AdamW steps each."""

    rounds: Annotated[int, Field(ge=1, le=ARRAY_MAX)]
    inner_steps: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    inner_learning_rate: Annotated[float, Field(gt=0, le=1), MICRO]
    inner_warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    inner_weight_decay: Annotated[float, Field(ge=0, le=1), MICRO] = 0.0
    outer_learning_rate: Annotated[float, Field(gt=0, le=2), MILLI]
    outer_momentum: Annotated[float, Field(ge=0, lt=1), MILLI]
    seed: Count


class FileTraining(_Training):
    """`data`: texts beside the job file."""

    data: Annotated[tuple[RelativePath, ...], Field(min_length=1, max_length=64)]


class RequestTraining(_Training):
    """`data`: blobs that were uploaded before."""

    data: Annotated[tuple[BlobName, ...], Field(min_length=1, max_length=64)]


class _Job(Strict):
    """`deadline` counts from now in network time, on which power and slots are reckoned; `bids_window` in the time that
    messages take. `reference_rate_tps`: how fast one unit of the reference machine trains; slower ones cannot bid."""

    name: Name
    mode: Mode = "open"
    tenant: Tenant = ""
    auditors: Annotated[tuple[str, ...], Field(max_length=64)] = ()  # peer ids, beside those of the network
    shards: Annotated[int, Field(ge=1, le=ARRAY_MAX)]
    units_per_shard: Annotated[int, Field(ge=1, le=1024)] = 1
    memory_mb: Count
    bandwidth_mbps: Count = 0
    reference_rate_tps: Positive
    price_max_credits_per_unit_hour: Annotated[float, Field(ge=0, le=1_000_000), MICRO]
    carbon_max_g_per_kwh: Count = 0
    deadline: Duration
    bids_window: Duration = "2s"
    model: ModelSpec

    @field_validator("auditors")
    @classmethod
    def _named_by_peer_id(cls, auditors: tuple[str, ...]) -> tuple[str, ...]:
        for peer in auditors:
            public_key(peer)
        return auditors


class JobFile(_Job):
    """A job as a person writes it."""

    training: FileTraining

    def request(self, data: Sequence[Blob]) -> JobRequest:
        """The same job, its texts replaced by their blobs, in order."""
        training = self.training.model_dump(exclude={"data"})
        blobs = tuple(BlobName(sha256=blob.sha256.hex(), size_bytes=blob.size_bytes) for blob in data)
        fields = {name: getattr(self, name) for name in _Job.model_fields}
        return JobRequest(**fields, training=RequestTraining(**training, data=blobs))


class JobRequest(_Job):
    """A job as the API takes it."""

    training: RequestTraining

    def spec(self) -> TrainingSpec:
        """What to train, in the protocol's integers."""
        t = self.training
        return TrainingSpec(
            model=self.model,
            data=tuple(Blob(sha256=bytes.fromhex(b.sha256), size_bytes=b.size_bytes) for b in t.data),
            seed=t.seed,
            rounds=t.rounds,
            inner_steps=t.inner_steps,
            batch_size=t.batch_size,
            inner_learning_rate_micro=_scaled(t.inner_learning_rate, 6),
            inner_warmup_steps=t.inner_warmup_steps,
            inner_weight_decay_micro=_scaled(t.inner_weight_decay, 6),
            outer_learning_rate_permille=_scaled(t.outer_learning_rate, 3),
            outer_momentum_permille=_scaled(t.outer_momentum, 3),
        )

    def job(self, genesis: Genesis, now_ms: int) -> Job:
        """The signed body's content at this moment of network time.

        Raises Invalid where the work does not fit: more slots than a job can have, or than the deadline leaves.
        """
        clock, slot_ms = genesis.clock, genesis.slot_ms
        spec = self.spec()
        slots = self.slots(spec, clock, slot_ms)
        bids_close_at_ms = now_ms + duration_ms(self.bids_window) * clock.speed
        first_slot = slot_of(bids_close_at_ms, slot_ms)
        deadline_slot = slot_of(now_ms + duration_ms(self.deadline), slot_ms)
        if slots > ARRAY_MAX:
            raise _unfit("training", f"the work takes {slots} slots of {slot_ms} ms; a job has at most {ARRAY_MAX}")
        if deadline_slot < first_slot + slots:
            left = max(0, deadline_slot - first_slot)
            text = f"{self.deadline} leaves {left} slots of {slot_ms} ms after bidding; the work takes {slots}"
            raise _unfit("deadline", text)
        try:
            return Job(
                name=self.name,
                mode=self.mode,
                tenant=self.tenant,
                shards=self.shards,
                slots=slots,
                first_slot=first_slot,
                deadline_slot=deadline_slot,
                units_per_shard=self.units_per_shard,
                memory_mb=self.memory_mb,
                rate_tps=self.reference_rate_tps,
                bandwidth_mbps=self.bandwidth_mbps,
                price_max_microcredits_per_unit_hour=_scaled(self.price_max_credits_per_unit_hour, 6),
                carbon_max_g_per_kwh=self.carbon_max_g_per_kwh,
                bids_close_at_ms=bids_close_at_ms,
                training=spec,
                auditors=tuple(dict.fromkeys(map(public_key, self.auditors))),
            )
        except ValidationError as error:
            raise invalid("the job", list(faults_of(error, Job).values())) from None

    def slots(self, spec: TrainingSpec, clock: Clock, slot_ms: int) -> int:
        """Slots that one shard needs on the reference machine, and a margin."""
        work_ms = (START_MS + ceil_div(spec.tokens_per_shard * 1000, self.reference_rate_tps)) * clock.speed
        return ceil_div(work_ms, slot_ms) + MARGIN_SLOTS


def duration_ms(text: str) -> int:
    """Milliseconds of a Duration."""
    number, unit = re.findall(r"\d+|\D+", text)
    return int(number) * DURATION_MS[unit]


def _scaled(value: float, places: int) -> int:
    """The decimal that was written, as an integer of its last kept place."""
    return int(Decimal(repr(value)).scaleb(places))


def _unfit(field: str, text: str) -> Invalid:
    return invalid("the job", [Fault(field, text)])
