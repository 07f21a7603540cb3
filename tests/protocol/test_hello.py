"""Facts about hellos: what is said is what is heard, and everything else is refused by number."""

from __future__ import annotations

import pytest
from hypothesis import given

from protocol.errors import Reject
from protocol.hello import HELLO_MAX_BYTES, INVITATION_MAX_BYTES, Hello, decode_hello, encode_hello
from tests.builders import digest
from tests.protocol.values import near

HELLO = Hello(
    version=1,
    network=digest("network"),
    session=bytes(16),
    agent="heliotrope/1",
    observed="/ip4/192.0.2.1/tcp/8471",
    invitation=b"",
)


def test_a_hello_is_heard_as_it_was_said() -> None:
    assert decode_hello(encode_hello(HELLO)) == HELLO


def test_the_longest_hello_fits_in_its_frame() -> None:
    longest = {"agent": "\U0001f33b" * 64, "observed": "\U0001f33b" * 256, "invitation": bytes(INVITATION_MAX_BYTES)}
    assert len(encode_hello(HELLO.model_copy(update=longest))) <= HELLO_MAX_BYTES


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("network", bytes(31)),
        ("session", bytes(17)),
        ("agent", "x" * 65),
        ("observed", "x" * 257),
        ("invitation", bytes(INVITATION_MAX_BYTES + 1)),
    ],
)
def test_reject_hello_with_a_field_out_of_bounds(field: str, value: object) -> None:
    with pytest.raises(Reject, match=f"check 2: hello: {field}"):
        decode_hello(encode_hello(HELLO.model_copy(update={field: value})))


def test_reject_hello_that_is_too_long() -> None:
    with pytest.raises(Reject, match="check 1"):
        decode_hello(bytes(HELLO_MAX_BYTES + 1))


@given(near(encode_hello(HELLO)))
def test_whatever_arrives_is_a_hello_or_refused(raw: bytes) -> None:
    try:
        hello = decode_hello(raw)
    except Reject:
        return
    assert encode_hello(hello) == raw
