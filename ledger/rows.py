"""How the records of a State become rows of plain values and back, from their annotations alone.

A new table or field of `ledger.state` needs nothing here, as long as it is annotated with: integers, strings, bytes,
enums, bodies, other records, and lists, sets, tuples and dictionaries of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ledger.state import State
from protocol.messages import Body

Translate = Callable[[Any], Any]


def translation(hint: Any, leaf: Callable[[Any], Translate | None], *, reading: bool) -> Translate | None:
    """What to do with a value of this type; None: it stands as it is. `leaf` knows what is no container."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (None, Literal):
        return leaf(hint)
    if origin is Annotated:
        return translation(arguments[0], leaf, reading=reading)
    parts = [translation(a, leaf, reading=reading) for a in arguments if a not in (NoneType, Ellipsis)]
    if origin in (Union, UnionType):
        return _optional(parts[0])
    if origin is dict:
        return _table(*(part or same for part in parts), reading=reading)
    if origin is tuple and Ellipsis not in arguments:
        return lambda value: tuple((part or same)(v) for part, v in zip(parts, value, strict=True))
    made: Callable[[Iterable[Any]], Any] = origin if reading else list
    return lambda value: made(map(parts[0] or same, value))


def _optional(part: Translate | None) -> Translate | None:
    return None if part is None else lambda value: None if value is None else part(value)


def _table(key: Translate, item: Translate, *, reading: bool) -> Translate:
    if reading:
        return lambda pairs: {key(k): item(v) for k, v in pairs}
    return lambda table: [(key(k), item(v)) for k, v in table.items()]


def same(value: Any) -> Any:
    return value


def is_record(hint: Any) -> bool:
    return isinstance(hint, type) and is_dataclass(hint)


def is_body(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Body)


def _records_in(hint: Any) -> Iterator[type]:
    """The record classes that an annotation names."""
    if is_record(hint):
        yield hint
    for argument in get_args(hint):
        yield from _records_in(argument)


def record_classes() -> list[type]:
    """Every record class that a State can reach, in a fixed order."""
    found: dict[type, None] = {}
    ahead: list[type] = [State]
    while ahead:
        for hint in get_type_hints(ahead.pop(), include_extras=True).values():
            fresh = [c for c in _records_in(hint) if c not in found]
            found.update(dict.fromkeys(fresh))
            ahead += fresh
    return sorted(found, key=lambda c: c.__name__)


def hints_of(record: type) -> dict[str, Any]:
    hints = get_type_hints(record, include_extras=True)
    return {f.name: hints[f.name] for f in fields(record)}
