"""The bodies of offers, energy and jobs, and the parts that all bodies share.

A body is a strict pydantic model: unknown fields, lax types and values out of bounds are refused where they enter.
Numbers are integers with their unit in the name, because others recompute them: joules, micrograms, watts, grams of
CO2e per kWh, microcredits, milliseconds of network time. Bytes are raw on the wire and hexadecimal in JSON.

Which entry may follow which is not decided here but in `ledger/transitions.py`. `protocol.bodies` lists all kinds.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

INTEGER_MAX = 2**53 - 1  # the largest integer that every JSON reader keeps exact
ARRAY_MAX = 256
STRING_MAX_BYTES = 4096
RECEIPT_ROUNDS_MAX = 64  # these two keep a receipt below the 16 KiB of an entry
RECEIPT_SLOTS_MAX = 64
COUNTERSIGNATURES_MAX = 4  # each is verified by every peer, which costs more than all other checks of its entry

Key = Annotated[bytes, Field(min_length=32, max_length=32)]
Digest = Annotated[bytes, Field(min_length=32, max_length=32)]
Signature = Annotated[bytes, Field(min_length=64, max_length=64)]
Count = Annotated[int, Field(ge=0, le=INTEGER_MAX)]
Positive = Annotated[int, Field(ge=1, le=INTEGER_MAX)]
Permille = Annotated[int, Field(ge=0, le=1000)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, Field(max_length=1024)]
Zone = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9-]{1,31}$")]  # Electricity Maps spelling: DE, US-CAL-CISO
Tenant = Annotated[str, Field(max_length=64)]  # "" = the open pool
PerSlot = Annotated[tuple[Count, ...], Field(max_length=ARRAY_MAX)]
Shard = Annotated[int, Field(ge=0, lt=ARRAY_MAX)]  # index within its job


def _distinct(keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """A quorum counts keys: one listed twice would count twice."""
    if len(set(keys)) < len(keys):
        raise ValueError("a key is listed twice")
    return keys


Keys = Annotated[tuple[Key, ...], Field(max_length=64), AfterValidator(_distinct)]
Mode = Literal["open", "closed", "hybrid"]
Carrier = Literal["solar", "wind", "hydro", "grid"]
Storage = Literal["storage"]  # the carrier of what was stored before, and comes from no source of its own
Method = Literal["metered", "modelled", "grid_mix", "certificate"]
IntensityKind = Literal["avg_lifecycle", "avg_direct"]  # what a headline may rest on; marginal has a field of its own


class Body(BaseModel):
    """Base of all bodies: strict, frozen, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, ser_json_bytes="hex", val_json_bytes="hex")


def require_same_length(*arrays: tuple[int, ...]) -> None:
    """Raise ValueError unless the per-slot arrays cover the same number of slots."""
    lengths = sorted({len(array) for array in arrays})
    if len(lengths) != 1:
        raise ValueError(f"per-slot arrays differ in length: {lengths}")


class Place(Body):
    """Where a peer stands: grid zone and position in tenths of a degree (about 11 km, close enough for the sun)."""

    zone: Zone
    latitude_decidegrees: Annotated[int, Field(ge=-900, le=900)]
    longitude_decidegrees: Annotated[int, Field(ge=-1800, le=1800)]


class Blob(Body):
    """A file named by its content."""

    sha256: Digest
    size_bytes: Annotated[int, Field(ge=0, le=64 * 2**30)]


# --- what a job trains -------------------------------------------------------------------------------------------


class ModelSpec(Body):
    """A Llama-style decoder over bytes; fields named as in Hugging Face `config.json`."""

    vocab_size: Literal[256]  # the token is the byte
    hidden_size: Annotated[int, Field(ge=8, le=65_536)]
    intermediate_size: Annotated[int, Field(ge=8, le=262_144)]
    num_hidden_layers: Annotated[int, Field(ge=1, le=512)]
    num_attention_heads: Annotated[int, Field(ge=1, le=1024)]
    max_position_embeddings: Annotated[int, Field(ge=8, le=1_048_576)]
    rope_theta: Annotated[int, Field(ge=1, le=INTEGER_MAX)] = 10_000

    @property
    def parameters(self) -> int:
        """How many numbers the model has (the layout of node/training/model.py: embeddings are tied)."""
        width = self.hidden_size
        layer = 4 * width * width + 3 * width * self.intermediate_size + 2 * width
        return self.vocab_size * width + self.num_hidden_layers * layer + width

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ModelSpec:
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of 2 x num_attention_heads"
                f" ({self.num_attention_heads}): every head needs an even width for rotary embeddings"
            )
        return self


