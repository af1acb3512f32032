"""How `--json` prints what `telling.documents` says of jobs, workers and events."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import orjson

from queuectl.telling.encoding import encoded
from queuectl.telling.words import printable_json


def emit(document: object) -> None:
    """Print one JSON document; on a terminal indented."""
    _write(document, orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0)
    sys.stdout.buffer.flush()


def emit_lines(documents: Iterable[object]) -> None:
    """Print JSON documents, one a line."""
    for document in documents:
        _write(document, 0)
    sys.stdout.buffer.flush()


def emit_array(documents: Iterable[object]) -> None:
    """Print one JSON document that is a list, element by element: it may be long."""
    write = sys.stdout.buffer.write
    before = b"["
    for document in documents:
        write(before + b"\n" + _shown(document, 0))
        before = b","
    write(b"[]\n" if before == b"[" else b"\n]\n")
    sys.stdout.buffer.flush()


def _write(document: object, option: int) -> None:
    sys.stdout.buffer.write(_shown(document, option) + b"\n")


def _shown(document: object, option: int) -> bytes:
    data = encoded(document, option)
    return printable_json(data.decode()).encode() if sys.stdout.isatty() else data
