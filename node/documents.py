"""Documents that people and their programs write, checked whole: numbers as they were meant, and every fault at once.

Both doors use it: JSON bodies of the API and TOML files (`toml_file`). Not here: what any document means.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from protocol.errors import LocalError

Model = TypeVar("Model", bound=BaseModel)

WHOLE_MAX = 2**53  # beyond it a float no longer tells whole numbers apart
QUOTED_MAX_CHARACTERS = 60


class Strict(BaseModel):
    """Base of what is read from a document or sent as one: strict types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field. `field` is a dotted path, "" for the document as a whole."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Invalid(LocalError):
    """Not well formed: every fault is named. Exit code 2."""

    def __init__(self, code: str, cause: str, remedy: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(code, cause, remedy)
        self.faults = faults


class InexactNumber(ValueError):
    """A number with more digits than are kept. To round it in silence would run another job than was written."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:QUOTED_MAX_CHARACTERS]} has more digits than a number here keeps")
        self.text = text


def exact_number(text: str) -> int | float:
    """The number that a literal with a point or an exponent means; whole ones as integers, since JSON and JSON Schema
    know one kind of number and some writers spell 21 as 21.0. Raises InexactNumber."""
    value = float(text)
    if Decimal(repr(value)) != Decimal(text):
        raise InexactNumber(text)
    return int(value) if value.is_integer() and abs(value) <= WHOLE_MAX else value


def read_json(raw: bytes, model: type[Model]) -> Model:
    """The model in a JSON document. Raises Invalid: not JSON, a name given twice, or any field out of order."""
    try:
        value = json.loads(
            raw, parse_float=exact_number, parse_constant=_no_constant, object_pairs_hook=_without_repeats
        )
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise invalid("the request", list(faults_of(error, model).values())) from None
    except (ValueError, RecursionError) as error:
        raise invalid("the request", [Fault("", f"not a JSON document: {error}")]) from None


def invalid(what: str, faults: Sequence[Fault]) -> Invalid:
    """An error that names every fault of `what`; there is at least one."""
    cause = f"{what}: {faults[0]}" if len(faults) == 1 else f"{what} has {len(faults)} faults:"
    if len(faults) > 1:
        cause += "".join(f"\n  {fault}" for fault in faults)
    remedy = "Correct what is named and try again; nothing was sent or changed."
    return Invalid("HEL-INPUT-001", cause, remedy, tuple(faults))


def faults_of(error: ValidationError, model: type[BaseModel]) -> dict[tuple[str | int, ...], Fault]:
    """Every fault that pydantic found, by its place, in words: what was expected and what was there."""
    return {
        fault["loc"]: Fault(".".join(map(str, fault["loc"])), _complaint(fault, model))
        for fault in error.errors(include_url=False)
    }


def quoted(value: object) -> str:
    """A value as it stands in a message: on one line, ASCII only, cut to a bearable length."""
    text = json.dumps(value, default=str)
    return text if len(text) <= QUOTED_MAX_CHARACTERS else text[:QUOTED_MAX_CHARACTERS] + "..."


def _complaint(fault: Mapping[str, Any], model: type[BaseModel]) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return f"unknown key; {_nearest('.'.join(map(str, fault['loc'])), list(_keys(model)))}"
        case "union_tag_invalid":
            context = fault["ctx"]
            name = context["discriminator"].strip("'")
            return f"{name}: expected one of {context['expected_tags']}, not {quoted(context['tag'])}"
        case "union_tag_not_found":
            return f"{fault['ctx']['discriminator']} is required and missing"
        case "missing":
            return "is required and missing"
        case "value_error":
            return str(fault["msg"]).removeprefix("Value error, ")
        case _:
            expected = str(fault["msg"]).removeprefix("Input should be ")
            expected = expected.replace("String should match pattern", "text that matches", 1)
            return f"expected {expected}, not {quoted(fault['input'])}"


def _nearest(key: str, known: list[str]) -> str:
    """The key that was probably meant: a similar one in the same table, else the same name in another."""
    table, _, name = key.rpartition(".")
    siblings = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == table]
    elsewhere = [k for k in known if k.rpartition(".")[2] == name]
    if similar := difflib.get_close_matches(name, siblings, n=1) or elsewhere[:1]:
        return f"the nearest known is {similar[0]}"
    return f"known here are {', '.join(siblings)}" if siblings else "none is known here"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key by its path, as pydantic tells paths: what a tag chooses among stands below that tag."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for tag, chosen in _models(field.annotation, field.discriminator):
            yield from _keys(chosen, f"{prefix}{name}.{tag}")


def _models(annotation: Any, discriminator: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """The models that a field may hold, each with what stands before its keys: its tag in a tagged union, and a dot."""
    if get_origin(annotation) is Annotated:
        annotation, *notes = get_args(annotation)
        discriminator = next((d for note in notes if (d := getattr(note, "discriminator", None))), discriminator)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        tag = get_args(annotation.model_fields[discriminator].annotation)[0] + "." if discriminator else ""
        yield tag, annotation
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _models(one, discriminator)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers disagree on which of two equal names counts: a request must not mean two things."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name is given twice in one object")
    return value
