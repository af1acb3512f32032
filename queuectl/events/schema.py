"""What the lines of a log look like to other programs: every key with its one type, and a JSON
Schema; read off the vocabulary, so neither can say something else than what is written."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from types import NoneType
from typing import Any, NamedTuple, get_args

import msgspec

from queuectl.events import codec
from queuectl.events import vocabulary as v

TEXT = "text"
TIME = "time"
INTEGER = "integer"
NUMBER = "number"
BOOLEAN = "boolean"
TEXTS = "texts"
INTEGERS = "integers"
LISTS = (TEXTS, INTEGERS)

_KINDS: dict[Any, str] = {
    str: TEXT,
    int: INTEGER,
    float: NUMBER,
    bool: BOOLEAN,
    list[str]: TEXTS,
    list[int]: INTEGERS,
}
_TIMES = frozenset(("at", "until", "since"))
_UNSET = {"offset": 0, "token": 0, "attempt": -1}
"""Numbers that never occur: they only stand for what is not there."""
_FRAME = ("crc", "offset", "at", "more", "type")
_ON_EVERY_LINE = frozenset(("crc", "offset", "at", "type", "job", "queue", "attempt"))


class Key(NamedTuple):
    """One key, wherever it stands."""

    name: str
    kind: str
    """`text`, `time`, `integer`, `number`, `boolean`, `texts` or `integers`."""
    defaults: dict[str, object]
    """By event that has it what its absence means there; None where that is just nothing."""

    def absences(self) -> list[tuple[object, list[str]]]:
        """(value, events) for each value that its absence stands for in some events."""
        found: dict[str, tuple[object, list[str]]] = {}
        for event, value in self.defaults.items():
            if value is not None:
                found.setdefault(repr(value), (value, []))[1].append(event)
        return list(found.values())


def event_types() -> list[str]:
    """The wire name of every event."""
    return [v.wire_name(event) for event in get_args(v.AnyEvent)]


def kind_of(name: str, hint: Any) -> str:
    """The kind of a field with this name and this type."""
    plain = [option for option in get_args(hint) if option is not NoneType]
    kind = _KINDS[hint if hint in _KINDS else plain[0]]
    is_time = name in _TIMES or name.endswith("_at")
    return TIME if is_time and kind == TEXT else kind


@cache
def line_keys() -> tuple[Key, ...]:
    """Every key of every event, in a fixed order: first what frames a line, as it stands there.

    Raises `TypeError` where one has two types.
    """
    found = {name: Key(name, TEXT, {}) for name in _FRAME}
    found["offset"] = found["offset"]._replace(kind=INTEGER)
    found["at"] = found["at"]._replace(kind=TIME)
    found["more"] = found["more"]._replace(kind=BOOLEAN)
    for event in get_args(v.AnyEvent):
        for field in msgspec.structs.fields(event):
            kind = kind_of(field.name, field.type)
            key = found.setdefault(field.name, Key(field.name, kind, {}))
            if key.kind != kind:
                raise TypeError(f"{field.name} is {key.kind}, and in {v.wire_name(event)} {kind}")
            key.defaults[v.wire_name(event)] = _default(field)
    return tuple(found.values())


def nothing(field: msgspec.structs.FieldInfo) -> object:
    """The value by which a field says that there is nothing; None where each says something."""
    return _UNSET.get(field.name, "" if field.default == "" else None)


def _default(field: msgspec.structs.FieldInfo) -> object:
    """What the absence of a field means; None where that is just nothing."""
    return None if field.default == nothing(field) else field.default


def field_docs(struct: type) -> dict[str, str]:
    """What the source says below each field that a struct itself declares, in one line.

    Raises `TypeError` for one without.
    """
    tree = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, below in zip(tree.body, [*tree.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        name = field.target.id
        if not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)):
            raise TypeError(f"{struct.__name__}.{name} has no docstring")
        docs[name] = " ".join(str(below.value.value).split())
    return docs


def summary(struct: type) -> str:
    """The first paragraph of its docstring, in one line."""
    return " ".join(inspect.cleandoc(struct.__doc__ or "").split("\n\n")[0].split())


# ---- JSON Schema

_TYPES: dict[str, dict[str, Any]] = {
    TEXT: {"type": "string"},
    TIME: {"type": "string", "format": "date-time"},
    INTEGER: {"type": "integer"},
    NUMBER: {"type": "number"},
    BOOLEAN: {"type": "boolean"},
    TEXTS: {"type": "array", "items": {"type": "string"}},
    INTEGERS: {"type": "array", "items": {"type": "integer"}},
}
_CRC = {
    "type": "string",
    "pattern": "^[0-9a-f]{8}$",
    "description": "CRC-32 of this line and all before it.",
}


def json_schema() -> dict[str, Any]:
    """Of each line of a log, by JSON Schema 2020-12."""
    events = get_args(v.AnyEvent)
    lines = [*map(_line_schema, events), _line_schema(codec.Header)]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of a queuectl log",
        "description": (
            "Each line of data/log/*.jsonl is one of these objects. A key that is absent has its"
            " default; keys that are not described here are to be ignored."
        ),
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name, _ in lines],
        "$defs": dict(lines),
    }


def _line_schema(struct: type[Any]) -> tuple[str, dict[str, Any]]:
    """(wire name, schema) of one kind of line."""
    name = str(struct.__struct_config__.tag)
    docs = {key: text for base in reversed(struct.__mro__) for key, text in _own_docs(base)}
    properties: dict[str, Any] = {"crc": _CRC, "type": {"const": name}}
    for field in msgspec.structs.fields(struct):
        about = dict(_TYPES[kind_of(field.name, field.type)])
        about["description"] = docs[field.name]
        if (default := _default(field)) is not None:
            about["default"] = default
        properties[field.name] = about
    required = [key for key in properties if key in _ON_EVERY_LINE]
    if not issubclass(struct, v.JobEvent):
        required = [key for key in required if key not in ("queue", "job")]
    schema = {
        "description": summary(struct),
        "type": "object",
        "properties": properties,
        "required": required,
    }
    return name, schema


def _own_docs(struct: type) -> Iterator[tuple[str, str]]:
    if issubclass(struct, msgspec.Struct) and struct is not msgspec.Struct:
        yield from field_docs(struct).items()