class TrainingSpec(Body):
    """One DiLoCo training run (arXiv:2311.08105): `rounds` outer steps of `inner_steps` AdamW steps on each shard.

    Rates are integers so that every machine reads the same number: `inner_learning_rate_micro` 5000 is 0.005.
    """

    model: ModelSpec
    data: Annotated[tuple[Blob, ...], Field(min_length=1, max_length=64)]  # plain bytes; the token is the byte
    seed: Count
    rounds: Annotated[int, Field(ge=1, le=ARRAY_MAX)]
    inner_steps: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    inner_learning_rate_micro: Annotated[int, Field(ge=1, le=1_000_000)]
    inner_warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)]
    inner_weight_decay_micro: Annotated[int, Field(ge=0, le=1_000_000)]
    outer_learning_rate_permille: Annotated[int, Field(ge=1, le=2000)]
    outer_momentum_permille: Annotated[int, Field(ge=0, le=999)]
    quantisation: Literal["int8"] = "int8"

    @property
    def tokens_per_round(self) -> int:
        """Tokens that one shard trains on in one round."""
        return self.inner_steps * self.batch_size * self.model.max_position_embeddings

    @property
    def tokens_per_shard(self) -> int:
        """Tokens that one shard trains on in the whole job."""
        return self.rounds * self.tokens_per_round


# --- ledger bodies ------------------------------------------------------------------------------------------------


class Offer(Body):
    """A provider's declared capacity; its latest offer is the one that counts. Kind `offer`."""

    device: Name
    units: Annotated[int, Field(ge=1, le=65_536)]  # GPUs, or CPU cores on a node without one
    memory_mb: Positive  # per unit
    rate_tps: Positive  # reference tokens/s of one unit
    idle_w: Count  # per unit
    peak_w: Positive  # per unit
    pue_permille: Annotated[int, Field(ge=1000, le=10_000)]
    embodied_ug_per_unit_hour: Count
    bandwidth_mbps: Positive
    price_microcredits_per_unit_hour: Count
    tenant: Tenant
    place: Place
    carrier: Carrier
    capacity_w: Count  # of the energy source behind the meter
    own_g_per_kwh: Count  # lifecycle intensity of that source


class Countersignature(Body):
    """An auditor's, under the statement of `protocol.devices` that holds everything else of the body."""

    auditor: Key
    signature: Signature


Countersignatures = Annotated[tuple[Countersignature, ...], Field(max_length=COUNTERSIGNATURES_MAX)]


class MeterSeal(Body):
    """A device's own signatures under its counter at both ends of an interval; see `protocol.devices`."""

    key: Key
    start_signature: Signature
    end_signature: Signature


class Attestation(Body):
    """Surplus energy that was there for training in an interval of at most one hour. Kind `attestation`.

    `meter_*_j` is the device's cumulative counter; `energy_j` at most its difference, since the site's own use is taken
    off. How far it is to be believed, by whose signatures, is in `ledger.assurance`.
    """

    device_id: Name
    carrier: Carrier | Storage
    method: Method
    start_ms: Count
    end_ms: Count
    energy_j: Count
    meter_start_j: Count
    meter_end_j: Count
    capacity_w: Count
    place: Place
    own_g_per_kwh: Count
    grid_g_per_kwh: Count  # what the zone's grid emitted meanwhile
    intensity_kind: IntensityKind
    intensity_source: Name
    uncertainty_permille: Permille
    source: Name = "not named"  # where the energy's figure is from
    marginal_g_per_kwh: Count | None = None  # told beside the average, never mixed with it
    carbon_free_permille: Permille | None = None  # of the grid's supply
    meter: MeterSeal | None = None
    countersignatures: Countersignatures = ()


class Job(Body):
    """A researcher's request: what to train and on whose machines it may run. Kind `job`."""

    name: Name
    mode: Mode
    tenant: Tenant  # whose private pool a closed or hybrid job may use
    shards: Annotated[int, Field(ge=1, le=ARRAY_MAX)]
    slots: Annotated[int, Field(ge=1, le=ARRAY_MAX)]  # consecutive slots that each shard needs
    first_slot: Count
    deadline_slot: Count  # the last slot + 1
    units_per_shard: Annotated[int, Field(ge=1, le=1024)]
    memory_mb: Count  # per unit
    rate_tps: Count  # needed tokens/s per unit
    bandwidth_mbps: Count
    price_max_microcredits_per_unit_hour: Count
    carbon_max_g_per_kwh: Count  # 0 = no cap
    bids_close_at_ms: Count
    training: TrainingSpec
    auditors: Keys = ()  # whom its owner trusts beside those of the genesis

    @model_validator(mode="after")
    def _window_fits(self) -> Job:
        if self.deadline_slot < self.first_slot + self.slots:
            raise ValueError(
                f"deadline_slot {self.deadline_slot} leaves {self.deadline_slot - self.first_slot} slots"
                f" from {self.first_slot}; {self.slots} are needed"
            )
        return self


