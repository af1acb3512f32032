"""Help that helps: on every command, with examples, with a hint for what was nearly right."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from programs import Shell, tree

from queuectl.cli.root import cli


def _commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(below, (*path, name))


COMMANDS = dict(_commands())
PATHS = [pytest.param(path, id=" ".join(path) or "queuectl") for path in COMMANDS]

DOCUMENTED = """
    enqueue | worker start | worker stop | worker list | status | list | show | logs | history
    proof | log redact | wait | cancel | retry | dlq list | dlq retry | dlq purge
    config set | config get
    config list | stats | log segments | log tail | log verify | log compact | log repair | doctor
    ship add | ship status | ship run | ship reset | ship remove
    queue list | queue pause | queue resume | errors | simulate | sql | report | diff | why
    log replay | watch
"""


def test_every_command_is_there() -> None:
    documented = {tuple(words.split()) for words in re.split(r"[|\n]", DOCUMENTED) if words.strip()}
    assert documented <= set(COMMANDS)


@pytest.mark.parametrize("path", PATHS)
def test_help_has_examples(shell: Shell, path: tuple[str, ...]) -> None:
    answer = shell.ok(*path, "--help")
    assert answer.err == ""
    assert answer.out.startswith(f"Usage: {' '.join(['queuectl', *path])} ")
    examples = answer.out.partition("  Examples:\n")[2]
    assert f"    queuectl {' '.join(path)}".rstrip() in examples
    assert shell.ok(*path, "-h") == answer
    # What is cut off helps nobody.
    assert "..." not in answer.out.partition("Commands:\n")[2]
    assert all(len(line) <= 100 for line in answer.out.splitlines())
    assert not list(shell.directory.iterdir())


@pytest.mark.parametrize("path", PATHS)
def test_every_option_has_a_variable_and_says_what_it_does(path: tuple[str, ...]) -> None:
    for option in COMMANDS[path].params:
        if isinstance(option, click.Option) and option.expose_value:
            long = [name[2:] for name in option.opts if name.startswith("--")]
            prefix = "_".join(["queuectl", *path])
            wanted = [f"{prefix}_{name}".replace("-", "_").upper() for name in long]
            assert option.envvar == wanted
            assert option.help


def test_help_as_a_process(shell: Shell) -> None:
    assert shell.program("--help").out == shell("--help").out
    assert shell.program("--version").out == shell("--version").out
    assert re.fullmatch(r"queuectl \d+\.\d+\.\d+\n", shell("--version").out)


def test_no_command_is_a_mistake_that_gets_help(shell: Shell) -> None:
    for words in ([], ["log"]):
        answer = shell(*words)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("Usage: queuectl")


@pytest.mark.parametrize(
    "words, hint",
    [
        ("statuss", "status"),
        ("metrcs", "metrics"),
        ("worker strat", "start"),
        ("dlq retyr", "retry"),
        ("config gte", "get"),
        ("queue puase", "pause"),
        ("ship sttaus", "status"),
        ("log tial", "tail"),
        ("list --stat dead", "--state"),
        ("list --state compelted", "completed"),
        ("list --state sucess", "success"),
        ("config set max-retrys 3", "max-retries"),
        ("config get bakoff", "backoff"),
        ("""enqueue {"comand":"x"}""", "command"),
        ("""enqueue {"command":"x","max_retry":"x"}""", "max_retries"),
    ],
)
def test_nearly_right_names_get_a_hint(shell: Shell, words: str, hint: str) -> None:
    answer = shell(*words.split())
    assert (answer.code, answer.out) == (2, "")
    assert (
        re.search(rf"(?i)did you mean '{hint}'\?", answer.err)
        or hint in answer.err.split("Possible options: ")[-1]
    )


def test_a_nearly_right_job_gets_a_hint(played: Shell) -> None:
    answer = played("show", "godo")
    assert answer.code == 3
    assert "did you mean" in answer.err and "good" in answer.err


@pytest.mark.parametrize(
    "alias, name",
    [
        ("metrics --by queue", "stats --by queue"),
        ("ls", "list"),
        ("dlq", "dlq list"),
        ("config", "config list"),
        ("config get", "config list"),
        ("queue", "queue list"),
        ("config --json", "config list --json"),
        ("dlq --json", "dlq list --json"),
    ],
)
def test_short_ways_mean_the_long_ones(played: Shell, alias: str, name: str) -> None:
    if alias == "metrics":
        assert (
            played.ok("metrics", "--json").json.keys() == played.ok("stats", "--json").json.keys()
        )
    else:
        assert played.ok(*alias.split()) == played.ok(*name.split())


def offered(shell: Shell, line: str, **env: str) -> list[str]:
    """What Tab offers at the end of a command line."""
    words = line.split(" ")
    answer = shell.program(
        _QUEUECTL_COMPLETE="bash_complete",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
        **env,
    )
    assert (answer.code, answer.err) == (0, "")
    return [line.partition(",")[2] for line in answer.lines if line]


def test_completion_knows_commands_states_and_reports(shell: Shell) -> None:
    assert set(offered(shell, "queuectl sta")) == {"status", "stats"}
    assert set(offered(shell, "queuectl list -s c")) == {"completed", "cancelled"}
    assert offered(shell, "queuectl report w") == ["waits"]


def test_completion_knows_jobs_queues_and_settings(shell: Shell) -> None:
    for id in ("job-a", "job-b", "other"):
        shell.add("--id", id, "--queue", f"q-{id}", "true")
    for command in ("show", "logs", "history", "wait", "cancel", "retry", "dlq purge"):
        assert offered(shell, f"queuectl {command} job") == ["job-b", "job-a"], command
    assert offered(shell, "queuectl wait job-a o") == ["other"]
    shell.ok("queue", "pause", "q-x")
    for command in ("list --queue", "worker start --queue", "queue resume", "enqueue --queue"):
        assert offered(shell, f"queuectl {command} q-") == ["q-job-a", "q-job-b", "q-other", "q-x"]
    assert offered(shell, "queuectl config set backoff-b") == ["backoff-base"]
    for name in ("audit", "archive"):
        shell.ok("ship", "add", name, "--to", f"jsonl:{name}")
    for command in ("ship run", "ship status", "ship reset", "ship remove"):
        assert offered(shell, f"queuectl {command} a") == ["archive", "audit"]
    shell.data.rename(shell.directory / "there")
    assert offered(shell, "queuectl --data there show o") == ["other"]
    assert offered(shell, "queuectl show o", QUEUECTL_DATA="there") == ["other"]


def test_completion_is_quiet_where_it_cannot_read_and_makes_nothing(shell: Shell) -> None:
    assert offered(shell, "queuectl show j") == []
    assert offered(shell, "queuectl --data x://y show j") == []
    assert list(shell.directory.iterdir()) == []
    shell.add("--id", "job1", "true")
    shell.add("--id", "job2", "true")
    before = tree(shell.data)
    assert offered(shell, "queuectl show j") == ["job2", "job1"]
    assert tree(shell.data) == before
    (log,) = (shell.data / "log").glob("*.jsonl")
    log.write_bytes(log.read_bytes()[:-2] + b"]\n")
    assert offered(shell, "queuectl show j") == ["job1"]
    log.write_bytes(b"{}")
    assert offered(shell, "queuectl show j") == []


def test_a_variable_of_somebody_else_changes_nothing(shell: Shell) -> None:
    """Many containers set PROGRAM_VERSION and the like for themselves."""
    others = {"QUEUECTL_VERSION": "1.2", "QUEUECTL_HELP": "1", "QUEUECTL_WORKER": "x"}
    assert shell.ok("config", "get", "timeout", **others).out == "5m\n"
