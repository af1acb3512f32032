"""The log in files on one machine: a lock with the committed mark, and segments of lines."""

from queuectl.engines.file.log import FileLog

__all__ = ["FileLog"]
