"""A simulated machine: its clock, its processes, and who of them goes on next.

Every process is a greenlet that runs real code. At every call of its host it may be put aside for
another one, killed, or told that the call failed. All of it is drawn from one seed, so the seed
alone runs it again. Knows nothing of logs or jobs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from disk import Disk, File
from greenlet import greenlet

INIT = 1
"""The process that adopts whoever has lost its parent."""
_CALL_US = 15
_TRACE_LENGTH = 300


def _nothing() -> None:
    """What happens at most calls."""


class Killed(BaseException):
    """The process ended here: none of its handlers does anything any more."""


class Stuck(Exception):
    """Nobody can go on, and nothing will ever wake anybody."""


class Opening:
    """An open file description: several descriptors, of several processes, may share one."""

    __slots__ = ("append", "file", "path", "references", "watched")

    def __init__(self, path: str, file: File, *, append: bool = False) -> None:
        self.path = path
        self.file = file
        self.append = append
        self.references = 0
        self.watched: Process | None = None
        """The process whose end makes it readable."""


class Process:
    """One process: real code in a greenlet, or without one a program that lasts for a while."""

    def __init__(self, machine: Machine, pid: int, parent: int, name: str) -> None:
        self.machine = machine
        self.pid = pid
        self.parent = parent
        self.group = self.session = pid
        self.start = machine.ticks()
        self.name = name
        self.environment: dict[bytes, bytes] = {}
        self.openings: dict[int, Opening] = {}
        self.is_subreaper = False
        self.dead = False
        """It has ended; its parent may not have heard of it yet."""
        self.dying = False
        """It was killed and will have ended in a moment."""
        self.status = 0
        self.greenlet: greenlet | None = None
        self.is_runnable = False
        self.stopped = False
        self.wakes = 0
        """Counts what it waited for, so that an old alarm wakes nobody."""
        self.waiting: list[object] = []
        """Processes that wait for its end."""
        self.on_signal: Callable[[int], None] | None = None
        """Hears of signals that it handles, instead of ending it."""
        self.ignores: frozenset[int] = frozenset()
        self.errors = 0
        """How many of its calls have failed on purpose."""
        self.unsynced: dict[File | str, int] = {}
        """By each file that it has written, and each directory that it has changed, since it synced
        that: how often syncs of it had failed until then."""
        self.armed: dict[str, Callable[[], None]] = {}
        """What happens at its next call of that name."""
        self.cut_write = ""
        """Its next write stores only a part, and it is told how much (`short`) or `killed`."""
        self._next_fd = 3

    def give(self, opening: Opening) -> int:
        fd = self._next_fd
        self._next_fd += 1
        self.openings[fd] = opening
        opening.references += 1
        return fd


class Machine:
    """One computer, from its first start through all its restarts."""

    def __init__(self, seed: int, *, switch: float = 0.3, trouble: float = 0.0) -> None:
        self.chance = Random(seed)
        self.draw = self.chance.random
        self.disk = Disk(self.chance)
        self.disk.plant("/dev/null", b"")
        self.now_us = 1_000_000
        """Monotonic."""
        self.wall_us = 1_767_225_600_000_000
        """What the wall clock adds to it."""
        self.boots = 1
        self.is_outlived = False
        """Whether another machine below this one has gone on while it was restarted."""
        self.calls = 0
        self.calls_max = 1 << 60
        self.trouble = trouble
        self.switch_above = 1.0 - switch
        """How likely a call is to bring trouble, or another process."""
        self.make_trouble: Callable[[], None] = lambda: None
        self.armed: dict[str, Callable[[], None]] = {}
        """What happens at the next call of that name, whoever makes it."""
        self.processes: dict[int, Process] = {}
        self.trace: deque[tuple[Any, ...]] = deque(maxlen=_TRACE_LENGTH)
        self.failure: BaseException | None = None
        self._runnable: list[Process] = []
        self._alarms: list[tuple[int, int, Callable[[], None]]] = []
        self._alarm_count = 0
        self._next_pid = 100
        self._main = greenlet.getcurrent()

    def boot_id(self) -> str:
        return f"{self.boots:036d}"

    def ticks(self) -> int:
        """The clock that the starts of processes are told by."""
        return self.now_us // 10_000

    # ---- processes

    def start(self, name: str, body: Callable[[Process], None]) -> Process:
        """A new process that runs `body`."""
        process = self.add(name, INIT)
        self.begin(process, body)
        return process

    def begin(self, process: Process, body: Callable[[Process], None]) -> None:
        """Let a process run `body`."""
        process.greenlet = greenlet(lambda: self._live(process, body), self._main)
        process.greenlet.process = process
        self._make_runnable(process)

    def add(self, name: str, parent: int) -> Process:
        """A new process that does nothing by itself."""
        self._next_pid += 1
        process = Process(self, self._next_pid, parent, name)
        self.processes[process.pid] = process
        return process

    def living(self) -> list[Process]:
        """The processes that run code."""
        processes = self.processes.values()
        return [each for each in processes if each.greenlet is not None and not each.dead]

    def _live(self, process: Process, body: Callable[[Process], None]) -> None:
        try:
            body(process)
        except Killed:
            pass
        except BaseException as error:
            self.failure = self.failure or error
        if not process.dead:
            self.end(process, 0)

    def end(self, process: Process, status: int) -> None:
        """The process is gone, and whatever it held is free."""
        process.dead = True
        process.status = status
        for opening in process.openings.values():
            self.let_go(opening)
        process.openings.clear()
        self.wake_all(process.waiting)
        for child in [child for child in self.processes.values() if child.parent == process.pid]:
            self._adopt(child, process.parent)
        parent = self.processes.get(process.parent)
        if parent is None or parent.dead:
            del self.processes[process.pid]
        elif parent.on_signal:
            parent.on_signal(0)
        if process.greenlet is not None:
            # Whatever it waited for: it goes on to where it finds out.
            process.wakes += 1
            self._make_runnable(process)

    def _adopt(self, child: Process, ancestor: int) -> None:
        while ancestor != INIT:
            process = self.processes[ancestor]
            if process.is_subreaper and not process.dead:
                break
            ancestor = process.parent
        child.parent = ancestor
        if child.dead and ancestor == INIT:
            del self.processes[child.pid]

    def signal(self, process: Process, number: int) -> None:
        """TERM may be handled or ignored, KILL ends it."""
        if process.dead or process.dying or number in process.ignores:
            return
        if process.on_signal and number != 9:
            process.on_signal(number)
        elif process.greenlet is not None:
            self.end(process, number)
        else:
            process.dying = True
            self.at(self.now_us + self.chance.randrange(3000), lambda: self._die(process, number))

    def _die(self, process: Process, number: int) -> None:
        if not process.dead:
            self.end(process, number)

    def let_go(self, opening: Opening) -> None:
        """One descriptor less."""
        opening.references -= 1
        if not opening.references:
            file = opening.file
            self.unlock(opening)
            file.openings -= 1
            self.disk.release(file)

    def unlock(self, opening: Opening) -> None:
        file = opening.file
        file.shared.discard(opening)
        if file.exclusive is opening:
            file.exclusive = None
        self.wake_all(file.waiting)

    def ring(self, pipe: File) -> None:
        """A byte for whoever waits on a pipe."""
        pipe.rings += 1
        self.wake_all(pipe.waiting)

    # ---- who goes on

    def step(self, process: Process, call: str, detail: object = "") -> None:
        """A process calls its host: anything may happen now."""
        if process.dead:
            raise Killed
        self.calls += 1
        self.now_us += _CALL_US
        self.trace.append((self.now_us, process, call, detail))
        if self._alarms and self._alarms[0][0] <= self.now_us:
            self._ring_alarms()
            if process.dead:
                raise Killed
        draw = self.draw()
        if draw < self.trouble:
            self.make_trouble()
        if process.armed or self.armed:
            for armed in (process.armed, self.armed):
                armed.pop(call, _nothing)()
        if draw > self.switch_above or not process.is_runnable:
            self._go_on()
        if self.calls >= self.calls_max:
            self._main.switch()
        if process.dead:
            raise Killed

    def block(self, process: Process, until_us: int, waiting: list[list[object]]) -> None:
        """Put a process aside until that time, or until somebody wakes one of `waiting`."""
        process.wakes += 1
        wakes = process.wakes
        process.is_runnable = False
        self._runnable.remove(process)
        for each in waiting:
            each.append(process)
        self.at(until_us, lambda: self._wake(process, wakes))
        self._go_on()
        for each in waiting:
            if process in each:
                each.remove(process)
        if process.dead:
            raise Killed

    def wake_all(self, waiting: list[object]) -> None:
        for process in waiting:
            assert isinstance(process, Process)
            self._make_runnable(process)
        waiting.clear()

    def stop(self, process: Process, us: int) -> None:
        """Let a process do nothing for a while, as SIGSTOP does."""
        process.stopped = True
        if process.is_runnable:
            process.is_runnable = False
            self._runnable.remove(process)
        self.at(self.now_us + us, lambda: self.resume(process))

    def resume(self, process: Process) -> None:
        if process.stopped:
            process.stopped = False
            self._make_runnable(process)

    def _wake(self, process: Process, wakes: int) -> None:
        if process.wakes == wakes:
            self._make_runnable(process)

    def _make_runnable(self, process: Process) -> None:
        if not process.is_runnable and (process.dead or not process.stopped):
            process.is_runnable = True
            self._runnable.append(process)

    def at(self, us: int, action: Callable[[], None]) -> None:
        """Have something happen at that time."""
        self._alarm_count += 1
        heappush(self._alarms, (us, self._alarm_count, action))

    def _ring_alarms(self) -> None:
        while self._alarms and self._alarms[0][0] <= self.now_us:
            heappop(self._alarms)[2]()

    def _go_on(self) -> None:
        """Let chance choose who goes on; returns when it is this process again."""
        runnable = self._runnable
        while not runnable:
            if not self._alarms:
                self._main.switch()
                return
            self.now_us = max(self.now_us, self._alarms[0][0])
            self._ring_alarms()
        process = runnable[int(self.draw() * len(runnable))]
        assert process.greenlet is not None
        if process.greenlet is not greenlet.getcurrent():
            process.greenlet.switch()

    def run(self, over: Callable[[], bool]) -> None:
        """Go on until it is `over`, which is asked whenever a process has ended."""
        while self.failure is None and not over():
            if not self._runnable and not self._alarms:
                raise Stuck
            self._go_on()
            self._forget_ended()
        if self.failure is not None:
            raise self.failure

    def _forget_ended(self) -> None:
        runnable = self._runnable
        for process in [each for each in runnable if each.greenlet is None or each.greenlet.dead]:
            runnable.remove(process)
            process.is_runnable = False

    def halt(self) -> None:
        """Let nobody do anything any more."""
        for process in self.processes.values():
            process.dead = True

    # ---- the power

    def restart(self, *, below: bool = False) -> None:
        """The power goes and comes back: nobody lives, and only the disk remembers. But where there
        is a machine `below` this one, that may go on, and still know what it has not stored."""
        for process in list(self.processes.values()):
            process.parent = INIT
            if not process.dead:
                self.end(process, 9)
        self.processes.clear()
        # What was to wake somebody is forgotten with them.
        self._alarms.clear()
        self.is_outlived = below and not self.disk.failures
        if not self.is_outlived:
            self.disk.lose_power()
        self.boots += 1
        self.now_us += 5_000_000
