"""Which failures are the same failure: the shape of the command, the exit code, and the shape of
the error; pure.

A shape is the text without what differs from one run to the next. What stands in quotes becomes
`<text>`, what has a slash in it `<path>`, and numbers, hexadecimal ones, UUIDs and long identifiers
`<n>`. Of programs, and of the script behind an interpreter, only the directory is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from queuectl.domain.job import Job

_ID_DIGITS = 12
_KEPT = 512
"""As many shapes are remembered; a hundred thousand commands may differ by nothing but a number."""
_ALIKE = str.maketrans("23456789", "1" * 8)
"""Digits for which any other may stand; a 0 may begin a hexadecimal number."""
# Each piece is taken whole, so that the time is linear: an open quote goes on to the end. An
# apostrophe within a word opens none ("can't open 'a'").
_PIECE = re.compile(
    r"""(?P<quoted>(?<!\w)'[^']*(?:'|\Z)|"(?:[^"\\]|\\.)*(?:"|\\?\Z)|`[^`']*(?:[`']|\Z)"""
    r"""|‘[^’]*(?:’|\Z)|“[^”]*(?:”|\Z)|«[^»]*(?:»|\Z))"""
    r"""|(?P<word>[^\s'"`‘’“”«»;&|()<>]+)|(?P<divider>[;&|(\n]+)|\s+|.""",
    re.DOTALL,
)
_PART = re.compile(r"[^=:,\[\]{}]+")
_UUID = re.compile("(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_RUN = re.compile("[0-9A-Za-z]+")
_IDENTIFIER = re.compile("0[xX][0-9A-Fa-f]+|[0-9A-Fa-f]{7,}|[0-9A-Za-z]{20,}")
_DIGITS = re.compile("[0-9]+")
_NUMBERS = re.compile("<n>(?:[.,:]<n>)+")
_ASSIGNMENT = re.compile(r"\w+=")
_INTERPRETER = re.compile(r"(?:(?:ba|da|k|z)?sh|python|pypy|node|ruby|perl|php|Rscript)[\d.]*")


class Fingerprint(NamedTuple):
    """What the failures of one group have in common."""

    command: str
    """The shape of the command."""
    exit_code: int | None
    """None where the command did not exit by itself; then the error says what happened."""
    error: str
    """The shape of the one line that says why."""

    @property
    def id(self) -> str:
        """Its name, made of its content and nothing else: the same in every queue."""
        content = "\0".join((self.command, str(self.exit_code), self.error))
        return sha256(content.encode(errors="surrogatepass")).hexdigest()[:_ID_DIGITS]


def fingerprint(command: str, exit_code: int | None, error: str) -> Fingerprint:
    """That of one failed run."""
    return Fingerprint(command_shape(command), exit_code, _text_shape(error))


def of_job(job: Job) -> Fingerprint:
    """That of the last failure of a job: one whose `error` is not empty."""
    return fingerprint(job.spec.command, job.exit_code, job.error)


def _text_shape(text: str) -> str:
    return _text_shape_of(text.translate(_ALIKE))


@lru_cache(maxsize=_KEPT)
def _text_shape_of(text: str) -> str:
    return _joined("<text>" if piece["quoted"] else _shape(piece[0]) for piece in _pieces(text))


def command_shape(command: str) -> str:
    """The shape of a command."""
    return _command_shape_of(command.translate(_ALIKE))


@lru_cache(maxsize=_KEPT)
def _command_shape_of(command: str) -> str:
    return _joined(command_shapes(command))


def command_shapes(command: str) -> Iterator[str]:
    wanted = "program"
    for piece in _pieces(command):
        text = piece[0]
        if piece["quoted"]:
            yield "<text>"
            wanted = ""
        elif not (wanted and piece["word"]):
            yield _shape(text)
            if piece["divider"]:
                wanted = "program"
        elif _ASSIGNMENT.match(text) or (wanted == "script" and text.startswith("-")):
            yield _shape(text)
        else:
            name = text.rstrip("/").rpartition("/")[2]
            yield _shape(name)
            wanted = "script" if wanted == "program" and _INTERPRETER.fullmatch(name) else ""


def _pieces(text: str) -> Iterator[re.Match[str]]:
    return _PIECE.finditer(text)


def _joined(shapes: Iterable[str]) -> str:
    return _NUMBERS.sub("<n>", " ".join("".join(shapes).split()))


def _shape(word: str) -> str:
    return _PART.sub(_part_shape, word)


def _part_shape(part: re.Match[str]) -> str:
    text = part[0]
    if "/" in text:
        return "<path>"
    return _RUN.sub(_run_shape, _UUID.sub("<n>", text)) if _DIGITS.search(text) else text


def _run_shape(run: re.Match[str]) -> str:
    text = run[0]
    is_name = _IDENTIFIER.fullmatch(text) and _DIGITS.search(text)
    return "<n>" if is_name else _DIGITS.sub("<n>", text)