class Bid(Body):
    """A provider's answer to a job, with everything that the matching reads. Kind `bid`, refs: job, offer.

    Arrays hold one value per slot from `first_slot` on. `surplus_s50_j` and `surplus_s20_j` are the median and the
    20 % quantile of the forecast surplus energy.
    """

    job: Digest
    offer: Digest
    price_microcredits_per_unit_hour: Count
    first_slot: Count
    free_units: PerSlot
    surplus_s50_j: PerSlot
    surplus_s20_j: PerSlot
    grid_g_per_kwh: PerSlot
    attestations: Annotated[tuple[Digest, ...], Field(max_length=16)]

    @model_validator(mode="after")
    def _same_slots(self) -> Bid:
        require_same_length(self.free_units, self.surplus_s50_j, self.surplus_s20_j, self.grid_g_per_kwh)
        return self


class Placement(Body):
    """One shard on one provider for consecutive slots, with what is paid for it, and the energy and carbon that the
    matching expects.

    The price is one for all shards of an award in the same zone, on the same device and in the same slots: the highest
    bid among those chosen there. So nobody gains by asking more than what it is content with.
    """

    shard: Shard
    provider: Key
    bid: Digest
    first_slot: Count
    slots: Annotated[int, Field(ge=1, le=ARRAY_MAX)]
    price_microcredits_per_unit_hour: Count
    energy_j: Count
    carbon_ug: Count


class Award(Body):
    """The requester's choice. Kind `award`, refs: job and the winning bids.

    `instance_sha256` names the recorded input of the matching, `matcher` the algorithm and its version: with both,
    anyone can repeat the choice.
    """

    job: Digest
    instance_sha256: Digest
    matcher: Name
    placements: Annotated[tuple[Placement, ...], Field(min_length=1, max_length=ARRAY_MAX)]


class Lease(Body):
    """The provider's countersignature under a placement; it binds its capacity. Kind `lease`, refs: award, offer."""

    award: Digest
    offer: Digest
    shard: Shard
    first_slot: Count
    slots: Annotated[int, Field(ge=1, le=ARRAY_MAX)]
    units: Annotated[int, Field(ge=1, le=1024)]


class Revocation(Body):
    """The requester withdraws a placement, so that the shard may be placed anew. Kind `revocation`, refs: award.

    `energy_j` and `carbon_ug` are what the provider had reported when it was lost: spent, though nobody is paid.
    """

    award: Digest
    shard: Shard
    reason: Text
    energy_j: Count
    carbon_ug: Count


class SlotEnergy(Body):
    """What a shard drew in one slot, split by where it came from. `carbon_ug` follows from the rest by
    `ledger.energy.carbon_ug`; anyone recomputes it."""

    slot: Count
    energy_j: Count  # with PUE and idle share
    surplus_j: Count  # of it, covered by the attestation
    own_g_per_kwh: Count
    grid_g_per_kwh: Count
    embodied_ug: Count
    carbon_ug: Count
    attestation: Digest | None


class Receipt(Body):
    """What a provider delivered under a lease since its last receipt. Kind `receipt`, refs: lease, attestations.

    A long shard is receipted in parts, so that an entry stays small and a lost peer loses little: the receipts of a
    lease follow each other without a gap in rounds, and none follows the final one.
    """

    lease: Digest
    first_round: Count
    final: bool
    inner_steps: Count
    tokens: Count
    busy_ms: Count  # from the start of the work to its end; what is paid for
    deltas: Annotated[tuple[Digest, ...], Field(max_length=RECEIPT_ROUNDS_MAX)]  # one per round, in order
    method: Method
    power_source: Name  # what told the draw: a device's counter, or a declaration
    uncertainty_permille: Permille  # of the energy
    energy: Annotated[tuple[SlotEnergy, ...], Field(max_length=RECEIPT_SLOTS_MAX)]
    moved_bytes: Count  # between this provider and others: data and parameters fetched, deltas served
    transfer_ug: Count  # of the networks between, by `ledger.receipts.transfer_ug`; in no row


class Settlement(Body):
    """The requester's judgement of a receipt, and what it owes for it. Kind `settlement`, refs: receipt."""

    receipt: Digest
    accepted: bool
    amount_microcredits: Count
    reason: Text


class Closure(Body):
    """The end of a job. Kind `closure`, refs: job. Losses are thousandths of a nat per byte."""

    job: Digest
    outcome: Literal["done", "cancelled", "failed"]
    reason: Text
    rounds: Count
    checkpoint: Blob | None
    loss_first_millinats: Count
    loss_last_millinats: Count
