"""What shipping tests share: a log with something of everything in it, and what a sink should have
of it in the end."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from hosts import FaultyHost, SteadyHost

from queuectl.engines.file import FileLog
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.home import Home
from queuectl.runtime.sinks import Sink, Sinks
from queuectl.ship.kinds import defined, outlet
from queuectl.ship.shipping import Shipping

SECRETS = [
    'TOKEN=hush "quoted" \\ [back,slash] = hush',
    "EMPTY=",
    "UMLAUT=hüsh\u2028hush",
]


class Site:
    """A queue's log in a directory, with sinks."""

    def __init__(self, root: Path, host: SteadyHost, *, segment_bytes_max: int = 2000) -> None:
        self.root = root
        self.host = host
        self.home = Home(str(root / "data"))
        self.home.make(host)
        self.log = FileLog(
            self.home.log, host, segment_bytes_max=segment_bytes_max, archive=self.home.archive
        )
        self.sinks = Sinks(self.home, host)
        self.notes: list[str] = []

    def append(self, events: int) -> None:
        """That many more, of different lengths and in batches of different sizes."""
        head = self.log.head()
        while events:
            number = head + 1
            size = min(events, 1 + number % 4)
            facts: list[v.Fact] = [
                v.JobEnqueued(
                    job=f"job{number + n}",
                    queue="default",
                    attempt=0,
                    command="echo “\u2028” " + "x" * ((number + n) * 7 % 90),
                    env=SECRETS if (number + n) % 3 == 0 else None,
                )
                for n in range(size)
            ]
            self.log.append([Batch(facts)])
            head += size
            events -= size

    def add(self, name: str, to: str, **given: Any) -> Sink:
        sink = defined(name, to, given, self.host)
        self.sinks.add(sink)
        return sink

    def shipping(self, name: str, **how: Any) -> Shipping:
        host = how.get("host", self.host)
        open_outlet = how.get("open_outlet", outlet)
        return Shipping(self.home, host, name, open_outlet, self.notes.append)

    def ship(self, name: str, turns: int = 1) -> int:
        """Ship all there is, in so many turns, each when its time has come; returns the cursor."""
        shipping = self.shipping(name)
        try:
            for _ in range(turns):
                until = shipping.turn()
                assert shipping.error is None, shipping.error
                if until < math.inf:
                    self.host.advance(until - self.host.monotonic_s() + 0.001)
            return shipping.cursor
        finally:
            shipping.close()

    def ship_in_spite_of(self, name: str, out: Path, code: int) -> Iterator[FaultyHost]:
        """Ship all there is into the directory `out` anew, over and over: each call on the disk is
        one that fails once. Gives the machine each time that it is through."""
        head, number, failed = self.log.head(), 0, True
        while failed:
            shutil.rmtree(out, ignore_errors=True)
            self.sinks.reset(name, 0)
            host = FaultyHost()
            shipping = self.shipping(name, host=host)
            errors = {number: OSError(code, "it fails")}
            host.watch(lambda at, _, errors=errors: errors.get(at))  # type: ignore[misc]
            for _ in range(3):
                shipping.turn()
                host.advance(3)
            failed = len(host.calls) > number
            shipping.close()
            told = number, host.calls, self.sinks.condition(name)
            assert (shipping.cursor, shipping.error) == (head, None), told
            yield host
            number += 1

    def close(self) -> None:
        self.log.close()


def expected(log: FileLog, *, show_env: bool = False) -> list[dict[str, Any]]:
    """What a sink gets of that log, by another way than shipping takes."""
    events = []
    for path in map(log.segments.path, log.segments.list()):
        for line in Path(path).read_bytes().split(b"\n")[1:-1]:
            event = msgspec.json.decode(line)
            del event["crc"]
            if not show_env and "env" in event:
                event["env"] = [pair.partition("=")[0] for pair in event["env"]]
            events.append(event)
    return events


def shipped(directory: Path) -> list[dict[str, Any]]:
    """What is in the files of a sink, in order."""
    return [
        msgspec.json.decode(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_bytes().split(b"\n")[:-1]
    ]


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.glob("*.jsonl"))}
