"""Every call on a file fails, once or from then on for ever, for each command: one line that says
so, never a traceback, never a success that is none."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from unittest import mock

import pytest
from hosts import FILE_CALLS, BrokenHost, SteadyHost
from programs import Answer, Shell, tree
from tallies import Tally
from workers import alive

# Before any machine stands for another: else what is imported later would have it for ever.
import queuectl.cli.web  # noqa: F401
from queuectl import Queue
from queuectl.engines.file import FileLog
from queuectl.events import vocabulary as v

DOORS = tuple(f"queuectl.{module}.Host" for module in ("queueview", "host", "runtime.repairing"))
"""Where a command gets its machine."""
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EMFILE", "EINTR", "EROFS", "short write")
FULL = ("ENOSPC", "EDQUOT")
OLD = ("a", "b", "flaky")
COMMANDS = {"flaky": "[ $QUEUECTL_ATTEMPT -gt 1 ]"}


class Machine(BrokenHost):
    """A machine whose `number`-th call on a file fails, and with `for_ever` every one after it."""

    patience = 10
    """How often a worker may wait in vain until it is asked to stop."""

    def __init__(self, number: int, error: str, *, for_ever: bool) -> None:
        super().__init__()
        self.number, self.error, self.for_ever = number, error, for_ever
        self.failed: list[str] = []
        self.waited = 0
        self.watch(self._fault)

    def _fault(self, number: int, name: str) -> BaseException | None:
        if number != self.number and not (self.for_ever and number > self.number):
            return None
        self.failed.append(name)
        if self.error == "short write":
            return None
        code = getattr(errno, self.error)
        return OSError(code, os.strerror(code))

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
        return super().write(fd, self._narrow(data))

    def write_at(self, fd: int, data: bytes, position: int) -> int:  # type: ignore[override]
        return super().write_at(fd, self._narrow(data), position)

    def _narrow(self, data: bytes) -> bytes:
        hit = len(self.calls) == self.number or (self.for_ever and len(self.calls) > self.number)
        return data[: max(1, len(data) // 2)] if self.error == "short write" and hit else data

    # ---- time passes only by being waited for, and not while anything real goes on

    def wait(self, descriptors: Iterable[int], timeout_s: float) -> set[int]:
        heard = super().wait(descriptors, min(timeout_s, 0.005))
        if not heard and not _jobs_run():
            self._pass(timeout_s)
        return heard

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.001))
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        self.advance(min(max(seconds, 0.0), 1.0))
        self.waited += 1
        if self.waited % self.patience == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        assert self.waited < 20 * self.patience, f"it goes on for ever: {self.failed[:3]}"


def _jobs_run() -> bool:
    """Whether a process that any thread of this one has started has not ended yet."""
    children = (path.read_text().split() for path in Path("/proc/self/task").glob("*/children"))
    return any(map(alive, map(int, chain.from_iterable(children))))


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


class Bench:
    """A queue with three jobs, laid out anew for every try."""

    def __init__(self, root: Path) -> None:
        self.template = root / "template"
        self.shell = Shell(root)
        with Queue(self.template, host=SteadyHost()) as queue:
            for id in OLD:
                queue.enqueue(COMMANDS.get(id, "true"), id=id, max_retries=3, cwd="/")
        self.lay()

    def lay(self) -> None:
        shutil.rmtree(self.shell.data, ignore_errors=True)
        shutil.copytree(self.template, self.shell.data)

    def run(self, words: tuple[str, ...], machine: SteadyHost) -> Answer:
        before = _descriptors()
        try:
            with ExitStack() as patched:
                for door in DOORS:
                    patched.enter_context(mock.patch(door, lambda: machine))
                return self.shell(*words)
        finally:
            # As when its process ends: no lock is left. What an error still keeps alive first.
            if _descriptors() - before:
                gc.collect()
            for fd in _descriptors() - before:
                with suppress(OSError):
                    os.close(int(fd))

    def truth(self) -> Queue:
        return Queue(self.shell.data, host=SteadyHost())


@pytest.fixture
def bench(ram: Path) -> Bench:
    return Bench(ram)


def failing(
    bench: Bench, words: tuple[str, ...], errors: Iterable[str], *, for_ever: bool
) -> Iterator[tuple[Machine, Answer]]:
    """What a command answers when its first, second, … call fails, until none is left to fail."""
    for error in errors:
        for number in range(1000):
            bench.lay()
            machine = Machine(number, error, for_ever=for_ever)
            answer = bench.run(words, machine)
            if not machine.failed:
                assert answer.code == 0
                break
            yield machine, answer
        else:
            pytest.fail("it makes calls without end")


def told_well(machine: Machine, answer: Answer) -> None:
    """What failed is said in one line, by somebody who has expected it."""
    where = (machine.number, machine.error, machine.failed[:5], answer)
    assert "Traceback" not in answer.err, where
    assert "defect" not in answer.err, where
    if answer.code:
        assert answer.code in (1, 9), where
        assert answer.err.splitlines()[-1].startswith("queuectl: "), where


def goes_on(bench: Bench, machine: Machine) -> None:
    """As soon as the disk is well again, everything is."""
    where = (machine.number, machine.error, machine.failed[:5])
    with bench.truth() as queue:
        assert set(OLD) <= {job.id for job in queue.jobs()}, where
        queue.enqueue("true", id="after")
    check = bench.run(("--data", "data", "log", "verify"), SteadyHost())
    assert check.code == 0, (where, check)


def try_enqueue(bench: Bench, errors: Iterable[str], *, for_ever: bool) -> int:
    tried = 0
    for machine, answer in failing(bench, ("enqueue", "-c", "true"), errors, for_ever=for_ever):
        tried += 1
        told_well(machine, answer)
        with bench.truth() as queue:
            there = [job.id for job in queue.jobs() if job.id not in OLD]
        if answer.code == 0:
            assert answer.lines == there, (machine.number, machine.error)
        else:
            assert answer.out == "", "an id is a promise"
            assert len(answer.err.splitlines()) == 1, answer
            if machine.error in FULL and machine.failed[0] in ("write", "reserve", "create"):
                assert (answer.code, there) == (9, [])
        goes_on(bench, machine)
    return tried


def test_enqueue_on_a_disk_that_fails_once(bench: Bench, tally: Tally) -> None:
    tally("calls failed", try_enqueue(bench, ["EIO", "ENOSPC"], for_ever=False))


@pytest.mark.torture
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
def test_enqueue(bench: Bench, for_ever: bool, tally: Tally) -> None:
    tally("calls failed", try_enqueue(bench, ERRORS, for_ever=for_ever))


@pytest.mark.torture
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize(
    "words",
    [
        ("status", "--json"),
        ("log", "verify", "--json"),
        ("list", "--json"),
        ("show", "a", "--json"),
        ("history", "a", "--json"),
    ],
    ids=" ".join,
)
def test_reading(bench: Bench, words: tuple[str, ...], for_ever: bool, tally: Tally) -> None:
    right = json.loads(bench.run(words, SteadyHost()).out)
    tried = 0
    for machine, answer in failing(bench, words, ERRORS, for_ever=for_ever):
        tried += 1
        told_well(machine, answer)
        if answer.code == 0:
            assert json.loads(answer.out) == right, (machine.number, machine.error, machine.failed)
        else:
            assert answer.out == ""
        goes_on(bench, machine)
    tally("calls failed", tried)


@pytest.mark.torture
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("error", ERRORS)
def test_a_worker(bench: Bench, error: str, for_ever: bool, tally: Tally) -> None:
    words = ("worker", "start", "-c", "2", "--burst")
    tried = 0
    for machine, answer in failing(bench, words, [error], for_ever=for_ever):
        tried += 1
        told_well(machine, answer)
        where = (machine.number, machine.error, machine.failed[:5], answer)
        goes_on(bench, machine)
        drained = bench.run(("worker", "start", "--burst"), Machine(-1, "", for_ever=False))
        assert drained.code == 0, (where, drained)
        with bench.truth() as queue:
            assert {job.state for job in queue.jobs()} == {"completed"}, where
            # What the disk did is never the job's fault.
            failed = [e for piece in queue.log.read() for e in piece if isinstance(e, v.JobFailed)]
            assert {event.job for event in failed} <= {"flaky"}, (where, failed)
            assert {event.error for event in failed} <= {"exit code 1"}, (where, failed)
    tally("calls failed", tried)


ANSWERS = (
    ("list", "--json", "--limit", "100"),
    ("status", "--json"),
    ("show", "keep3", "--json"),
    ("history", "keep3", "--json"),
    ("history", "gone3", "--json"),
)


@pytest.fixture
def long_bench(ram: Path) -> Bench:
    """With a log of several segments, in which much can be forgotten."""
    bench = Bench(ram)
    small = partial(FileLog, segment_bytes_max=1500)
    with (
        mock.patch("queuectl.queueview.FileLog", small),
        Queue(bench.template, host=SteadyHost()) as queue,
    ):
        for number in range(8):
            ids = [f"{kind}{number}" for kind in ("keep", "gone")]
            queue.enqueue_many([{"command": "true", "id": id, "cwd": "/"} for id in ids])
            queue.cancel(ids[1])
            queue.prune(ids[1])
    bench.lay()
    return bench


def right_answers(bench: Bench) -> list[object]:
    return [bench.run(words, SteadyHost()).json for words in ANSWERS]


@pytest.mark.torture
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("error", ERRORS)
def test_compaction(long_bench: Bench, error: str, for_ever: bool, tally: Tally) -> None:
    right = right_answers(long_bench)
    words = ("log", "compact")
    tried = 0
    for machine, answer in failing(long_bench, words, [error], for_ever=for_ever):
        tried += 1
        told_well(machine, answer)
        where = (machine.number, machine.error, machine.failed[:5], answer)
        assert right_answers(long_bench) == right, where
        again = long_bench.run(words, SteadyHost())
        assert again.code == 0, (where, again)
        assert right_answers(long_bench) == right, where
        goes_on(long_bench, machine)
    tally("calls failed", tried)


MAKING = (
    ("export", "--to", "there.csv", "--view", "runs"),
    ("export", "--to", "there.parquet", "--view", "events"),
    ("export", "--to", "there.sqlite", "--force"),
    ("proof", "a", "--to", "there"),
    ("log", "copy", "there"),
)


def made(bench: Bench) -> dict[str, bytes | None]:
    """What a command has put beside the queue, if only half of it."""
    beside = tree(bench.shell.directory)
    return {name: beside[name] for name in beside if not name.startswith(("data", "template"))}


def unmake(bench: Bench) -> None:
    for name in {name.partition("/")[0] for name in made(bench)}:
        path = bench.shell.directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def try_making(bench: Bench, words: tuple[str, ...], error: str, *, for_ever: bool) -> int:
    assert bench.run(words, SteadyHost()).code == 0
    right = made(bench)
    unmake(bench)
    tried = 0
    for machine, answer in failing(bench, words, [error], for_ever=for_ever):
        tried += 1
        told_well(machine, answer)
        where = (machine.number, machine.error, machine.failed[:5], answer)
        # Where the name may not be durable, it is there, and the command says that it failed.
        assert made(bench) in (right, *([{}] if answer.code else [])), where
        unmake(bench)
        goes_on(bench, machine)
    unmake(bench)
    return tried


def test_a_file_is_made_whole_or_not_at_all_on_a_disk_that_fails_once(
    bench: Bench, tally: Tally
) -> None:
    tried = [try_making(bench, MAKING[0], error, for_ever=False) for error in ("EIO", "ENOSPC")]
    tally("calls failed", sum(tried))


@pytest.mark.torture
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("words", MAKING, ids=" ".join)
def test_making(bench: Bench, words: tuple[str, ...], for_ever: bool, tally: Tally) -> None:
    tried = [try_making(bench, words, error, for_ever=for_ever) for error in ERRORS]
    tally("calls failed", sum(tried))


# ---- a log that is damaged


@pytest.fixture
def damaged_bench(long_bench: Bench) -> Bench:
    """With one event that does not verify, and another that only the archive has still."""
    long_bench.run(("log", "compact"), SteadyHost())
    shutil.rmtree(long_bench.template)
    for path, old in ((min, b"keep0"), (max, b"keep7")):
        segment = path(segments(long_bench))
        data = segment.read_bytes()
        assert old in data
        segment.write_bytes(data.replace(old, old.upper(), 1))
    shutil.copytree(long_bench.shell.data, long_bench.template)
    return long_bench


def segments(bench: Bench) -> list[Path]:
    return [*(bench.shell.data / "log").glob("*.jsonl")]


def told(bench: Bench) -> list[dict[str, object]]:
    """All that a log says but that it was repaired, and how its lines are chained."""
    lines = b"".join(path.read_bytes() for path in sorted(segments(bench))).split(b"\n")[:-1]
    events = [json.loads(line) for line in lines]
    return [
        {key: event[key] for key in event if key != "crc"}
        for event in events
        if event["type"] not in ("log.segment", "log.repaired")
    ]


def try_repair(bench: Bench, error: str, *, for_ever: bool) -> int:
    words = ("log", "repair", "--yes")
    assert bench.run(words, SteadyHost()).code == 0
    right = told(bench)
    tried = 0
    for machine, answer in failing(bench, words, [error], for_ever=for_ever):
        tried += 1
        told_well(machine, answer)
        where = (machine.number, machine.error, machine.failed[:5], answer)
        again = bench.run(words, SteadyHost())
        assert again.code == 0, (where, again)
        if answer.code == 0:
            assert "there is nothing to repair" in again.err, where
        # What cannot be read now is not lost.
        assert told(bench) == right, where
        goes_on(bench, machine)
    return tried


def test_repair_loses_only_what_is_damaged_on_a_disk_that_fails_once(
    damaged_bench: Bench, tally: Tally
) -> None:
    tried = [try_repair(damaged_bench, error, for_ever=False) for error in ("EIO", "ENOSPC")]
    tally("calls failed", sum(tried))


@pytest.mark.torture
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("error", ERRORS)
def test_repair(damaged_bench: Bench, error: str, for_ever: bool, tally: Tally) -> None:
    tally("calls failed", try_repair(damaged_bench, error, for_ever=for_ever))


# ---- a queue that is made of another


def try_import(bench: Bench, error: str, *, for_ever: bool, is_there: bool) -> int:
    bench.run(("export", "--to", "there.jsonl"), SteadyHost())
    copy = bench.shell.directory / "copy"
    words = ("--data", "copy", "import", "there.jsonl")
    reading = ("--data", "copy", "export", "--to", "-", "--format", "jsonl", "--view", "jobs")
    tried = 0

    def clear() -> None:
        shutil.rmtree(copy, ignore_errors=True)
        if is_there:
            copy.mkdir(mode=0o700)

    clear()
    for machine, answer in failing(bench, words, [error], for_ever=for_ever):
        tried += 1
        told_well(machine, answer)
        where = (machine.number, machine.error, machine.failed[:5], answer)
        if answer.code:
            assert copy.exists() == is_there and not (is_there and tree(copy)), where
            again = bench.run(words, SteadyHost())
            assert again.code == 0, (where, again)
        assert (
            bench.run(reading, SteadyHost()).lines == bench.run(reading[2:], SteadyHost()).lines
        ), where
        check = bench.run(("--data", "copy", "log", "verify"), SteadyHost())
        assert check.code == 0, (where, check)
        clear()
    shutil.rmtree(copy)
    return tried


@pytest.mark.parametrize("is_there", [False, True], ids=["anew", "in an empty directory"])
def test_a_queue_is_imported_or_nothing_is_there_on_a_disk_that_fails_once(
    bench: Bench, is_there: bool, tally: Tally
) -> None:
    tally("calls failed", try_import(bench, "EIO", for_ever=False, is_there=is_there))


@pytest.mark.torture
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("is_there", [False, True], ids=["anew", "in an empty directory"])
@pytest.mark.parametrize("error", ERRORS)
def test_import(bench: Bench, error: str, is_there: bool, for_ever: bool, tally: Tally) -> None:
    tally("calls failed", try_import(bench, error, for_ever=for_ever, is_there=is_there))


def test_every_call_of_the_host_on_files_can_be_made_to_fail() -> None:
    """The list above is whole: a new door to the disk has to be tried as well."""
    from queuectl.host import Host

    only_ask_others = {"hold_within", "network_file_system", "path_of", "write_all"}
    known = {*FILE_CALLS, *only_ask_others, "close", "identity", "is_at", "remove_tree"}
    files = {
        name
        for name in vars(Host)
        if not name.startswith("_")
        and name
        not in (
            *("now_us", "monotonic_s", "sleep", "random", "boot_id", "name", "user", "pid"),
            *("directory", "environment", "lock", "unlock", "lock_holder", "ring", "silence"),
            *("actor", "beside", "wait"),
        )
    }
    assert files == known
