"""What a supervisor and its worker say to each other: one JSON object a line, commands in, replies out.

Every command has exactly one reply, of the type that `REPLIES` names or `Failed`; heartbeats come between.
Both directions are bounded and strictly typed: the worker has read strangers' tensors, so it is not believed blindly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from protocol.messages import ARRAY_MAX, Count, Digest, Positive, TrainingSpec

LINE_BYTES_MAX = 2 * 2**20  # an `outer` with ARRAY_MAX paths of PATH_MAX bytes is half of it
SAMPLE_BYTES_MAX = 65_536
MESSAGE_MAX = 4096  # characters of an error's cause
HEARTBEAT_S = 1.0

Role = Literal["shard", "lead"]


class Line(BaseModel):
    """Base of all lines: strict, frozen, no unknown fields; bytes are hexadecimal."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, ser_json_bytes="hex", val_json_bytes="hex")


class TensorFile(Line):
    """A safetensors file that the worker wrote. It is the caller's from now on, to keep or to remove."""

    path: Path
    sha256: Digest
    size_bytes: Positive


# --- commands -----------------------------------------------------------------------------------------------------


class Prepare(Line):
    """Read the specification and the text, load torch. The first command; the worker writes only in `directory`."""

    op: Literal["spec"] = "spec"
    role: Role
    shard: Annotated[int, Field(ge=0, lt=ARRAY_MAX)]
    spec: TrainingSpec
    data: Annotated[tuple[Path, ...], Field(min_length=1, max_length=64)]  # the files of `spec.data`, in its order
    directory: Path
    moments: Path | None = None  # a shard's AdamW moments, from whoever trained it before


class TrainRound(Line):
    """Shard: train the inner steps of one round from these parameters."""

    op: Literal["round"] = "round"
    round: Annotated[int, Field(ge=0, lt=ARRAY_MAX)]
    params: Path


class Save(Line):
    """Shard: write its AdamW moments down, so that another worker goes on from them."""

    op: Literal["save"] = "save"


class Initialise(Line):
    """Lead: make the outer state before round 0."""

    op: Literal["init"] = "init"


class OuterStep(Line):
    """Lead: average the round's deltas, given in shard order, and step from the outer checkpoint `state`."""

    op: Literal["outer"] = "outer"
    round: Annotated[int, Field(ge=0, lt=ARRAY_MAX)]
    state: Path
    deltas: Annotated[tuple[Path, ...], Field(min_length=1, max_length=ARRAY_MAX)]


class Evaluate(Line):
    """Lead: the loss of these parameters on the held-out text."""

    op: Literal["evaluate"] = "evaluate"
    params: Path


class Sample(Line):
    """Lead: continue `prompt` by `size_bytes` bytes; temperature 0 takes the likeliest byte each time."""

    op: Literal["sample"] = "sample"
    params: Path
    prompt: Annotated[str, Field(min_length=1, max_length=4096)]
    size_bytes: Annotated[int, Field(ge=1, le=SAMPLE_BYTES_MAX)]
    temperature_permille: Annotated[int, Field(ge=0, le=10_000)]
    seed: Count


class Stop(Line):
    """Abandon what is under way and end. The end of the input means the same."""

    op: Literal["stop"] = "stop"


# --- replies ------------------------------------------------------------------------------------------------------


class Ready(Line):
    op: Literal["ready"] = "ready"
    parameters: Positive  # how many numbers the model has
    torch: Annotated[str, Field(max_length=128)]
    isa: Annotated[str, Field(max_length=64)]  # instruction set of the kernels: equal ones repeat bit for bit
    device: Annotated[str, Field(max_length=128)]
    isolation: Annotated[str, Field(max_length=512)]


class Heartbeat(Line):
    op: Literal["heartbeat"] = "heartbeat"
    step: Count  # inner steps since round 0


class Delta(TensorFile):
    """One round of one shard, and what it cost."""

    op: Literal["delta"] = "delta"
    round: Count
    loss_millinats: Count  # per byte, the mean over the round's batches
    tokens: Positive
    duration_ms: Count
    cpu_ms: Count


class Saved(TensorFile):
    op: Literal["saved"] = "saved"


class Outer(Line):
    op: Literal["outer"] = "outer"
    checkpoint: TensorFile  # parameters and momentum, what the next outer step needs
    parameters: TensorFile  # what shards start the next round from


class Evaluated(Line):
    op: Literal["evaluated"] = "evaluated"
    loss_millinats: Count  # per byte


class Sampled(Line):
    op: Literal["sampled"] = "sampled"
    text: Annotated[str, Field(max_length=SAMPLE_BYTES_MAX)]  # malformed UTF-8 as U+FFFD; may hold control characters


class Failed(Line):
    """The command failed; the worker goes on. `faulty` is the index of the delta that no honest worker makes."""

    op: Literal["error"] = "error"
    code: Annotated[str, Field(max_length=32)]
    cause: Annotated[str, Field(max_length=MESSAGE_MAX)]
    remedy: Annotated[str, Field(max_length=MESSAGE_MAX)]
    faulty: Annotated[int, Field(ge=0, lt=ARRAY_MAX)] | None = None


class Bye(Line):
    op: Literal["bye"] = "bye"


Command: TypeAlias = Prepare | TrainRound | Save | Initialise | OuterStep | Evaluate | Sample | Stop
Reply: TypeAlias = Ready | Heartbeat | Delta | Saved | Outer | Evaluated | Sampled | Failed | Bye

_COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="op")])
_REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="op")])


def parse_command(line: bytes) -> Command:
    """A command from one line. Raises pydantic's ValidationError (a ValueError)."""
    return _COMMAND.validate_json(line)


def parse_reply(line: bytes) -> Reply:
    """A reply from one line. Raises pydantic's ValidationError (a ValueError)."""
    return _REPLY.validate_json(line)


def to_line(message: Command | Reply) -> bytes:
    """One line with its line feed; JSON escapes every line feed inside."""
    return message.model_dump_json().encode() + b"\n"
