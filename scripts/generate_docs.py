"""Writes what is made from the code: `events.md`, `events.schema.json`, `tables.md`, `cli.md` and
`openapi.json` in `docs/`.

    python scripts/generate_docs.py           writes them
    python scripts/generate_docs.py --check   exits 1, naming them, if they are stale

What a page says is said in the code, in the docstrings of the vocabulary and in the help texts of
the commands: change it there.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click  # noqa: E402
import msgspec  # noqa: E402

from queuectl import errors  # noqa: E402
from queuectl.domain import settings  # noqa: E402
from queuectl.events import codec, schema, vocabulary  # noqa: E402
from queuectl.projections import runs  # noqa: E402
from queuectl.web.api import openapi  # noqa: E402

WIDTH = 88
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "true or false"}
_SHARED = {
    vocabulary.Event: "Every event",
    vocabulary.JobEvent: "Events about a job",
    vocabulary.AttemptEvent: "Events about a run",
    vocabulary.FinishEvent: "The end of a run",
}


def main(arguments: list[str]) -> int:
    stale = []
    for path, content in pages():
        target = ROOT / path
        old = target.read_text(encoding="utf-8") if target.exists() else None
        if old == content:
            continue
        stale.append(path)
        if "--check" not in arguments:
            target.write_text(content, encoding="utf-8")
            print(f"{path}: written")
    if "--check" in arguments and stale:
        print(f"stale: {', '.join(stale)}; run python scripts/generate_docs.py", file=sys.stderr)
        return 1
    return 0


def pages() -> Iterator[tuple[str, str]]:
    """(path, content) of every generated page."""
    yield "docs/events.md", events_page()
    yield "docs/events.schema.json", json.dumps(schema.json_schema(), indent=2) + "\n"
    yield "docs/tables.md", tables_page()
    yield "docs/cli.md", cli_page()
    yield "docs/openapi.json", json.dumps(openapi.document(), indent=2) + "\n"


# ---- the vocabulary


def events_page() -> str:
    kinds = get_args(vocabulary.AnyEvent)
    parts = [
        _GENERATED.format(source="the docstrings of `queuectl/events/vocabulary.py`"),
        "# Events\n",
        _wrapped(
            "Everything that can happen to a queue, as it stands in the log. Each event is one flat"
            " JSON object on a line of its own. How lines are framed and checked is in"
            " [format.md](format.md)."
        ),
        _wrapped(
            "A field that has its default value may be left out of the line. A field that a reader"
            " does not know is to be ignored: later versions may add some. A name never changes its"
            " meaning, and a key has the same JSON type in every event. Times are RFC 3339 text in"
            " UTC, durations whole milliseconds, sizes bytes."
        ),
        _list_of(kinds),
        "## Fields that many events share\n",
    ]
    for base, title in _SHARED.items():
        parts += [f"### {title}\n", schema.summary(base) + "\n"]
        parent = base.__mro__[1]
        if parent in _SHARED:
            parts.append(f"All of [{_SHARED[parent].lower()}](#{_anchor(_SHARED[parent])}), and:\n")
        parts.append(_table(base))
    parts.append("## The events\n")
    for kind in kinds:
        base = kind.__mro__[1]
        own = _table(kind)
        carries = f"[{_SHARED[base].lower()}](#{_anchor(_SHARED[base])})"
        parts += [
            f"### {vocabulary.wire_name(kind)}\n",
            schema.summary(kind) + "\n",
            f"Fields: those of {carries}" + (", and:\n" if own else ".\n"),
            own,
        ]
    parts += [
        "## Not an event: the first line of a segment\n",
        _wrapped(
            f"`{codec.Header.__struct_config__.tag}` carries `crc` like every line, but no"
            " `offset`: it counts as no event. All its fields are always written, but for the last"
            " four, which only a rewritten segment has."
        ),
        _table(codec.Header),
    ]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _list_of(kinds: tuple[type, ...]) -> str:
    rows = ["| event | meaning |", "|---|---|"]
    for kind in kinds:
        name = vocabulary.wire_name(kind)
        rows.append(f"| [`{name}`](#{_anchor(name)}) | {schema.summary(kind)} |")
    return "\n".join(rows) + "\n"


def _table(kind: type) -> str:
    """The fields that `kind` adds to what it inherits; empty if there are none."""
    hints = get_type_hints(kind)
    defaults = {field.name: field for field in msgspec.structs.fields(kind)}
    rows = [
        f"| `{name}` | {_type_name(hints[name])} | {_default(defaults[name])} | {meaning} |"
        for name, meaning in schema.field_docs(kind).items()
    ]
    if not rows:
        return ""
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _type_name(hint: Any) -> str:
    options = [option for option in get_args(hint) if option is not NoneType]
    if get_origin(hint) is list:
        return f"list of {_type_name(options[0])}s"
    if options:
        return " or ".join(map(_type_name, options))
    return _JSON_TYPES[hint]


def _default(field: msgspec.structs.FieldInfo) -> str:
    match field.default:
        case str(text):
            return f'`"{text}"`'
        case None:
            return "absent"
        case bool():
            return f"`{str(field.default).lower()}`"
        case _:
            return f"`{field.default}`"


# ---- the tables


def tables_page() -> str:
    from queuectl.exports import dialects, views

    parts = [
        _GENERATED.format(source="`queuectl/exports/views.py` and `queuectl/projections/runs.py`"),
        "# Tables\n",
        _wrapped(
            "What `queuectl export` writes. The columns are always all there, in this order, and"
            " each has one type, whatever happened. How to use them is in"
            " [analyst.md](analyst.md)."
        ),
        "Types of a column: by its kind, in each format.\n",
        "| kind | DuckDB and Parquet | SQLite | JSON and CSV |",
        "|---|---|---|---|",
        *(
            f"| {kind} | `{dialects.DUCKDB[kind]}` | `{dialects.SQLITE[kind]}` | {text} |"
            for kind, text in _PLAIN.items()
        ),
        "",
    ]
    for view, struct in ((views.RUNS, runs.Run), (views.JOBS, views.JobRow)):
        docs = schema.field_docs(struct)
        parts += [
            f"## {view.name}\n",
            f"{schema.summary(struct)} `{view.key}` tells them apart.\n",
            "| column | kind | meaning |",
            "|---|---|---|",
            *(f"| `{key.name}` | {key.kind} | {docs[key.name]} |" for key in view.columns),
            "",
        ]
    names = ", ".join(f"`{name}`" for name in views.EVENTS.names)
    parts += [
        "## events\n",
        _wrapped(
            "One event. `offset` tells them apart. A column is empty where the kind of event has"
            " no such field, or says nothing in it; what a line of the log leaves out because it"
            " is the default is filled in. The fields are described in [events.md](events.md)."
        ),
        _wrapped(f"Columns: {names}."),
    ]
    return "\n".join(parts).rstrip() + "\n"


_PLAIN = {
    schema.TEXT: "text",
    schema.TIME: "text, as `2026-11-22T02:31:00.000214Z`",
    schema.INTEGER: "a whole number",
    schema.NUMBER: "a number",
    schema.BOOLEAN: "`true` or `false`",
    schema.TEXTS: "a list of text; in CSV, as in SQLite, as JSON",
    schema.INTEGERS: "a list of whole numbers; in CSV, as in SQLite, as JSON",
}

# ---- the command line


def cli_page() -> str:
    from queuectl.cli import root

    commands = list(_commands(root.cli, _context(root.cli, "queuectl", None)))
    parts = [
        _GENERATED.format(source="the help texts of the commands"),
        "# Commands\n",
        _wrapped(
            "Every command as `--help` shows it. The answer goes to standard output and nothing"
            " else does; sentences for people go to standard error."
        ),
    ]
    for context, command in commands:
        title = context.command_path
        short = command.get_short_help_str(limit=100)
        parts.append(f"{'  ' * title.count(' ')}- [`{title}`](#{_anchor(title)}): {short}")
    parts += ["", _aliases(root, commands), _exit_codes(), _settings()]
    for context, command in commands:
        lines = click.unstyle(command.get_help(context)).splitlines()
        text = "\n".join(line.rstrip() for line in lines).strip()
        parts += [f"## {context.command_path}\n", f"```text\n{text}\n```\n"]
        variables = _variables(context, command)
        if variables:
            parts.append(f"From the environment: {', '.join(variables)}.\n")
    return "\n".join(parts).rstrip() + "\n"


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    given: dict[str, Any] = {
        **command.context_settings,
        "terminal_width": WIDTH,
        "max_content_width": WIDTH,
        "auto_envvar_prefix": None if parent else "QUEUECTL",
    }
    return command.context_class(command, info_name=name, parent=parent, **given)


def _commands(
    command: click.Command, context: click.Context
) -> Iterator[tuple[click.Context, click.Command]]:
    """A command and all below it that are not hidden, each with its context."""
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _commands(below, _context(below, name, context))


def _variables(context: click.Context, command: click.Command) -> list[str]:
    """The environment variables that stand for the options of a command."""
    return [
        " or ".join(f"`{name}`" for name in _names_of(option, context))
        for option in command.params
        if isinstance(option, click.Option) and option.name and not option.hidden
        if option.name not in ("help", "version")
    ]


def _names_of(option: click.Option, context: click.Context) -> Sequence[str]:
    """The names of the environment variables that stand for an option, the first that is set."""
    if option.envvar:
        return [option.envvar] if isinstance(option.envvar, str) else option.envvar
    return [f"{context.auto_envvar_prefix}_{(option.name or '').upper()}"]


def _aliases(root: Any, commands: list[tuple[click.Context, click.Command]]) -> str:
    rows = ["## Other spellings\n", "| this | means |", "|---|---|"]
    for alias, name in root.ALIASES.items():
        rows.append(f"| `queuectl {alias}` | `queuectl {name}` |")
    for context, command in commands:
        if isinstance(command, root.DefaultGroup):
            path = context.command_path
            rows.append(f"| `{path}` | `{path} {command.default}` |")
    rows.append("| `queuectl worker --stop` | `queuectl worker stop` |")
    return "\n".join(rows) + "\n"


def _exit_codes() -> str:
    reasons: dict[int, list[str]] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.QueuectlError):
            reasons.setdefault(kind.exit_code, []).append(schema.summary(kind))
    reasons[130] = ["It was interrupted (Ctrl-C)."]
    reasons[141] = ["Whoever was reading its output has gone."]
    rows = ["## Exit codes\n", "| code | meaning |", "|---|---|", "| 0 | All is well. |"]
    rows += [f"| {code} | {' '.join(texts)} |" for code, texts in sorted(reasons.items())]
    return "\n".join(rows) + "\n"


def _settings() -> str:
    rows = [
        "## Settings\n",
        "For `queuectl config`. Keys may be written with `-` or `_`.\n",
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    defaults = settings.Settings()
    for setting in settings.SETTINGS:
        value = setting.show(getattr(defaults, setting.field))
        rows.append(f"| `{setting.key}` | `{value}` | {setting.meaning} |")
    known = {setting.key for setting in settings.SETTINGS}
    others = []
    accepted = settings.keys()
    for key in accepted:
        if key not in known:
            found = settings.find(key)
            means = found.meaning if found.key == key else f"the same as `{found.key}`"
            others.append(f"`{key}` ({means})")
    return "\n".join(rows) + f"\n\nAlso accepted: {', '.join(others)}.\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) + "\n"


def _anchor(title: str) -> str:
    """The name that a heading has in a link."""
    kept = (char for char in title.lower() if char.isalnum() or char in "-_ ")
    return "".join(kept).replace(" ", "-")


_GENERATED = "<!-- Made by scripts/generate_docs.py from {source}. Do not edit. -->\n"

if __name__ == "__main__":
    # What the surroundings would change in a help text.
    for name in [name for name in os.environ if name.startswith("QUEUECTL_")]:
        del os.environ[name]
    raise SystemExit(main(sys.argv[1:]))
