"""Bad input: one line on standard error, the right exit code, nothing written, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from programs import PROGRAM, Answer, Shell, tree


def refused(answer: Answer, code: int, *says: str) -> None:
    assert answer.code == code, answer
    assert answer.out == ""
    assert answer.err.startswith("queuectl: ") and answer.err.endswith("\n")
    assert answer.err.count("\n") == 1, "an error is one line"
    assert len(answer.err) < 400, "and one that can be read"
    assert "Traceback" not in answer.err
    for words in says:
        assert words in answer.err


JOBS = {
    '{"command":"x"': "invalid JSON",
    '{"command":"x"} trailing': "invalid JSON",
    "{}": "command: it is missing",
    "[]": "no job",
    "[1]": "a job is a JSON object",
    "[[]]": "a job is a JSON object",
    '["x"]': "a job is a JSON object",
    '[{"command":"x"},{"command":"y","bad":1}]': "job 2: unknown field 'bad'",
    '[{"id":"a","command":"x"},{"id":"a","command":"y"}]': "job 2: id: a stands here a second time",
    '{"comand":"x"}': "did you mean 'command'",
    '{"command":"x","":1}': "unknown field ''",
    '{"command":""}': "empty",
    '{"command":" \\n\\t"}': "empty",
    '{"command":null}': "missing",
    '{"command":5}': "command: 5 is not text",
    '{"command":["x"]}': "command",
    '{"command":{"a":1}}': "command",
    '{"command":"a\\u0000b"}': "NUL",
    '{"command":"\\ud800"}': "UTF-8",
    '{"command":"x","argv":["a"]}': "command and argv",
    '{"argv":[]}': "argv",
    '{"argv":"x"}': "argv",
    '{"argv":[1]}': "argv",
    '{"argv":[""]}': "argv",
    '{"argv":["a\\u0000"]}': "NUL",
    '{"id":"a/b","command":"x"}': "id: 'a/b'",
    '{"id":"..","command":"x"}': "id: '..'",
    '{"id":"../../etc/passwd","command":"x"}': "id",
    '{"id":".hidden","command":"x"}': "id",
    '{"id":"-rf","command":"x"}': "id",
    '{"id":"","command":"x"}': "id",
    '{"id":"a b","command":"x"}': "id",
    '{"id":"a\\n","command":"x"}': "id",
    '{"id":"\\u00fc","command":"x"}': "id",
    '{"id":true,"command":"x"}': "id",
    '{"id":1.5,"command":"x"}': "id",
    json.dumps({"id": "x" * 129, "command": "x"}): "id",
    '{"id":"a","id":"b","command":"x"}': "'id' stands there twice",
    '{"command":"x","env":{"A":"1","A":"2"}}': "'A' stands there twice",
    '{"command":"x","max_attempts":1,"max_retries":2}': "max_retries: it is given twice",
    '{"command":"x","run_at":"2100-01-01T00:00:00Z","run_after":"2100-01-01T00:00:00Z"}': "twice",
    '{"command":"x","priority":NaN}': "NaN is no JSON number",
    '{"command":"x","priority":Infinity}': "Infinity is no JSON number",
    '{"command":"x","priority":1e400}': "priority",
    '{"command":"x","priority":1.5}': "priority: 1.5 is not a whole number",
    '{"command":"x","priority":true}': "priority",
    '{"command":"x","priority":"high"}': "priority: 'high' is not a whole number",
    '{"command":"x","priority":"\u0663"}': "priority",
    '{"command":"x","priority":99999999999999999999999999}': "out of range",
    '{"command":"x","priority":%s}' % ("9" * 5000): "5000 digits",
    '{"command":"x","max_retries":-1}': "max_retries: -1 is out of range",
    '{"command":"x","max_retries":1000001}': "out of range",
    '{"command":"x","max_retries":[]}': "max_retries",
    '{"command":"x","timeout":-5}': "timeout",
    '{"command":"x","timeout":"-5s"}': "timeout",
    '{"command":"x","timeout":1e400}': "timeout",
    '{"command":"x","timeout":"5 parsecs"}': "30s",
    '{"command":"x","timeout":true}': "timeout",
    '{"command":"x","timeout":"nan"}': "timeout",
    '{"command":"x","delay":-1}': "delay",
    '{"command":"x","delay":"1y"}': "delay",
    '{"command":"x","delay":5,"run_at":"2100-01-01T00:00:00Z"}': "run_at and delay",
    '{"command":"x","run_at":"2001-01-01T00:00:00Z"}': "in the past",
    '{"command":"x","run_at":"tomorrow"}': "2030-01-31T09:00:00Z",
    '{"command":"x","run_at":"2100-01-01T00:00:00"}': "zone",
    '{"command":"x","run_at":"2100-02-30T00:00:00Z"}': "run_at",
    '{"command":"x","run_at":0}': "run_at",
    '{"command":"x","run_at":"9999-12-31T23:59:59-12:00"}': "run_at",
    '{"command":"x","backoff":"wild"}': "exponential, linear, fixed, doubling",
    '{"command":"x","backoff":["5s","x"]}': "backoff",
    '{"command":"x","backoff":[]}': "backoff",
    '{"command":"x","backoff":5}': "backoff",
    '{"command":"x","backoff_base":-1}': "backoff_base",
    '{"command":"x","backoff_base":"x"}': "backoff_base",
    '{"command":"x","backoff_base":1e999}': "backoff_base",
    '{"command":"x","backoff_base":"nan"}': "backoff_base",
    '{"command":"x","queue":""}': "queue",
    '{"command":"x","queue":"a b"}': "queue",
    '{"command":"x","queue":1}': "queue",
    '{"command":"x","cwd":"relative"}': "absolute",
    '{"command":"x","cwd":"/a\\u0000"}': "NUL",
    '{"command":"x","env":{"A":1}}': "env A",
    '{"command":"x","env":["A"]}': "NAME=value",
    '{"command":"x","env":{"A B":"1"}}': "env",
    '{"command":"x","env":{"A":"x\\u0000"}}': "NUL",
    '{"command":"x","env":"A=1"}': "env",
    '{"command":"x","secret_env":"X"}': "secret_env",
    '{"command":"x","secret_env":["1X"]}': "secret_env",
    '{"command":"x","tags":5}': "tags",
    '{"command":"x","tags":["a b"]}': "tags",
    json.dumps({"command": "x", "tags": [f"t{n}" for n in range(101)]}): "tags",
    json.dumps({"command": "x", "k" * 5000: 1}): "unknown field",
    json.dumps({"command": "x" * 131_072}): "131072 bytes are too long, the limit is 131071",
    "[" * 20_000: "nested too deeply",
    '{"command":' * 5_000: "nested too deeply",
}


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A queue with one job, which must stay as it is."""
    shell = Shell(tmp_path_factory.mktemp("settled"))
    shell.add("--id", "job1", "-c", "true")
    (shell.directory / "broken").write_bytes(b'echo ok\n{"command":\n')
    (shell.directory / "bytes").write_bytes(b"echo ok\necho \xff\xfe\n")
    (shell.directory / "empty").write_bytes(b"\n  \n")
    (shell.directory / "nul").write_bytes(b"echo a\0b\n")
    (shell.directory / "taken").write_text('{"command":"x"}\n{"id":"job1","command":"x"}\n')
    (shell.directory / "huge").write_bytes(b"echo " + b"x" * (10 << 20))
    (shell.directory / "huge.json").write_text(json.dumps([{"command": "x" * (10 << 20)}]))
    return shell


