"""A proof: the events of one job with what ties them to a log, and what it shows by itself.

Each event stands there as its line in the log says it, with the path from there to the root of the
tree over all lines. The root is part of an anchor: whoever has kept that anchor elsewhere needs
nothing else to see that these events were in that log. Knows no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import pairwise

import msgspec

from queuectl.domain import payloads
from queuectl.engines.file import anchors
from queuectl.engines.file.anchors import Anchor
from queuectl.engines.file.evidence import Redactions, Root, Traced, leaf_of
from queuectl.errors import Disproved, Illegal, Invalid, Newer, QueuectlError
from queuectl.events import codec, merkle
from queuectl.events.vocabulary import Event, JobEnqueued, JobEvent, JobRedacting
from queuectl.projections.legality import Legality

FORMAT = 1


class Tied(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event."""

    event: str
    """Its line, but for the `crc`, which belongs to the place and not to the event."""
    path: list[str]
    """The hashes beside the way from it to the root, as RFC 9162 has them, in hex."""


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is handed to somebody."""

    proof: int = FORMAT
    job: str
    log: str
    """The identity of the log."""
    anchor: str
    """What `log verify` says of the log up to the last event in the tree."""
    events: list[Tied]
    """Those about the job, oldest first."""
    payloads: dict[str, str]
    """By the SHA-256 of each what is too long for a line: the JSON of a command, or of a list."""
    sha256: str = ""
    """Of all this with nothing in this place: it finds what went wrong by accident."""


class Shown(msgspec.Struct, frozen=True):
    """What a proof shows."""

    job: str
    log: str
    anchor: Anchor
    events: list[JobEvent]
    begins: bool
    """Whether the first is what enqueued the job."""
    emptied: list[int]
    """Those of which only a hash was there, because values were taken out of them since."""


class _Line(msgspec.Struct):
    """Of an event what ties it to the root."""

    offset: int
    original: str = ""


_decoder = msgspec.json.Decoder(Proof)
_line_decoder = msgspec.json.Decoder(_Line)


def made(
    job: str,
    log: str,
    anchor: Anchor,
    traced: Iterable[Traced],
    kept: Callable[[str], bytes],
) -> Proof:
    """The proof for what was traced up to that anchor; `kept` gives what is too long for a line by
    its hash."""
    traced = list(traced)
    events = [
        Tied(codec.text_of(one.body).decode(), [beside.hex() for beside in one.path])
        for one in traced
    ]
    digests = {digest for one in traced for digest in _named(one.event)}
    texts = {digest: kept(digest).decode() for digest in sorted(digests)}
    return _sealed(Proof(job=job, log=log, anchor=str(anchor), events=events, payloads=texts))


def _named(event: Event) -> list[str]:
    return list(payloads.named(event).values()) if isinstance(event, JobEnqueued) else []


def _sealed(proof: Proof) -> Proof:
    plain = msgspec.structs.replace(proof, sha256="")
    digest = sha256(msgspec.json.encode(plain)).hexdigest()
    return msgspec.structs.replace(proof, sha256=digest)


def check(data: bytes, kept: Sequence[Anchor] = ()) -> Shown:
    """What a proof shows; held against those anchors, if some were kept.

    Raises `Disproved` where it is not right, and `QueuectlError` where no anchor is of its last
    event.
    """
    proof = _read(data)
    anchor, root = _anchor_of(proof)
    _compare(anchor, kept)
    events = [_checked(proof, anchor.head, root, tied) for tied in proof.events]
    begins = isinstance(events[0], JobEnqueued)
    _check_story(events, begins=begins)
    emptied = _check_redacted(proof, events)
    events = [_whole(proof, event) for event in events]
    return Shown(proof.job, proof.log, anchor, events, begins, emptied)


def _read(data: bytes) -> Proof:
    try:
        proof = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Disproved(f"it is no proof, or it was altered: {error}") from None
    if _sealed(proof) != proof or not proof.events:
        raise Disproved("it was altered: it is not what its own checksum says")
    if proof.proof != FORMAT:
        raise Newer(f"it has format {proof.proof}: use a newer queuectl")
    return proof


def _anchor_of(proof: Proof) -> tuple[Anchor, Root]:
    try:
        anchor = anchors.parse(proof.anchor)
    except Invalid as error:
        raise Disproved(f"it was altered: {error}") from None
    if anchor.root is None:
        raise Disproved("it was altered: its anchor has no root")
    return anchor, anchor.root


def _compare(anchor: Anchor, kept: Sequence[Anchor]) -> None:
    same = [one for one in kept if one.head == anchor.head and one.root is not None]
    if kept and not same:
        raise QueuectlError(
            f"the proof goes up to event {anchor.head}, and no anchor given has the root of that:"
            " name one that has when the proof is made (queuectl proof ID --anchor …)"
        )
    if any(one != anchor for one in same):
        raise Disproved(f"it is of another log than the anchor of event {anchor.head}")


def _checked(proof: Proof, head: int, root: Root, tied: Tied) -> JobEvent:
    body = _body(tied)
    # Only what stood in the log can be of a later version; anything else is nothing.
    try:
        line = _line_decoder.decode(codec.text_of(body))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Disproved(f"it holds something that is no event: {error}") from None
    index, size = line.offset - root.first, head - root.first + 1
    try:
        path = [bytes.fromhex(beside) for beside in tied.path]
        found = merkle.root_above(leaf_of(line.original, body), index, size, path)
    except ValueError as error:
        raise Disproved(f"event {line.offset} is not tied to the root: {error}") from None
    if found.hex() != root.hash:
        raise Disproved(f"event {line.offset} is not what stood in the log")
    (event,) = codec.decode_unverified(codec.text_of(body))
    if not isinstance(event, JobEvent) or event.job != proof.job:
        raise Disproved(f"event {event.offset} is not about job {proof.job}")
    return event


def _check_story(events: list[JobEvent], *, begins: bool) -> None:
    if any(one.offset >= next.offset for one, next in pairwise(events)):
        raise Disproved("its events are not in their order")
    # What comes before the first event of a part is not known.
    if begins:
        legality = Legality(compacted=False)
        try:
            legality.check(events)
            legality.finish()
        except Illegal as illegal:
            raise Disproved(
                f"an event was left out before event {illegal.offset}: {illegal.why}"
            ) from None


def _check_redacted(proof: Proof, events: list[JobEvent]) -> list[int]:
    """Check that lines of which values were taken out are what an event in the proof says of them;
    returns those of which none does."""
    redactions = Redactions(event for event in events if isinstance(event, JobRedacting))
    for event, tied in zip(events, proof.events, strict=True):
        try:
            redactions.look_at(event, _body(tied))
        except Illegal as illegal:
            raise Disproved(
                f"event {event.offset} is not what stood in the log: {illegal.why}"
            ) from None
    return sorted(redactions.untold)


def _body(tied: Tied) -> bytes:
    return codec.body_of(tied.event.encode())


def _whole(proof: Proof, event: JobEvent) -> JobEvent:
    def read(digest: str) -> bytes:
        text = proof.payloads.get(digest, "").encode()
        if sha256(text).hexdigest() != digest:
            raise Disproved(f"event {event.offset}: what was too long for its line is not there")
        return text

    return payloads.whole(event, read) if isinstance(event, JobEnqueued) else event
