"""Names for jobs and workers: 26 characters that sort by the time they were made.

The form is that of a ULID in lower case: 48 bits of milliseconds, then 80 bits of chance, in
Crockford's base 32. Knows neither clock nor chance: both come in as arguments.
"""

from __future__ import annotations

import re

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_MADE = re.compile(f"[{_ALPHABET}]{{26}}")
_VALID = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9._:-]{0,127}")


def is_valid(name: str) -> bool:
    """1 to 128 of `A-Za-z0-9._:-`, not starting with `.` or `-`: safe as a file name and a flag."""
    return _VALID.fullmatch(name) is not None


def is_made(name: str) -> bool:
    """Whether a name has the form of those that are made here."""
    return _MADE.fullmatch(name) is not None


class IdMaker:
    """Makes ids that rise strictly within one maker, also inside one millisecond."""

    def __init__(self) -> None:
        self._ms = 0
        self._chance = 0

    def make(self, now_us: int, random: bytes) -> str:
        """An id for the moment `now_us` (microseconds); `random` is ten bytes of chance or more."""
        return self.make_many(1, now_us, random)[0]

    def make_many(self, count: int, now_us: int, random: bytes) -> list[str]:
        """`count` ids for the same moment."""
        ms = now_us // 1000
        if ms > self._ms:
            self._ms = ms
            # The top bit stays free, so that counting upwards cannot overflow.
            self._chance = int.from_bytes(random[:10], "big") >> 1
        else:
            self._chance += 1
        number = self._ms << 80 | self._chance
        self._chance += count - 1
        ids: list[str] = []
        while len(ids) < count:
            # Neighbours differ in their last two characters only: the rest is made once for up
            # to a thousand of them, which takes a twentieth of the time.
            start = "".join([_PAIRS[number >> shift & 1023] for shift in range(120, 0, -10)])
            low = number & 1023
            ids += [start + pair for pair in _PAIRS[low : low + count - len(ids)]]
            number += 1024 - low
        return ids