@pytest.mark.parametrize("job, says", JOBS.items(), ids=[text[:50] for text in JOBS])
def test_a_bad_job(settled: Shell, job: str, says: str) -> None:
    before = tree(settled.directory)
    refused(settled("enqueue", job), 2, says)
    # The same in a pipe, where it has a place.
    answer = settled("enqueue", "-", stdin=b"true\n" + job.encode("utf-8", "surrogatepass"))
    if job.startswith("{"):
        refused(answer, 2, says, "standard input, line 2: ")
        assert tree(settled.directory) == before


def test_bad_lines_are_plain_commands_where_they_are_no_objects(settled: Shell) -> None:
    """Only `{` begins a job inside of a file: `[` is a command of the shell."""
    answer = settled("--data", "other", "enqueue", "-", stdin=b"true\n[ -f x ] && echo y\n")
    assert answer.code == 0 and len(answer.lines) == 2
    shutil.rmtree(settled.directory / "other")


COMMANDS: list[tuple[str, int, str]] = [
    ("enqueue", 2, "nothing to enqueue"),
    ("enqueue --", 2, "nothing to enqueue"),
    ("enqueue -c true -f broken", 2, "one way only"),
    ("enqueue -c true true", 2, "one way only"),
    ("enqueue --id job1 true", 4, "a job job1 exists already and is pending"),
    ("enqueue --id a/b true", 2, "id"),
    ("enqueue --priority high true", 2, "priority"),
    ("enqueue --delay -5 true", 2, "delay"),
    ("enqueue --timeout -5 true", 2, "timeout"),
    ("enqueue --max-retries -1 true", 2, "max_retries"),
    ("enqueue --run-at 2001-01-01T00:00:00Z true", 2, "past"),
    ("enqueue --env K true", 2, "NAME=value"),
    ("enqueue --queue a,b true", 2, "queue"),
    (
        """enqueue --priority 1 {"command":"x","priority":2}""",
        2,
        "both as an option and in the job",
    ),
    ("""enqueue --max-retries 1 {"command":"x","max_attempts":2}""", 2, "max_retries"),
    ("enqueue -f missing", 3, "there is no file missing"),
    ("enqueue -f .", 2, "directory"),
    ("--data other import /proc/self/mem", 2, "/proc/self/mem: Input/output error"),
    ("--data other import missing", 3, "there is no file missing"),
    ("log verify --anchor missing", 3, "--anchor missing: there is no such file"),
    ("enqueue -f broken", 2, "broken, line 2: invalid JSON"),
    ("enqueue -f bytes", 2, "bytes, line 2: it is not valid UTF-8 at byte 6"),
    ("enqueue -f empty", 2, "no job"),
    ("enqueue -f nul", 2, "nul, line 1: command: it holds a NUL byte"),
    ("enqueue -f taken", 4, "job1 exists already"),
    ("enqueue -f huge", 2, "too long"),
    ("enqueue -f huge.json", 2, "too long"),
    ("enqueue --nope true", 2, "--nope"),
    ("list --state nope", 2, "pending, processing, completed, failed, dead, cancelled"),
    ("list --limit -1", 2, "--limit -1"),
    ("list --limit x", 2, "--limit"),
    ("list extra", 2, "extra"),
    ("dlq list --limit -1", 2, "--limit"),
    ("log tail -n -1", 2, "--lines"),
    ("log tail -f --json", 2, "--jsonl"),
    ("logs job1 -f --json", 2, "--follow"),
    ("logs job1 -f --attempt 1", 2, "--follow"),
    ("show", 2, "ID"),
    ("show nope", 3, "there is no job 'nope'"),
    ("logs nope", 3, "nope"),
    ("logs job1", 3, "has not run yet"),
    ("logs job1 --attempt 1", 3, "no run 1"),
    ("history nope", 3, "nope"),
    ("wait nope", 3, "nope"),
    ("wait", 2, "ID"),
    ("wait job1 --timeout x", 2, "--timeout"),
    ("wait job1 --timeout 10ms", 5, "job1"),
    ("wait job1 job1 --timeout 10ms --exit-code", 5, "job1"),
    ("cancel", 2, "--all"),
    ("cancel nope", 3, "nope"),
    ("cancel job1 --all", 2, "not both"),
    ("retry job1", 4, "pending and due"),
    ("retry", 2, "--all"),
    ("dlq retry", 2, "--all"),
    ("dlq retry job1", 4, "not in the dead-letter queue"),
    ("dlq retry nope", 3, "nope"),
    ("dlq purge job1", 4, "not in the dead-letter queue"),
    ("dlq purge", 2, "--all"),
    ("config get nope", 2, "unknown setting 'nope'"),
    ("config set nope 1", 2, "unknown setting 'nope'"),
    ("config set max-retries", 2, "VALUE"),
    ("config set max-retries -1", 2, "max-retries"),
    ("config set max-retries 1.5", 2, "max-retries"),
    ("config set max-retries many", 2, "'many' is no value for max-retries"),
    ("config set backoff wild", 2, "exponential"),
    ("config set backoff-base -1", 2, "backoff-base"),
    ("config set backoff-base nan", 2, "backoff-base"),
    ("config set backoff-jitter 2", 2, "0% to 100%"),
    ("config set delay-base x", 2, "milliseconds"),
    ("config set timeout 5parsecs", 2, "30s"),
    ("config set timeout -1", 2, "timeout"),
    ("config set lease 0", 2, "lease"),
    ("config set worker-poll-interval 0", 2, "worker-poll-interval"),
    ("config set output-limit much", 2, "output-limit"),
    ("stats --by colour", 2, "--by"),
    ("status --interval x", 2, "--interval"),
    ("queue pause", 2, "NAME"),
    ("queue pause a,b", 2, "queue"),
    ("worker start --count 0", 2, "--count"),
    ("worker start --count 1001", 2, "--count"),
    ("worker start --count x", 2, "--count"),
    ("worker start --limit 0", 2, "--limit"),
    ("worker start --backoff-base -1", 2, "--backoff-base"),
    ("worker start --timeout x", 2, "--timeout"),
    ("worker start --sleep x", 2, "--sleep"),
    ("worker start --grace -1", 2, "--grace"),
    ("worker start --burst=later", 2, "--burst"),
    ("worker start --queue a,b", 2, "queue"),
    ("worker start extra", 2, "extra"),
    ("--color red list", 2, "--color"),
    ("--data nats://here list", 2, "no log engine"),
    ("--data broken list", 3, "there is no queue"),
    ("--data broken enqueue true", 1, "Not a directory"),
    ("--data missing/parent enqueue true", 3, "there is no directory"),
    ("--data missing/parent import broken", 3, "there is no directory"),
    ("export --to broken/below.jsonl", 3, "there is no directory"),
    ("ship add a --to jsonl:broken/below", 3, "there is no directory"),
    ("enqueue -f broken/below", 3, "there is no file broken/below"),
    ("enqueue -f /proc/self/mem", 2, "/proc/self/mem: Input/output error"),
    ("nope", 2, "no such command 'nope'"),
]


