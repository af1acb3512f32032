"""A real log that lives as long as its process: for tests, and for queues nobody needs to keep.

It takes no lock on purpose, so whoever shares one meets conflicts; knows nothing of jobs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256

from queuectl import instants
from queuectl.errors import Conflict, PayloadLost
from queuectl.events.codec import decode, encode, frame
from queuectl.events.log import LAST, Batch, Missing, ignored
from queuectl.events.vocabulary import Event
from queuectl.host import Host

_LOOK_S = 0.05


class MemoryLog:
    """Keeps encoded lines, not objects, so every reader decodes what a file would have held."""

    def __init__(self, host: Host | None = None) -> None:
        self._host = host or Host()
        self.lock_timeout_s = 0.0
        self._lines: list[bytes] = []
        self._crcs = [0]
        self._last_of: dict[str, int] = {}
        self._at = ""
        self._kept: dict[str, bytes] = {}

    def head(self) -> int:
        return len(self._lines)

    def read(self, after: int = 0) -> Iterator[list[Event]]:
        if after < len(self._lines):
            yield decode(b"".join(self._lines[after:]), self._crcs[after])[0]

    def compactions(self) -> int:
        return 0

    def bookmark(self) -> str:
        return ""

    def holds(self, bookmark: str) -> bool:
        return False

    def resume(self, bookmark: str) -> bool:
        return False

    def read_originals(self, after: int = 0, missing: Missing = ignored) -> Iterator[list[Event]]:
        return self.read(after)

    def before(self, at: instants.Instant) -> int:
        return 0

    def imprint(self, offset: int) -> str:
        return ""

    def stretch(self, offset: int) -> int:
        return offset

    def read_about(
        self, job: str, missing: Missing = ignored, *, after: int = 0, last: int = LAST
    ) -> Iterator[Event]:
        found = (event for events in self.read(after) for event in events if event.offset <= last)
        return (event for event in found if getattr(event, "job", None) == job)

    def read_kind(self, kind: type[Event], after: int = 0) -> Iterator[Event]:
        return (event for events in self.read(after) for event in events if type(event) is kind)

    def read_kept(self, job: str, first: int, last: int) -> Iterator[Event]:
        return (event for event in self.read_about(job) if first <= event.offset <= last)

    def wait(self, timeout_s: float) -> None:
        self._host.sleep(min(timeout_s, _LOOK_S))

    def append(self, batches: Sequence[Batch]) -> list[Event]:
        for batch in batches:
            for job, known in batch.expected.items():
                if self._last_of.get(job, 0) > known:
                    raise Conflict(f"job {job} has changed meanwhile")
        self._at = max(self._at, instants.from_us(self._host.now_us()))
        start = len(self._lines)
        for batch in batches:
            last = len(batch.facts) - 1
            for index, fact in enumerate(batch.facts):
                offset = len(self._lines) + 1
                line, crc = frame(encode(fact), self._crcs[-1], offset, self._at, more=index < last)
                self._lines.append(line)
                self._crcs.append(crc)
                job = getattr(fact, "job", "")
                if job:
                    self._last_of[job] = offset
        # Decoded from the lines, as any other reader would get them.
        return [event for events in self.read(start) for event in events]

    def keeping(self, contents: Collection[bytes]) -> AbstractContextManager[None]:
        self._kept |= {sha256(content).hexdigest(): content for content in contents}
        return nullcontext()

    def kept(self, sha256: str) -> bytes:
        try:
            return self._kept[sha256]
        except KeyError:
            raise PayloadLost(f"the payload {sha256} is gone") from None

    def exclusive(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        pass
