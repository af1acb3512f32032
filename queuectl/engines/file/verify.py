"""Checks every byte of a log that is supposed to be durable, and of its archive, and says what it
has seen. What the events mean is for others to check: they are shown every one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Protocol

from queuectl.engines.file import payloads
from queuectl.engines.file.content import Content, Seam, archived_content, content_of, seam_before
from queuectl.engines.file.evidence import Evidence, stands_in
from queuectl.engines.file.log import FileLog
from queuectl.engines.file.segments import counting
from queuectl.errors import ArchiveDamaged, Compacted, Damaged, Forged, Illegal
from queuectl.events import codec
from queuectl.events.vocabulary import Event, LogCompacted, LogRepaired

_TRIES = 5
"""How often to begin anew because the log was compacted meanwhile."""
Progress = Callable[[int, int], None]
See = Callable[[Sequence[Event]], None]


class Auditor(Protocol):
    """Looks at what the events mean; raises `Illegal` for one that cannot have happened."""

    def see(self, events: Sequence[Event]) -> None:
        """What stands in the log."""

    def see_original(self, events: Sequence[Event]) -> None:
        """What stood in the log before it was compacted, as far as the archive goes back whole."""

    def finish(self, *, complete: bool) -> None:
        """All was seen, and if `complete` from the first event on as it was."""


class Unaudited:
    """Does not care what the events mean."""

    def see(self, events: Sequence[Event]) -> None:
        pass

    see_original = see

    def finish(self, *, complete: bool) -> None:
        pass


@dataclass
class Report:
    """What was checked."""

    log: str = ""
    """The identity of the log."""
    segments: int = 0
    events: int = 0
    size: int = 0
    """Bytes read."""
    archives: int = 0
    archive_size: int = 0
    """Bytes that were compressed in it."""
    missing: list[tuple[int, int]] = field(default_factory=list)
    """From which event to which the originals are not in the archive any more …"""
    repaired: list[tuple[int, int]] = field(default_factory=list)
    """… and from which to which they are not because a repair made what stands there."""
    head: int = 0
    """The last offset."""
    crc: str = "00000000"
    """The crc of the last line, which covers all lines before it."""
    sha256: str = ""
    """Of the original of the segment that the last event stands in, up to the end of its line."""
    evidence: Evidence = field(default_factory=Evidence, compare=False)
    """What has seen all originals that are there."""


def verify(
    log: FileLog,
    auditor: Callable[[], Auditor] = Unaudited,
    progress: Progress = lambda done, total: None,
    evidence: Callable[[], Evidence] = Evidence,
) -> Report:
    """Check segment by segment: the chain of lines, of headers and of whole-file hashes, that no
    event is missing but where it was taken out, that time does not run backwards, that no batch is
    cut short; that archives are what the log says of them, and hold every line that is left; and
    that what lines name is kept.

    `auditor` makes one who looks at the events, again should the log be compacted meanwhile; so
    does `evidence`.
    `progress` hears (bytes read, bytes in all). Raises `Damaged` at the first thing wrong, and
    `PayloadLost`.
    """
    tries = _TRIES
    while True:
        tries -= 1
        compactions = log.compactions()
        try:
            return Verification(log, auditor(), progress, evidence()).run()
        except (Damaged, Compacted):
            if not tries or log.compactions() == compactions:
                raise


class Verification:
    """One run over a log."""

    def __init__(
        self,
        log: FileLog,
        auditor: Auditor,
        progress: Progress = lambda done, total: None,
        evidence: Evidence | None = None,
    ) -> None:
        self.log = log
        self._auditor = auditor
        self._progress = progress
        self._evidence = evidence or Evidence()
        self._redactions = self._evidence.redactions
        self._report = Report(evidence=self._evidence)
        self._headers = log.segments.headers()
        self._firsts = counting(self._headers)
        self.archived = {first: log.archive.size(first) for first in log.archive.list()}
        """What the archive has, rising, and the bytes that it takes."""
        self._payloads: set[str] = set()
        """What lines name that is kept elsewhere."""
        self._complete = True
        """Whether every original has been seen so far."""
        self._done = 0
        self._total = 0

    def run(self) -> Report:
        log, report = self.log, self._report
        if self._firsts or log.active():
            self._check_ends()
            head = log.head()
            self._total = report.size = sum(map(log.durable_size, self._firsts))
            self._total += sum(self.archived.values())
            read = 0
            for first, following in pairwise([*self._firsts, 0]):
                content = self.segment(first)
                read += content.size
                if following:
                    content.check_seam(following, self._headers[following])
                report.log = content.header.log
                self._take_head(content)
            for beyond in (one for one in self.archived if one > content.offset):
                # What was archived had been sealed, and something followed it.
                file, why = log.archive.path(beyond), "the log ends before the events in it"
                raise ArchiveDamaged(why, file=file, position=0, offset=content.offset)
            if content.offset < head:
                raise content.damage(f"event {head} is missing")
            if read < report.size:
                raise content.damage(f"{report.size - read} bytes that were acknowledged are gone")
        for digest in self._payloads:
            log.kept(digest)
        try:
            self._redactions.finish()
            self._auditor.finish(complete=self._complete)
        except Illegal as illegal:
            raise self._damage_at(illegal) from None
        report.segments = len(self._firsts)
        return report

    def _check_ends(self) -> None:
        """Check that the first segment and the active one are there."""
        for first in (1, self.log.active()):
            if first not in self._firsts:
                file = self.log.segments.path(first)
                raise Damaged("a file is gone", file=file, position=0, offset=first - 1)

    def _take_head(self, content: Content) -> None:
        report = self._report
        if content.offset >= content.first or not report.sha256:
            report.head = content.offset
            report.crc, report.sha256 = content.seam

    def content(self, first: int) -> Content:
        return content_of(self.log, first)

    def segment(self, first: int) -> Content:
        """Check a segment, and what the archive has of it. Raises `Damaged`."""
        content = self.content(first)
        header = self._headers[first]
        if header is not None and content.header != header:
            raise content.damage("it changed while it was read")
        rewritten = bool(content.header.sealed_sha256)
        lines: dict[bytes, tuple[int, int]] = {}
        for piece, events in content:
            self._report.events += len(events)
            self._show(self._auditor.see, events)
            self._look(piece, events)
            if rewritten:
                lines |= _bodies(piece, events, content.position - len(piece))
            else:
                self._show_original(piece, events)
            self._progress(self._done + content.size, self._total)
        self._done += content.size
        if rewritten:
            self._originals(content, lines)
        else:
            self._copies(content)
        return content

    @property
    def unfinished(self) -> set[int]:
        """Events of which some line has what was to be taken out."""
        return self._redactions.unfinished

    def _look(self, piece: bytes, events: Sequence[Event]) -> None:
        self._show(partial(self._redactions.look, piece), events)
        self._payloads |= payloads.named_in(piece)

    def _show(self, see: See, events: Sequence[Event]) -> None:
        try:
            see(events)
        except Illegal as illegal:
            raise self._damage_at(illegal) from None

    def _show_original(self, piece: bytes, events: Sequence[Event]) -> None:
        self._evidence.see(piece, events)
        if self._complete:
            self._show(self._auditor.see_original, events)

    def _damage_at(self, illegal: Illegal) -> Damaged:
        """Where that event stands: in the log, or only in the archive any more."""
        first = max(one for one in self._firsts if one <= illegal.offset)
        content = self.content(first)
        kind: type[Damaged] = Forged
        position, line = content.find(illegal.offset)
        if not line:
            first = max(one for one in self.archived if one <= illegal.offset)
            content, kind = archived_content(self.log.archive, first), ArchiveDamaged
            position, _ = content.find(illegal.offset)
        return kind(illegal.why, file=content.file, position=position, offset=illegal.offset - 1)

    def _copies(self, content: Content) -> None:
        """Check what the archive has of a segment that stands in the log as it was: an interrupted
        compaction left it there, or a repair."""
        for first in (one for one in self.archived if content.first <= one <= content.offset):
            copy = archived_content(self.log.archive, first)
            for piece, events in copy:
                self._look(piece, events)
            # A redaction begins with it.
            begun = any(content.first <= one <= content.offset for one in self.unfinished)
            if copy.sha256 != content.sha256 and not (begun and copy.seam == content.seam):
                raise copy.damage("it is not what the log has in its place")
            self._count(copy)

    def _originals(self, content: Content, lines: dict[bytes, tuple[int, int]]) -> None:
        """Check a rewritten segment against its originals; `lines` are those that it has left."""
        header = content.header
        seam = seam_before(header)
        following = content.first
        gaps: list[tuple[int, int]] = []
        for first in (one for one in self.archived if content.first <= one <= header.covers):
            if first > following:
                gaps.append((following, first - 1))
                seam, self._complete = None, False
            original = self._original(first, seam, lines)
            following = original.offset + 1
            seam = original.seam
        if following <= header.covers:
            gaps.append((following, header.covers))
            self._complete = False
        elif seam != content.seam:
            raise original.damage("it is not the original of what the log has in its place")
        for offset, position in lines.values():
            is_missing = any(start <= offset <= end for start, end in gaps)
            if not is_missing and offset not in self.unfinished:
                why = "a line is not what it was in the original, which is in the archive"
                file = content.file
                raise Damaged(why, file=file, position=position, offset=offset - 1)
        # Only what compaction puts in place has a number, and it had archived the original.
        report = self._report
        (report.missing if header.compaction else report.repaired).extend(gaps)

    def _original(
        self, first: int, seam: Seam | None, lines: dict[bytes, tuple[int, int]]
    ) -> Content:
        """Check an archived segment, and take its lines out of `lines`."""
        original = archived_content(self.log.archive, first)
        header = original.header
        if seam not in (None, seam_before(header)):
            raise original.damage("it does not go on from the segment before")
        for piece, events in original:
            if header.sealed_sha256 and any(map(stands_in, events)):
                # Its own original was lost before it got here.
                self._complete = False
            self._look(piece, events)
            self._show_original(piece, events)
            for body in _bodies(piece, events, 0):
                lines.pop(body, None)
                lines.pop(codec.ends_batch(body), None)
            self._progress(self._done, self._total)
        self._count(original)
        return original

    def _count(self, archived: Content) -> None:
        self._done += self.archived[archived.first]
        self._report.archives += 1
        self._report.archive_size += archived.size


def _bodies(piece: bytes, events: Sequence[Event], position: int) -> dict[bytes, tuple[int, int]]:
    """The bodies of lines with their offsets and positions, but for those that stand for others."""
    found = {}
    for event, line in zip(events, piece.split(b"\n"), strict=False):
        if not isinstance(event, LogCompacted | LogRepaired):
            found[line[codec.BODY :]] = event.offset, position
        position += len(line) + 1
    return found