@pytest.mark.parametrize("words, code, says", COMMANDS, ids=[words for words, _, _ in COMMANDS])
def test_a_bad_command(settled: Shell, words: str, code: int, says: str) -> None:
    before = tree(settled.directory)
    refused(settled(*words.split()), code, says)
    assert tree(settled.directory) == before


@pytest.mark.parametrize(
    "words, code",
    [
        (["enqueue", ""], 2),
        (["enqueue", "  "], 2),
        (["enqueue", "-c", ""], 2),
        (["enqueue", "--", ""], 2),
        (["enqueue", "-c", "x" * 131_072], 2),
        (["enqueue", "-c", "echo \udcff"], 2),
        (["enqueue", "--id", "\udcff", "true"], 2),
        (["show", "\udcff"], 3),
        (["show", "\x1b[31m"], 3),
        (["show", ""], 3),
        (["list", "--state", "\x1b[31m\u202e"], 2),
        (["config", "set", "\x1b", "\n"], 2),
        (["--data", "", "list"], 2),
        (["\x1b[31m"], 2),
        (["enqueue", '{"command":"x","\x1b[31m":1}'], 2),
    ],
    ids=repr,
)
def test_bad_words(settled: Shell, words: list[str], code: int) -> None:
    before = tree(settled.directory)
    answer = settled(*words)
    refused(answer, code)
    assert answer.err.removesuffix("\n").isprintable()
    assert tree(settled.directory) == before


