"""A log in files that gives back its files as soon as a test lets go of it."""

from __future__ import annotations

from typing import Any

from queuectl.engines import file


class FileLog(file.FileLog):
    def __init__(self, directory: str, *arguments: Any, **options: Any) -> None:
        super().__init__(directory, *arguments, **options)

    def __del__(self) -> None:
        self.close()
