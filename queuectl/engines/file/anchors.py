"""Anchors: what was noted down about a log elsewhere, and whether today's log still has that past.

A chain of checksums alone accepts a log whose end was cut off. An anchor does not: it names an
event, and the SHA-256 of the segment that this event stands in, from the first byte to the end of
its line. The first line of a segment names the SHA-256 of the one before, so that covers all there
was. It can be computed again when the log has grown and was compacted: the archive has originals.
The root of the tree over all original lines says the same of them; single lines can be tied to it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from queuectl.engines.file.content import Content, archived_content, content_of
from queuectl.engines.file.evidence import Root
from queuectl.engines.file.log import FileLog
from queuectl.engines.file.segments import counting
from queuectl.errors import Disproved, Invalid, QueuectlError

_FORM = re.compile(
    r"head (\d{1,20}) crc ([0-9a-f]{8}) sha256 ([0-9a-f]{64})"
    r"(?: root ([0-9a-f]{64})(?: from (\d{1,20}))?)?",
    re.ASCII,
)


class Anchor(NamedTuple):
    """An event that was the last one, and what there was up to it."""

    head: int
    crc: str
    sha256: str
    root: Root | None = None
    """Of the tree over all events up to it."""

    def __str__(self) -> str:
        text = f"head {self.head} crc {self.crc} sha256 {self.sha256}"
        if self.root is None:
            return text
        since = f" from {self.root.first}" if self.root.first > 1 else ""
        return f"{text} root {self.root.hash}{since}"


def parse(text: str) -> Anchor:
    """The anchor in a line. Raises `Invalid`."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise Invalid(
            f"{text.strip()!r} is no anchor: it is a line that `queuectl log verify` has printed,"
            " head … crc … sha256 …"
        )
    root = Root(int(match[5] or 1), match[4]) if match[4] else None
    return Anchor(int(match[1]), match[2], match[3], root)


def prove(log: FileLog, anchor: Anchor, root: Root | None = None) -> None:
    """Show that the log still holds the past that `anchor` names.

    `root` is what the tree over all events up to that one is now, where that is known. Raises
    `Disproved` where it does not, `Damaged` where it cannot be read, and `QueuectlError` where that
    can no longer be told.
    """
    offset = anchor.head
    if not offset:
        return
    head = log.head()
    if offset > head:
        raise Disproved(
            f"the log ends with event {head}, and the anchor names event {offset}: the end of the"
            " log has been cut off"
        )
    found = _found(log, offset)
    known = [found == anchor._replace(root=None)] if found is not None else []
    if root is not None and anchor.root is not None and root.first == anchor.root.first:
        known.append(root == anchor.root)
    if not known:
        raise QueuectlError(
            f"the segment that event {offset} stood in was made anew, and the archive does not have"
            " the original: whether the anchor is right cannot be told"
        )
    if not all(known):
        raise Disproved(
            f"event {offset} and what came before it are not what the anchor says: the log was"
            " written anew or altered"
        )


def _found(log: FileLog, offset: int) -> Anchor | None:
    """What `log verify` said when that event was the last one, but for the root; None where the
    bytes are not there any more."""
    headers = log.segments.headers()
    first = max(one for one in counting(headers) if one <= offset)
    header = headers[first]
    if header is None or not header.sealed_sha256:
        return _anchor_in(content_of(log, first), log.pieces(first), offset)
    if offset == header.covers:
        return Anchor(offset, header.sealed_crc, header.sealed_sha256)
    # It was rewritten: from the original.
    archive = log.archive
    kept = max((one for one in archive.list() if first <= one <= offset), default=0)
    content = archived_content(archive, kept) if kept else None
    if content is None or content.header.sealed_sha256:
        return None
    return _anchor_in(content, archive.read(kept), offset)


def _anchor_in(content: Content, pieces: Iterator[bytes], offset: int) -> Anchor | None:
    """The same from that segment; `pieces` are its bytes once more."""
    position, line = content.find(offset)
    if not line:
        return None
    digest = hashlib.sha256()
    left = position + len(line)
    for piece in pieces:
        digest.update(piece[:left])
        left -= min(left, len(piece))
        if not left:
            break
    return Anchor(offset, line[8:16].decode(), digest.hexdigest())