@pytest.mark.parametrize(
    "words, stdin, code",
    [
        ([b"enqueue", b"-c", b"echo \xff"], b"", 2),
        ([b"enqueue", b'{"command":"\xff"}'], b"", 2),
        ([b"enqueue", b"-"], b"echo \xff", 2),
        ([b"enqueue", b"-"], b'{"command":"' + b"x" * (10 << 20) + b'"}', 2),
        ([b"enqueue", b'{"id":"job1","command":"x"}'], b"", 4),
        ([b"show", b"\xff"], b"", 3),
        ([b"config", b"set", b"nope", b"1"], b"", 2),
        ([b"enqueue", b"[" * 100_000], b"", 2),
        ([b"wait", b"job1", b"--timeout", b"1ms"], b"", 5),
    ],
    ids=range(9),
)
def test_bad_input_of_a_process(
    settled: Shell, words: list[bytes], stdin: bytes, code: int
) -> None:
    before = tree(settled.directory)
    refused(settled.program(*words, stdin=stdin), code)
    assert tree(settled.directory) == before


READING = """
    status | status --json | status --watch | list | list --json | ls | show x | logs x | logs -f x
    history x | wait x | stats | metrics | dlq | dlq list | queue | queue list | worker list
    log segments | log tail | log tail -f | log verify | log compact | log repair | doctor
    worker stop | worker --stop | cancel x | cancel --all | retry x | retry --all
    dlq retry x | dlq retry --all | dlq purge --all
"""


@pytest.mark.parametrize(
    "words", [words.strip() for words in READING.replace("\n", "|").split("|") if words.strip()]
)
def test_where_there_is_no_queue_none_is_made(shell: Shell, words: str) -> None:
    refused(shell(*words.split()), 3, f"there is no queue at {shell.data}", "--data")
    assert tree(shell.directory) == {}


def test_settings_without_a_queue_are_the_defaults(shell: Shell) -> None:
    assert shell.ok("config", "get", "max-retries").out == "3\n"
    assert shell.ok("config", "--json").json["max-retries"] == 3
    assert tree(shell.directory) == {}


