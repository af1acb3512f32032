"""Finds what is wrong with each segment of a log, and what is to stand in its place.

Damage in one place costs what stood in that place: each line that verifies by itself is kept. Where
the archive has the original, it costs nothing. Offsets are never given twice, not even those of
events that are lost: one event `log.repaired` has the last of them. Changes nothing; knows no jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

from msgspec.structs import replace

from queuectl import instants
from queuectl.engines.file import recovery
from queuectl.engines.file.content import (
    BEGINNING,
    Content,
    Seam,
    archived_content,
    sealed_as,
    seam_before,
    standing_for,
)
from queuectl.engines.file.log import FileLog
from queuectl.engines.file.mark import DOUBT, OK, Mark
from queuectl.engines.file.recovery import Accepted
from queuectl.engines.file.salvage import Line, Range, salvage, with_holes
from queuectl.engines.file.segments import counting
from queuectl.engines.file.verify import Unaudited, Verification
from queuectl.errors import ArchiveDamaged, Damaged
from queuectl.events import codec
from queuectl.events.codec import Header
from queuectl.events.vocabulary import LogCompacted, LogRepaired

_LAST = (1 << 63) - 1


class Mending(NamedTuple):
    """A file that is not what it should be, and what becomes of it."""

    file: str
    wrong: str
    remedy: str
    lost: list[Range]
    """From which event to which they are lost."""


@dataclass
class Plan:
    """What a repair would do."""

    mendings: list[Mending] = field(default_factory=list)
    contents: dict[int, Callable[[], Iterable[bytes]]] = field(default_factory=dict)
    """The segments to put in place, in this order, and where their bytes come from."""
    archives: list[int] = field(default_factory=list)
    """Files of the archive that are worth nothing."""
    mark: Mark | None = None
    """Where the log ends then, if that is to be said anew."""


class _Verification(Verification):
    """Looks at all there is, whatever the lock file says."""

    def content(self, first: int) -> Content:
        segments = self.log.segments
        return Content(segments.whole(first), first, segments.path(first))


class Planning:
    """Goes through a log from its first segment to its last; `mark` is what the lock file says."""

    def __init__(self, log: FileLog, mark: Mark | None, actor: str) -> None:
        self._log = log
        self._segments = log.segments
        self._mark = mark
        self._boot = log.host.boot_id()
        self._counting = mark if mark is not None and mark.counts_in(self._boot) else None
        """The same, if it was said since the machine was started."""
        self._event = LogRepaired(repaired_at=instants.from_us(log.host.now_us()), actor=actor)
        self._headers = self._segments.headers()
        self._firsts = counting(self._headers)
        known = [header.log for header in self._headers.values() if header is not None]
        self._identity = known[0] if known else log.host.random(16).hex()
        self._plan = Plan()
        self._verification = _Verification(log, Unaudited())
        self._undoing = False
        """Whether segments that were rewritten get their originals back from here on."""
        self._seam = BEGINNING
        """By what the next segment has to name the one before it."""
        self._through = 0
        """The last event that is accounted for."""
        self._at = ""
        """Its time."""
        self._followed = False
        """Whether what there is of the last segment shows that there was one after it."""
        self._size = 0
        """How long the segment is that was made last."""

    def plan(self) -> Plan:
        for first, following in pairwise([*self._firsts, 0]):
            if first > self._through + 1:
                self._fill(first - 1, self._headers[first])
            named = seam_before(self._headers.get(following))
            if not following:
                following, named = self._after_last(first)
                self._followed = following > 0
            if following:
                self._look_at_sealed(first, following, named)
            else:
                self._look_at_active(first)
        self._look_past_the_end()
        return self._plan

    # ---- sealed segments

    def _after_last(self, first: int) -> tuple[int, Seam | None]:
        """What followed the last segment there is, and by what that named it, where that is known;
        0 where it may be the active one. Only what was sealed is rewritten, or in the archive."""
        header = self._headers[first]
        if header is not None and header.sealed_sha256:
            return header.covers + 1, None
        original = self._original_of_last(first)
        return (original.offset + 1, original.seam) if original is not None else (0, None)

    def _original_of_last(self, first: int) -> Content | None:
        """What the archive has of the last segment there is.

        That could be of a log that was put back to an earlier state and has gone another way since.
        So it has to go on from what stands before, and to hold all that can be believed of the
        segment.
        """
        originals = self._archived_from(first)
        is_active = self._counting is not None and self._counting.segment == first
        if not originals or is_active or seam_before(originals[0].header) != self._seam:
            return None
        lines = salvage(b"".join(self._segments.whole(first)), first, _LAST).lines
        believed = {line.event.offset: line.event for line in lines}
        for original in originals:
            if original.first > max(believed, default=0):
                break
            for _, events in archived_content(self._log.archive, original.first):
                for event in events:
                    if believed.pop(event.offset, event) != event:
                        return None
        rest = {type(event) for event in believed.values()}
        return originals[0] if rest <= {LogCompacted} else None

    def _look_at_sealed(self, first: int, following: int, named: Seam | None) -> None:
        header = self._headers[first]
        if self._undoing and header is not None and header.sealed_sha256:
            self._restore(first, following - 1, named, "what belongs to it was put back")
            return
        try:
            self._compare(first, following - 1, named)
            content = self._verified(first)
            self._check_seams(content, following, named)
        except Damaged as damage:
            wrong = f"{damage.why} at byte {damage.position}"
            rewritten = header is None or bool(header.sealed_sha256)
            if self._can_restore(first, following - 1, named, rewritten):
                self._restore(first, following - 1, named, wrong)
            else:
                self._rewrite(first, following - 1, named, wrong)
            return
        self._seam, self._through, self._at = content.seam, content.offset, content.at

    def _compare(self, first: int, last: int, named: Seam | None) -> None:
        """Check a segment that was never rewritten against its original, where the archive has that
        already. Raises `Damaged`."""
        header = self._headers[first]
        if header is None or header.sealed_sha256 or named is None:
            return
        if self._originals(first, last, named):
            content = _checked(self._verification.content(first))
            if content.seam != named:
                raise content.damage("it is not what was sealed, which the archive has")

    def _verified(self, first: int) -> Content:
        """A segment in which nothing is wrong; archives in which something is are put aside."""
        verification, archive = self._verification, self._log.archive
        while True:
            try:
                return verification.segment(first)
            except ArchiveDamaged as damage:
                (bad,) = [one for one in verification.archived if archive.path(one) == damage.file]
                self._take_out(bad, f"{damage.why} at byte {damage.position}")

    def _take_out(self, archived: int, wrong: str) -> None:
        del self._verification.archived[archived]
        self._plan.archives.append(archived)
        file = self._log.archive.path(archived)
        remedy = "taken out of the archive, what only it had is lost"
        self._plan.mendings.append(Mending(file, wrong, remedy, []))

    def _check_seams(self, content: Content, following: int, named: Seam | None) -> None:
        if content.offset >= following:
            raise content.damage(f"it goes on past event {following - 1}")
        # Where events are missing in between, the one that is named is not there.
        if content.offset + 1 == following and named not in (None, content.seam):
            raise content.damage("it is not the one that the next segment names")

    def _rewrite(self, first: int, last: int, named: Seam | None, wrong: str) -> None:
        """Keep what can be believed of a sealed segment."""
        data = b"".join(self._segments.whole(first))
        found = salvage(data, first, last, named.crc if named is not None else "")
        header = self._header(first, found.header, found.lines)
        taken_out = header.covers if found.header is not None else last
        header = standing_for(header, last, named)
        self._put(header, found.lines, taken_out, wrong)

    def _header(self, first: int, header: Header | None, lines: list[Line]) -> Header:
        """The first line of a segment, made anew if it is not to be believed."""
        if header is not None and (first > 1 or seam_before(header) == BEGINNING):
            return header
        crc, sha = self._seam
        at = self._at or (lines[0].event.at if lines else self._event.repaired_at)
        return Header(
            at=at,
            format=codec.FORMAT_MAX,  # nobody knows which it had
            log=self._identity,
            first=first,
            previous_crc=crc,
            previous_sha256=sha,
        )

    def _fill(self, last: int, after: Header | None) -> None:
        """Put something in the place of segments that are gone, up to event `last`."""
        first = self._through + 1
        named = seam_before(after)
        wrong = "a file is gone, or the one before it was cut"
        if after is not None and self._can_restore(first, last, named, rewritten=True):
            self._restore(first, last, named, wrong)
            return
        # The first line of a segment has the time of the last event before it.
        at = after.at if after is not None else self._at or self._event.repaired_at
        header = standing_for(self._header(first, None, []), last, named)
        self._put(replace(header, at=at), [], 0, wrong)
        if after is None:
            self._set_mark(first)

    def _put(self, header: Header, lines: list[Line], taken_out: int, wrong: str) -> None:
        """Make a segment of these lines, with what says of each hole that it is one."""
        first, file = header.first, self._segments.path(header.first)
        event = replace(self._event, file=file.rpartition("/")[2], reason=wrong)
        bodies, lost = with_holes(header, lines, taken_out, event)
        start, crc = codec.frame_header(header)
        data, crc = codec.rechain(bodies, crc)
        content = start + data
        self._plan.contents[first] = lambda: [content]
        remedy = f"{len(lines)} events kept"
        if taken_out and not any(isinstance(line.event, LogCompacted) for line in lines):
            remedy += ", its share of the statistics lost"
        self._plan.mendings.append(Mending(file, wrong, remedy, lost))
        if not header.sealed_sha256:
            for one in self._archived_between(first, header.covers):
                self._take_out(one, "it cannot be told any more whether it is the original")
        self._through = header.covers
        self._at = lines[-1].event.at if lines else header.at
        self._seam = Seam(f"{crc:08x}", sha256(content).hexdigest())
        self._size = len(content)

    # ---- originals from the archive

    def _can_restore(self, first: int, last: int, named: Seam | None, rewritten: bool) -> bool:
        """Whether the originals of a segment are there; and if events had been taken out of it,
        also those of all that were rewritten after it.

        For a job comes to life again where its beginning is put back and its end is not.
        """
        if not self._originals(first, last, named):
            return False
        for one, following in pairwise([*self._firsts, 0]) if rewritten else ():
            header, after = self._headers[one], self._headers.get(following)
            if one > last and header is not None and header.sealed_sha256:
                named = seam_before(after)
                if not self._originals(one, header.covers, named):
                    return False
        return True

    def _restore(self, first: int, last: int, named: Seam | None, wrong: str) -> None:
        originals = self._originals(first, last, named)
        archive = self._log.archive
        # The first one last: until then it stands for the others.
        for content in (*originals[1:], originals[0]):
            self._plan.contents[content.first] = partial(archive.read, content.first)
        file = self._segments.path(first)
        self._plan.mendings.append(Mending(file, wrong, "put back from the archive", []))
        content = originals[-1]
        self._seam, self._through, self._at = content.seam, last, content.at
        self._undoing = True

    def _originals(self, first: int, last: int, named: Seam | None) -> list[Content]:
        """What the archive has for these events; empty if that is not all of them, whole."""
        found = self._archived_from(first, last)
        fits = found and found[-1].offset == last and named in (None, found[-1].seam)
        return found if fits else []

    def _archived_between(self, first: int, last: int) -> list[int]:
        return [one for one in self._verification.archived if first <= one <= last]

    def _archived_from(self, first: int, last: int = _LAST) -> list[Content]:
        """The archived segments from `first` on, as far as they are whole and follow each other."""
        found: list[Content] = []
        seam, following = None, first
        for one in self._archived_between(first, last):
            try:
                content = _checked(archived_content(self._log.archive, one))
            except Damaged:
                break
            if one != following or seam not in (None, seam_before(content.header)):
                break
            seam, following = content.seam, content.offset + 1
            found.append(content)
        return found

    # ---- the active segment

    def _look_at_active(self, first: int) -> None:
        mark = self._counting
        behind = mark is not None and mark.segment < first != mark.offset + 1
        mark = mark if mark is not None and mark.segment == first else None
        data = b"".join(self._segments.whole(first))
        if mark is not None and mark.state == DOUBT:
            data = data[: mark.position]
        acknowledged = mark.offset if mark is not None else 0
        wrong = self._wrong_with(data, first, acknowledged)
        if not wrong and (behind or (mark is not None and not mark.fits(data))):
            wrong = "the lock file tells of other bytes"
        if not wrong:
            return
        found = salvage(data, first, _LAST, f"{mark.crc:08x}" if mark is not None else "")
        lines = found.lines
        # An unfinished batch that nobody was told of has not happened.
        while lines and lines[-1].event.more and lines[-1].event.offset > acknowledged:
            lines.pop()
        last = max(lines[-1].event.offset if lines else first - 1, self._mark_offset())
        header = self._header(first, found.header, lines)
        self._put(standing_for(header, last, None), lines, header.covers, wrong)
        self._set_mark(first)

    def _mark_offset(self) -> int:
        return self._mark.offset if self._mark is not None else 0

    def _wrong_with(self, data: bytes, first: int, acknowledged: int) -> str:
        """What is wrong with the bytes of the active segment; a tear is not."""
        try:
            header, crc, start = codec.header_of(data, first)
            begin = Accepted(start, crc, first - 1, header.at)
            end = recovery.accept(data[start:], begin, self._segments.path(first))
        except ValueError as error:
            return f"the first line does not verify: {error}"
        except Damaged as damage:
            return f"{damage.why} at byte {damage.position}"
        if end.offset < max(acknowledged, header.covers):
            return f"events from {end.offset + 1} on were acknowledged and are gone"
        self._through, self._at = end.offset, end.at
        self._seam = sealed_as(header, end.crc, sha256(data[: end.position]).hexdigest())
        return ""

    # ---- what followed

    def _look_past_the_end(self) -> None:
        """Where files are gone at the end, put back what the archive has of them if it goes on from
        there, and go on in a new one. No other archives may lie there."""
        last, end = max(self._firsts, default=0), self._through
        originals = self._archived_from(end + 1)
        if originals and seam_before(originals[0].header) != self._seam:
            originals = []
        begun = self._counting is not None and self._counting.segment > last
        followed = self._followed or begun or bool(originals) or self._mark_offset() > end
        if followed and last and last not in self._plan.contents:
            self._look_at_sealed(last, end + 1, None)
        if originals:
            self._identity = originals[0].header.log
            self._restore(end + 1, originals[-1].offset, None, "the file is gone")
        for one in self._archived_between(self._through + 1 if followed else last, _LAST):
            self._take_out(one, "it is of no segment that was sealed")
        if followed:
            self._fill(max(self._mark_offset(), self._through), None)

    def _set_mark(self, segment: int) -> None:
        generation = self._mark.generation + 1 if self._mark is not None else 0
        crc = int(self._seam.crc, 16)
        self._plan.mark = Mark(
            segment, self._size, self._through, crc, self._at, 0, generation, OK, self._boot
        )


def _checked(content: Content) -> Content:
    """The same, read to its end. Raises `Damaged`."""
    for _ in content:
        pass
    return content
