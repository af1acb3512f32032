"""Which failures are the same: what a shape leaves out, and what it must not."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.domain.fingerprint import Fingerprint, fingerprint

NAMES = st.text("abcXYZ019._-", min_size=1, max_size=12)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
NUMBERS = st.one_of(
    st.integers(0, 10**30).map(str),
    st.integers(0, 10**30).map(hex),
    st.floats(0, 1e9).map("{:.3f}".format),
    st.binary(min_size=16, max_size=16).map(lambda data: str(uuid.UUID(bytes=data))),
    # Of letters alone it could be a word.
    st.text("0123456789abcdef", min_size=6, max_size=40).map(lambda digits: f"7{digits}"),
)
QUOTED = st.text("abc 012/=;|-'", max_size=12).map(lambda text: f'"{text}"')
VARYING = st.tuples(PATHS, NUMBERS, QUOTED)


def shape(command: str) -> str:
    return fingerprint(command, 1, "").command


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("convert photos/0000123.png -resize 50% b/1.webp", "convert <path> -resize <n>% <path>"),
        ("/srv/app/import.sh   foo\n", "import.sh foo"),
        (
            "./run --out=/tmp/x --name='a b' 2>/a",
            "run --out=<path> --name=<text> <n>><path>",
        ),
        ("python3 -u /srv/a/imp-7.py /srv/b", "python<n> -u imp-<n>.py <path>"),
        ("cd /srv/x && A=1 ./make-all | tee log", "cd <path> && A=<n> make-all | tee log"),
        ("bash -c 'exit 3'", "bash -c <text>"),
        ("echo it's 5 o'clock", "echo it's <n> o'clock"),
        ("curl https://host.example:80/x?y=1", "curl https:<path>:<path>=<n>"),
        ("show 01m81et1zfft0w0c007pbgcp3t deadbeef cafe1234", "show <n> deadbeef <n>"),
        ('echo "never closed 17', "echo <text>"),
        ("exit 3", "exit <n>"),
        ("", ""),
    ],
)
def test_shapes_of_commands(command: str, expected: str) -> None:
    assert shape(command) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("can't open 'foo bar'", "can't open <text>"),
        ("ls: cannot access ‘x y’: No such file", "ls: cannot access <text>: No such file"),
        ('/srv/a.py:12: KeyError: "x\\"y" at 12:30:01.5', "<path>:<n>: KeyError: <text> at <n>"),
        ("run; /srv/a: not found", "run; <path>: not found"),
        ("timed out after 1h30m", "timed out after <n>h<n>m"),
        ("db-3.example:5432 refused 0xBEEF", "db-<n>.example:<n> refused <n>"),
    ],
)
def test_shapes_of_errors(error: str, expected: str) -> None:
    assert fingerprint("true", 1, error).error == expected


def written(varying: tuple[str, str, str]) -> Fingerprint:
    path, number, quoted = varying
    return fingerprint(
        f"{path}/import --from {path} --row={number} -m {quoted} > {path}",
        1,
        f"{path}:{number}: row {number} of {quoted} is bad",
    )


@given(VARYING, VARYING)
def test_numbers_paths_and_quoted_text_make_no_difference(
    one: tuple[str, str, str], another: tuple[str, str, str]
) -> None:
    assert written(one).id == written(another).id


@given(st.text(), st.one_of(st.none(), st.integers(0, 255)), st.text())
def test_a_shape_is_its_own_shape(command: str, exit_code: int | None, error: str) -> None:
    """What `errors` shows, nothing is left to be taken out of."""
    found = fingerprint(command, exit_code, error)
    assert "\n" not in found.command + found.error
    assert not any(char in "0123456789" for char in found.command + found.error)
    assert found == fingerprint(command, exit_code, error)
    assert len(found.id) == 12


@given(st.text(), st.text(), st.integers(0, 255), st.integers(0, 255))
def test_different_exit_codes_differ(command: str, error: str, one: int, another: int) -> None:
    ids = {fingerprint(command, code, error).id for code in (one, another, None)}
    assert len(ids) == len({one, another, None})


@given(st.text("0123456789abcxXF-/='\" ", max_size=60))
def test_which_digits_there_are_makes_no_difference(text: str) -> None:
    sevens = "".join("7" if char in "123456789" else char for char in text)
    assert fingerprint(text, 1, text) == fingerprint(sevens, 1, sevens)


def test_different_programs_and_errors_differ() -> None:
    ids = {
        fingerprint(command, 1, error).id
        for command in ("/a/import 1", "/a/export 1", "python /a/import.py", "python /a/export.py")
        for error in ("row 7: no such file", "row 7: permission denied")
    }
    assert len(ids) == 8


def test_an_id_is_what_it_has_always_been() -> None:
    """Whoever noted one down finds it again: this fails when the rules change."""
    assert fingerprint("convert a/1.png", 1, "unable to open 'a/1.png'").id == "4587136c7b95"


@pytest.mark.parametrize(
    "piece", ["a", "'", '"', "\\", '\\"', "/", "a/", "0", "0-", "‘", "sh -", "; "]
)
def test_long_commands_take_no_longer_a_character(piece: str) -> None:
    """It would take minutes if a piece of it were looked at again and again."""
    found = fingerprint(piece * 200_000, 1, piece * 200_000)
    assert len(found.command) <= 800_000
