"""The traps that a spike met, and some more: what a number is, what a key is, and that every fault is told at once."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from node.documents import Invalid, Strict, exact_number, read_json
from node.home.toml_file import line_of, load
from protocol.errors import LocalError


class Inner(Strict):
    rounds: Annotated[int, Field(ge=1)]
    rate: float = 0.5


class Outer(Strict):
    name: str = "x"
    training: Inner
    data: tuple[str, ...] = ()


def faults(raw: bytes) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        read_json(raw, Outer)
    return {fault.field: fault.message for fault in caught.value.faults}


def training(text: str) -> bytes:
    return b'{"training":{%s}}' % text.encode()


def test_false_is_no_number() -> None:
    assert faults(training('"rounds":false,"rate":true')) == {
        "training.rounds": "expected a valid integer, not false",
        "training.rate": "expected a valid number, not true",
    }


def test_a_quoted_number_is_no_number() -> None:
    assert "training.rounds" in faults(training('"rounds":"21"'))


@pytest.mark.parametrize("spelling", ["21", "21.0", "2.1e1", "210e-1"])
def test_a_whole_number_is_an_integer_however_it_is_spelt(spelling: str) -> None:
    assert read_json(training(f'"rounds":{spelling}'), Outer).training.rounds == 21


def test_a_fraction_is_no_integer() -> None:
    assert faults(training('"rounds":2.5')) == {"training.rounds": "expected a valid integer, not 2.5"}


@pytest.mark.parametrize("literal", ["0.12345678901234567890", "1e400", "9007199254740993.0"])
def test_a_number_that_would_have_to_be_rounded_is_refused(literal: str) -> None:
    assert "has more digits" in faults(training(f'"rounds":1,"rate":{literal}'))[""]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**8), max_value=10**8))
def test_a_decimal_of_bearable_length_is_kept_exactly(value: Decimal) -> None:
    assert Decimal(repr(exact_number(str(value)))) == value


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_number_is_refused(literal: str) -> None:
    assert "not a JSON document" in faults(training(f'"rounds":1,"rate":{literal}'))[""]


def test_a_name_given_twice_is_refused() -> None:
    assert "given twice" in faults(training('"rounds":1,"rounds":2'))[""]


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 50_000, b"1" * 5000], ids=lambda raw: repr(raw[:4]))
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    assert "" in faults(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_a_document_or_has_faults(raw: bytes) -> None:
    assert faults(raw)


@given(st.fixed_dictionaries({"rounds": JSON}, optional={"rate": JSON}))
def test_whatever_a_field_holds_is_taken_or_named(fields: dict[str, Any]) -> None:
    raw = json.dumps({"training": fields}).encode()
    is_right = type(fields["rounds"]) is int and fields["rounds"] >= 1 and type(fields.get("rate", 0)) in (int, float)
    if not is_right:
        assert faults(raw).keys() <= {"", "training.rounds", "training.rate"}


def test_an_unknown_key_names_the_nearest() -> None:
    assert faults(training('"rounds":1,"rat":1'))["training.rat"] == "unknown key; the nearest known is rate"


def test_a_key_in_the_wrong_table_names_the_right_one() -> None:
    raw = b'{"rounds":3,"training":{"rounds":1}}'
    assert faults(raw) == {"rounds": "unknown key; the nearest known is training.rounds"}


def test_a_key_like_no_other_names_them_all() -> None:
    assert faults(training('"rounds":1,"zzz":1'))["training.zzz"] == "unknown key; known here are rounds, rate"


def test_every_fault_is_told_at_once() -> None:
    assert faults(b'{"name":3,"training":{"rounds":0},"data":[1,"a",2]}').keys() == {
        "name",
        "training.rounds",
        "data.0",
        "data.2",
    }


def test_a_value_is_quoted_before_it_is_shown() -> None:
    raw = json.dumps({"name": "x", "training": {"rounds": "\x1b[2J" + "x" * 500}}).encode()
    message = faults(raw)["training.rounds"]
    assert "\\u001b[2J" in message
    assert len(message) < 200


# --- TOML files ---------------------------------------------------------------------------------------------------


def write(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text)
    return path


def toml_faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        load(write(folder, text), Outer)
    return [str(fault) for fault in caught.value.faults]


def test_a_file_is_read(tmp_path: Path) -> None:
    read = load(write(tmp_path, 'name = "a"\ndata = ["b"]\n[training]\nrounds = 3\n'), Outer)
    assert read == Outer(name="a", data=("b",), training=Inner(rounds=3))


def test_faults_stand_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = "# a comment\nname = 3\n\n[training]\nrounds = 0\nrate = 0.25\nrat = 1\n"
    assert toml_faults(tmp_path, text) == [
        "line 2: name: expected a valid string, not 3",
        "line 5: training.rounds: expected greater than or equal to 1, not 0",
        "line 7: training.rat: unknown key; the nearest known is rate",
    ]


def test_a_missing_key_is_sought_where_its_table_begins(tmp_path: Path) -> None:
    assert toml_faults(tmp_path, "\n[training]\nrate = 1\n") == ["line 2: training.rounds: is required and missing"]
    assert toml_faults(tmp_path, 'name = "x"\n') == ["training: is required and missing"]


def test_a_value_over_several_lines_is_found_where_it_begins(tmp_path: Path) -> None:
    text = "data = [  # texts\n  1,\n]\n[training]\nrounds = 1\n"
    assert toml_faults(tmp_path, text) == ["line 1: data.0: expected a valid string, not 1"]


def test_a_key_inside_a_string_is_not_mistaken_for_one() -> None:
    lines = ['a = """', "b = 1", '"""', "b = 2"]
    assert line_of(lines, ("b",)) == 4


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    assert "line 2" in toml_faults(tmp_path, 'name = "a"\nrounds 3\n')[0]


def test_a_number_with_too_many_digits_names_its_line(tmp_path: Path) -> None:
    faults = toml_faults(tmp_path, "[training]\nrounds = 1\nrate = 0.10000000000000000001\n")
    assert faults == ["line 3: 0.10000000000000000001 has more digits than a number here keeps"]


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="No such file"):
        load(tmp_path / "missing.toml", Outer)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b'name = "\xff"')
    with pytest.raises(LocalError, match="not UTF-8 text: invalid start byte at byte 8"):
        load(binary, Outer)
    with pytest.raises(LocalError, match="longer than 65536 bytes"):
        load(write(tmp_path, "#" * 65_537), Outer)
