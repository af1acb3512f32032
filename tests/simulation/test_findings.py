"""What the simulation has found in the real code, each told again in its shortest form."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from executables import open_queue
from host import failed
from machine import Machine, Process
from oracle import Oracle
from world import simulated

from queuectl.errors import NoSpace, SyncFailed
from queuectl.jobqueue import Queue
from queuectl.runtime.options import Options
from queuectl.runtime.worker import Worker

_CHANCES = 60


class Stage:
    """A machine on which one process at a time does one thing, and trouble comes as planned."""

    def __init__(self, seed: int) -> None:
        self.machine = Machine(seed, switch=0.0)
        self.segment_bytes_max = 1 << 20
        self._oracle = Oracle()
        self.plan: list[tuple[str, Callable[[Process], None]]] = []

    def at(self, call: str, trouble: Callable[[Process], None]) -> None:
        """Once all that was planned before has happened: what happens at the next such call."""
        self.plan.append((call, trouble))

    def _next(self, process: Process) -> None:
        """Arm the process that runs with what is planned next."""
        if self.plan:
            call, trouble = self.plan[0]

            def happen() -> None:
                del self.plan[0]
                self._next(process)
                trouble(process)

            process.armed = {call: happen}

    def kill_at(self, call: str) -> None:
        self.at(call, lambda process: self.machine.end(process, 9))

    def stop_at(self, call: str) -> None:
        self.at(call, lambda process: self.machine.stop(process, 10_000_000))

    def fail_at(self, call: str, code: int) -> None:
        def trouble(_: Process) -> None:
            raise failed(code)

        self.at(call, trouble)

    def cut_at_next_write(self, how: str) -> None:
        def trouble(process: Process) -> None:
            process.cut_write = how

        self.at("write", trouble)

    def pass_by(self, call: str) -> None:
        self.at(call, lambda process: None)

    def start(self, body: Callable[[Queue], object]) -> tuple[Process, list[object]]:
        """A process that runs `body`, and where what that returns will stand."""
        returned: list[object] = []

        def live(process: Process) -> None:
            self._next(process)
            returned.append(body(open_queue(process, self._oracle)))

        return self.machine.start("", live), returned

    def run(self, body: Callable[[Queue], object]) -> object:
        """What `body` returns, run in a process of its own; None if that was killed."""
        process, returned = self.start(body)
        self.wait_for(process)
        return returned[0] if returned else None

    def wait_until_stopped(self, process: Process) -> None:
        self.run(lambda queue: queue.host.sleep(1))
        assert process.stopped

    def wait_for(self, process: Process) -> None:
        with simulated(self._oracle, segment_bytes_max=self.segment_bytes_max):
            self.machine.run(lambda: process.dead)

    def states(self) -> dict[str, str]:
        states = self.run(lambda queue: {job.id: job.state for job in queue.jobs()})
        assert isinstance(states, dict)
        return states


def stages() -> Iterator[Stage]:
    """The same stage again and again, for what chance makes of a power cut."""
    return map(Stage, range(_CHANCES))


def enqueue(*ids: str, length: int = 0) -> Callable[[Queue], object]:
    command = f"run 0 {'.' * length}"
    return lambda queue: queue.enqueue_many([{"command": command, "id": id} for id in ids])


def work(queue: Queue) -> str:
    return Worker(queue, Options(burst="wait", grace_ms=0)).run()


def test_directories_are_durable_before_anything_is_acknowledged() -> None:
    for stage in stages():
        # Whoever makes them dies after the last one, before its name is durable.
        for _ in range(4):
            stage.pass_by("make_directory")
        stage.kill_at("sync_directory")
        assert stage.run(lambda queue: "made") is None
        stage.run(enqueue("a"))
        stage.machine.restart()
        assert stage.states() == {"a": "pending"}


def test_a_short_write_is_cut_back_for_good_before_anything_goes_there() -> None:
    def refused(queue: Queue) -> None:
        with pytest.raises(NoSpace):
            enqueue("b", length=1500)(queue)

    for stage in stages():
        stage.run(enqueue("a"))
        stage.cut_at_next_write("short")
        stage.run(refused)
        # Either nobody writes to that file again, or somebody dies over the same bytes.
        if stage.machine.chance.random() < 0.5:
            stage.segment_bytes_max = 1
        else:
            stage.kill_at("fdatasync")
        acknowledged = stage.run(enqueue("c", length=600))
        stage.machine.restart()
        states = stage.states()
        assert states == {"a": "pending", "c": "pending"} or (
            not acknowledged and states == {"a": "pending"}
        )


def test_a_name_of_which_a_sync_failed_is_not_believed() -> None:
    def failing(queue: Queue) -> None:
        with suppress(SyncFailed):
            enqueue("b")(queue)

    for stage in stages():
        stage.run(enqueue("a"))
        # If that leaves a tear, the segment is replaced by a copy under the same name.
        stage.kill_at("fdatasync")
        stage.run(enqueue("x"))
        stage.machine.restart()
        stage.pass_by("rename")
        stage.fail_at("sync_directory", errno.EIO)
        stage.run(failing)
        stage.plan.clear()
        stage.run(enqueue("c"))
        stage.machine.restart()
        assert stage.states().keys() >= {"a", "c"}


def test_who_looks_at_the_disk_itself_sees_nothing_that_is_not_durable() -> None:
    for stage in stages():
        stage.run(enqueue("a"))
        stage.machine.restart()
        # The reader has seen that there is no mark of this boot, and is put aside.
        stage.stop_at("size")
        reader, _ = stage.start(lambda queue: queue.catch_up())
        stage.wait_until_stopped(reader)
        stage.kill_at("fdatasync")
        stage.run(enqueue("b"))
        # What it sees, the oracle hears of.
        stage.wait_for(reader)
        stage.machine.restart()
        stage.run(enqueue("c"))


def test_who_leaves_without_recording_its_ends_does_not_sign_off() -> None:
    stage = Stage(0)
    stage.run(enqueue("a"))

    def stop_soon(process: Process) -> None:
        def stop() -> None:
            stage.machine.signal(process, signal.SIGTERM)
            stage.machine.signal(process, signal.SIGTERM)

        stage.machine.at(stage.machine.now_us + 300_000, stop)

    # The end cannot be recorded; by the time the worker gives up, there is space again.
    stage.at("spawn", stop_soon)
    stage.fail_at("write", errno.ENOSPC)
    assert stage.run(work) == "stopped"
    stage.run(work)
    assert stage.states() == {"a": "completed"}


def test_a_slot_file_that_cannot_be_written_is_no_fault_of_the_job() -> None:
    stage = Stage(0)
    stage.run(enqueue("a"))
    stage.pass_by("make_directory")
    stage.pass_by("make_directory")
    stage.fail_at("write_at", errno.EIO)
    assert stage.run(work) == "nothing left to run"
    (released,) = stage.run(
        lambda queue: [event for event in queue.history("a") if event.attempt == 1][1:2]
    )  # type: ignore[misc]
    assert released.reason == "no slot file: Input/output error"
    assert stage.states() == {"a": "completed"}


def test_the_files_of_a_dead_worker_go_before_it_is_forgotten() -> None:
    stage = Stage(0)
    stage.run(enqueue("a"))
    stage.kill_at("wait")
    stage.run(work)
    # Who clears up after it dies too, just when it wants to.
    stage.kill_at("unlink")
    stage.run(work)
    assert stage.run(work) == "nothing left to run"
    assert stage.machine.disk.list("/data/run") == []


def test_a_copy_whose_maker_died_before_telling_is_found_by_whoever_has_the_old_file() -> None:
    def in_two_goes(queue: Queue) -> None:
        enqueue("a")(queue)
        queue.host.sleep(60)
        enqueue("d")(queue)

    for stage in stages():
        process, _ = stage.start(in_two_goes)
        stage.run(lambda queue: queue.host.sleep(1))
        stage.cut_at_next_write("killed")
        stage.run(enqueue("x"))
        # Who mends that dies when its copy has the name, and the mark does not know of it yet.
        stage.pass_by("rename")
        stage.kill_at("write_at")
        stage.run(enqueue("y"))
        stage.plan.clear()
        stage.run(enqueue("c"))
        stage.wait_for(process)
        assert stage.states().keys() >= {"a", "c", "d"}


def test_a_reader_of_a_new_boot_opens_a_copy_that_was_made_meanwhile() -> None:
    def in_two_goes(queue: Queue) -> None:
        queue.catch_up()
        queue.host.sleep(60)
        queue.catch_up()

    for stage in stages():
        stage.run(enqueue("a"))
        stage.kill_at("fdatasync")
        stage.run(enqueue("x"))
        stage.machine.restart()
        reader, _ = stage.start(in_two_goes)
        stage.run(lambda queue: queue.host.sleep(1))
        stage.pass_by("rename")
        stage.kill_at("write_at")
        stage.run(enqueue("y"))
        stage.plan.clear()
        stage.run(enqueue("c"))
        stage.wait_for(reader)


def test_a_first_line_that_was_made_anew_is_what_the_next_lines_go_on_from() -> None:
    def refused(queue: Queue) -> None:
        with pytest.raises(NoSpace):
            enqueue("a")(queue)

    def failing(queue: Queue) -> None:
        with pytest.raises(SyncFailed):
            enqueue("b", length=20_000)(queue)

    stage = Stage(0)
    stage.pass_by("write")
    stage.cut_at_next_write("short")
    stage.run(refused)
    # A segment with nothing in it is made anew for a job that is too long for a line.
    stage.pass_by("rename")
    stage.pass_by("rename")
    stage.fail_at("sync_directory", errno.EIO)
    stage.run(failing)
    stage.plan.clear()
    stage.run(enqueue("c"))
    assert stage.states() == {"c": "pending"}


@pytest.mark.parametrize("call", ["fdatasync", "sync_directory"])
def test_a_sync_that_failed_after_a_restart_is_not_tried_again_by_others(call: str) -> None:
    def look(queue: Queue) -> None:
        with suppress(SyncFailed):
            queue.catch_up()

    for stage in stages():
        stage.run(enqueue("a"))
        stage.kill_at("fdatasync")
        stage.run(enqueue("x"))
        stage.plan.clear()
        # The host goes on, and remembers what it has not stored.
        stage.machine.restart(below=True)
        stage.fail_at(call, errno.EIO)
        stage.run(look)
        # What the next one sees, the oracle hears of.
        stage.run(look)
        stage.machine.restart()
        stage.run(enqueue("c"))


def test_who_takes_over_later_than_others_finds_jobs_purged() -> None:
    stage = Stage(0)
    stage.run(lambda queue: queue.enqueue("run 200", id="a", max_retries=1))
    stage.kill_at("wait")
    stage.run(work)
    # Two take over, and the slower one stops to look for processes that are left.
    stage.stop_at("processes_of")
    slower, _ = stage.start(work)
    stage.wait_until_stopped(slower)
    stage.run(work)
    stage.run(lambda queue: queue.prune("a"))
    stage.wait_for(slower)
    assert stage.states() == {}
