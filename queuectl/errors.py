"""Everything that can go wrong, with the exit codes a shell sees; knows not who raises it."""

from __future__ import annotations


class QueuectlError(Exception):
    """The operation failed; the message says what was wrong, where, and what to do next."""

    exit_code = 1


def not_installed(needs: str, extra: str, *packages: str) -> QueuectlError:
    """Something `needs` what is in an extra of queuectl, which is to say these packages."""
    return QueuectlError(
        f"{needs}, which is not installed: pip install {' '.join(packages)}, or install queuectl"
        f" with its extra {extra}"
    )


class Invalid(QueuectlError):
    """What was asked for makes no sense as written."""

    exit_code = 2


class NotFound(QueuectlError):
    """The thing named does not exist: a job, a queue, a file to read, a directory to write to."""

    exit_code = 3


class Rejected(QueuectlError):
    """The command is well formed, but the state of the job forbids it."""

    exit_code = 4


class WaitTimedOut(QueuectlError):
    """What was waited for did not happen in time."""

    exit_code = 5


class PartlyDone(QueuectlError):
    """Some of what was asked for was done, and the rest was not."""

    exit_code = 6


class Damaged(QueuectlError):
    """The log does not verify: its bytes are not the ones that were written.

    `file` is the path, `position` the byte in it and `offset` the last event that still verifies.
    """

    exit_code = 7

    _message = (
        "the log is damaged: {why} in {file} at byte {position}, after event {offset};"
        " everything before it is intact and readable, nothing will be appended until"
        " queuectl log repair has been run"
    )

    def __init__(self, why: str, *, file: str, position: int, offset: int) -> None:
        super().__init__(self._message.format(why=why, file=file, position=position, offset=offset))
        self.why = why
        self.file = file
        self.position = position
        self.offset = offset


class Forged(Damaged):
    """Every byte verifies, and tells what cannot have happened."""

    _message = (
        "the log is not true: {why}; it stands in {file} at byte {position}, after event {offset},"
        " and its bytes are in order, so log repair has nothing to mend: look who could write there"
    )


class ArchiveDamaged(Damaged):
    """A file of the archive does not verify; the log itself can do without it.

    `position` counts in the bytes that were compressed.
    """

    _message = (
        "the archive is damaged: {why} in {file} at byte {position} of what was compressed, after"
        " event {offset}"
    )


class PayloadLost(QueuectlError):
    """What an event names by its hash is not there, or not what it was."""

    exit_code = 7


class Disproved(QueuectlError):
    """The log does not hold what it should: a past that was noted down, or what else says."""

    exit_code = 7


class Altered(QueuectlError):
    """A file is not what was written: changed, or cut short."""

    exit_code = 7


class Newer(QueuectlError):
    """The data was written by a newer queuectl."""


class NoSpace(QueuectlError):
    """The disk, the quota or the inodes are used up; nothing was written."""

    exit_code = 9


class LockTimedOut(QueuectlError):
    """Another process kept the log's lock for too long."""

    exit_code = 9


class SyncFailed(QueuectlError):
    """The disk refused to make bytes durable; nobody may believe that file again."""


class Conflict(QueuectlError):
    """The log has moved on since the appender last looked; look again and decide again."""

    exit_code = 4


class Compacted(Exception):
    """The log was compacted since a fold of it began, which has to begin anew; never gets far."""


class Illegal(Exception):
    """An event that cannot have happened to its job; `Damaged` where its place is known."""

    def __init__(self, why: str, offset: int) -> None:
        super().__init__(why)
        self.why = why
        self.offset = offset
