"""What to do when something is short (space, files, the log's lock): say so once, let what runs go
on, and try again in a while. Knows not what is tried."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

from queuectl.errors import LockTimedOut, NoSpace
from queuectl.host import Host

SHORTAGES = frozenset(
    (
        errno.EAGAIN,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EDQUOT,
    )
)
"""The machine cannot do it now; that is not the job's failure."""
_TRY_AGAIN_S = 1.0

_T = TypeVar("_T")


class Hindrance:
    """What hinders a worker for now; `note` is told of it, and when it is over."""

    def __init__(self, host: Host, note: Callable[[str], None]) -> None:
        self._host = host
        self._note = note
        self.why = ""
        """Empty where nothing does."""
        self.claim_s = self.append_s = 0.0
        """Not to be tried before then (monotonic seconds)."""

    def attempt(self, action: Callable[[], _T]) -> _T | None:
        """What `action` returns; None where the disk or another process hinders it for now."""
        try:
            return action()
        except (NoSpace, LockTimedOut) as error:
            self.meet(str(error))
        except OSError as error:
            if error.errno not in SHORTAGES:
                raise
            self.meet(f"the machine is short of something: {error.strerror}")
        return None

    def put_off(self) -> None:
        """An append was hindered: the next one is to be tried when claiming is."""
        self.append_s = self.claim_s

    def meet(self, why: str) -> None:
        """Something is short: no job is to be claimed for a while."""
        self.claim_s = self._host.monotonic_s() + _TRY_AGAIN_S
        if not self.why:
            self._note(f"{why} (running jobs go on; this worker will try again)")
        self.why = why

    def end(self) -> None:
        """What was claimed could be started."""
        if self.why:
            self.why = ""
            self._note("going on: what hindered this worker is over")
