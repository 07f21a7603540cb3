"""Facts about the lines: strict, bounded, and large enough for the largest command."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.training import wire
from protocol.messages import ARRAY_MAX

from .builders import training_spec

PATH = Path("/" + "p" * 4094)  # Linux's PATH_MAX, less the closing zero


@pytest.mark.parametrize(
    "command",
    [
        wire.Prepare(role="lead", shard=255, spec=training_spec(), data=(PATH,) * 64, directory=PATH),
        wire.OuterStep(round=255, state=PATH, deltas=(PATH,) * ARRAY_MAX),
        wire.Sample(params=PATH, prompt="\0" * 4096, size_bytes=1, temperature_permille=0, seed=0),
        wire.Stop(),
    ],
    ids=lambda command: str(command.op),
)
def test_largest_command_fits_a_line_and_comes_back(command: wire.Command) -> None:
    line = wire.to_line(command)
    assert line.count(b"\n") == 1
    assert len(line) <= wire.LINE_BYTES_MAX
    assert wire.parse_command(line) == command


@pytest.mark.parametrize(
    "reply",
    [
        wire.Sampled(text="\0" * wire.SAMPLE_BYTES_MAX),
        wire.Delta(
            round=0, loss_millinats=1, tokens=1, duration_ms=1, cpu_ms=1, path=PATH, sha256=bytes(32), size_bytes=1
        ),
        wire.Failed(code="HEL-TRAIN-000", cause="\0" * wire.MESSAGE_MAX, remedy="\n", faulty=0),
    ],
    ids=lambda reply: str(reply.op),
)
def test_largest_reply_fits_a_line_and_comes_back(reply: wire.Reply) -> None:
    line = wire.to_line(reply)
    assert line.count(b"\n") == 1
    assert len(line) <= wire.LINE_BYTES_MAX
    assert wire.parse_reply(line) == reply


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"ready",
        b"[]",
        b'{"op":"stop"}',
        b'{"op":"heartbeat"}',
        b'{"op":"heartbeat","step":-1}',
        b'{"op":"heartbeat","step":1.0}',
        b'{"op":"heartbeat","step":"1"}',
        b'{"op":"heartbeat","step":1,"more":1}',
        b'{"op":"evaluated","loss_millinats":NaN}',
    ],
)
def test_refuse_what_is_no_reply(line: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        wire.parse_reply(line)