@pytest.mark.parametrize(
    "words", ["enqueue {}", "enqueue -f empty", "config set max-retries x", "queue pause a,b"]
)
def test_what_is_refused_makes_no_queue(shell: Shell, words: str) -> None:
    (shell.directory / "empty").touch()
    assert shell(*words.split()).code == 2
    assert not shell.data.exists()


# ---- places that cannot be written to


@pytest.fixture
def sealed(shell: Shell) -> Shell:
    """A queue that nobody can write to, not even root."""
    shell.add("--id", "job1", "true")
    paths = [shell.data, *shell.data.rglob("*")]
    changed = subprocess.run(["chattr", "+i", *paths], capture_output=True)
    if changed.returncode != 0:
        pytest.skip(f"chattr +i does not work here: {changed.stderr.decode()}")
    yield shell
    subprocess.run(["chattr", "-i", *paths], check=True)


def test_a_queue_that_cannot_be_written_to_can_be_read(sealed: Shell) -> None:
    before = tree(sealed.directory)
    for words in ("status", "list", "show job1", "history job1", "log verify", "stats", "dlq"):
        assert sealed(*words.split()).code == 0
    for words in ("enqueue true", "cancel job1", "config set grace 1s", "queue pause a"):
        refused(sealed(*words.split()), 1, "not permitted", str(sealed.data))
    answer = sealed.program("worker", "start", "--burst")
    refused(answer, 1, "not permitted")
    answer = sealed("doctor")
    assert answer.code == 1
    assert any(line.startswith("fail") for line in answer.lines)
    assert tree(sealed.directory) == before


def test_no_permission(shell: Shell) -> None:
    """Root is an ordinary user here: without its right to pass by the permissions of files."""
    shell.add("--id", "job1", "true")
    program: list[str] = [*PROGRAM]
    if os.getuid() == 0:
        rights = "--bounding-set=-dac_override,-dac_read_search,-fowner"
        program = ["setpriv", rights, *program]
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv (util-linux) is missing")
        os.chown(shell.data, 65534, -1)
        os.chmod(shell.data, 0o700)
    else:
        os.chmod(shell.data, 0)

    def as_stranger(*words: str) -> Answer:
        done = subprocess.run(
            [*program, *words],
            cwd=shell.directory,
            env=shell.environment({}),
            capture_output=True,
            text=True,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    before = shell.data.stat()
    for words in (["status"], ["list"], ["enqueue", "true"], ["cancel", "--all"], ["doctor"]):
        refused(as_stranger(*words), 1, str(shell.data))
    refused(as_stranger("--data", "data/below", "status"), 1, "Permission denied")
    refused(as_stranger("--data", "data/below", "enqueue", "true"), 1, "Permission denied")
    assert shell.data.stat() == before
    os.chown(shell.data, os.getuid(), -1)
    os.chmod(shell.data, 0o700)
    assert shell.state("job1") == "pending"


def test_a_queue_that_others_can_write_to_is_refused(shell: Shell) -> None:
    shell.add("true")
    os.chmod(shell.data, 0o777)
    for words in ("status", "enqueue true", "worker start --burst"):
        refused(shell(*words.split()), 1, "chmod 700", str(shell.data))


# ---- for whoever looks for the reason


def test_a_traceback_only_when_asked_for(settled: Shell) -> None:
    plain = settled.program("show", "nope")
    refused(plain, 3)
    told = settled.program("show", "nope", QUEUECTL_DEBUG="1")
    assert told.code == 3
    assert told.err.startswith("Traceback (most recent call last):\n")
    assert told.err.endswith(plain.err)


def test_a_defect_is_one_line_too(settled: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from queuectl.jobqueue import Queue

    def fails(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Queue, "get", fails)
    refused(settled("show", "job1"), 1, "planted", "QUEUECTL_DEBUG=1")


def test_the_wrong_path_stays_one_line(tmp_path: Path) -> None:
    """A directory whose name is not UTF-8, and would command a terminal."""
    place = os.fsencode(tmp_path) + b"/\xff\x1b[31m"
    shell = Shell(tmp_path)
    refused(shell.program("--data", place, "list"), 3, r"\udcff\x1b[31m")
    assert shell.program("--data", place, "enqueue", "true").code == 0
    for words in ("log segments", "doctor", "list", "log segments --json", "doctor --json"):
        answer = shell.program("--data", place, *words.split())
        assert answer.code == 0, answer
        assert answer.out.isascii() and "\x1b" not in answer.out
