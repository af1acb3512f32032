"""One event, one line: how facts become bytes and bytes become events; knows no files.

A line is a flat JSON object in UTF-8. Its first field is `crc`: eight hex digits, a CRC-32 over
every byte after them up to the newline, continued from the line before. So the crc of a line
is the crc of all lines so far, and an altered, missing or reordered line shows.

The tests read every line with orjson as well: an independent implementation, so that a slip of
msgspec, which writes and reads here, cannot hide.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

import msgspec

from queuectl.errors import Invalid, Newer
from queuectl.events.vocabulary import AnyEvent, Event, Fact, LogCompacted

LINE_BYTES_MAX = 16 << 10
"""Of any line but one that stands for others, which has the statistics of all of them."""
FACT_BYTES_MAX = LINE_BYTES_MAX - 512
"""An encoded fact: its place takes a hundred bytes more, and so does saying what was redacted."""
OLD_LINE_BYTES_MAX = 1 << 20
"""What earlier versions wrote, and a line that stands for others."""
HEADER_BYTES_MAX = 4096
FORMAT = 1
FORMAT_MAX = 2
"""The highest that this program reads: the same, but that events may name payloads."""
_START = b'{"crc":"'
BODY = len(_START) + 8
"""Where in a line its *body* begins: what the crc covers, which ends before the newline."""
_PLACE = BODY + 2
"""Where `"offset"` begins in the line of an event."""
_MORE = b'","more":true,'
_STAND_IN = b'"type":"log.compacted"'
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(AnyEvent)


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="log.segment"):
    """The first line of a segment: what it is and which segment it goes on from."""

    at: str = ""
    """When the segment was begun."""
    format: int = FORMAT
    """Version of everything on this page; a higher one is not for this program."""
    log: str = ""
    """The identity of the log, made once: segments of another log do not fit."""
    first: int = 1
    """The offset of the first event in it; also the file's name."""
    previous_crc: str = "00000000"
    """The crc that the chain goes on from."""
    previous_sha256: str = ""
    """SHA-256 of the whole segment before; empty in the first one."""
    covers: int = 0
    """The last offset that it stands for: up to there some may be missing; 0 where none is."""
    sealed_crc: str = ""
    """The crc that the next segment goes on from, where the last line here is not the original."""
    sealed_sha256: str = ""
    """The SHA-256 that the next segment names: of the last original that this one stands for."""
    compaction: int = 0
    """Counts rewritten segments through the whole log, as they were put in place."""


_header_decoder = msgspec.json.Decoder(Header)
_OF_REWRITTEN = frozenset(("covers", "sealed_crc", "sealed_sha256", "compaction"))
"""Fields of a header that stand there only if they say something."""


class BadLine(Exception):
    """A line that does not verify. `position` is its first byte in the data given, `crc` and
    `events` are what verified before it."""

    def __init__(self, why: str, position: int, crc: int, events: list[Event]) -> None:
        super().__init__(why)
        self.why = why
        self.position = position
        self.crc = crc
        self.events = events


def encode(fact: Fact) -> bytes:
    """The fact alone, before the log adds its place; `{"type":…}` with defaults left out.

    Raises `Invalid` for one that would not fit into a line.
    """
    encoded = encode_whole(fact)
    if len(encoded) > FACT_BYTES_MAX and not isinstance(fact, LogCompacted):
        raise Invalid(
            f"its record would take {len(encoded)} bytes, the limit is {FACT_BYTES_MAX}:"
            " make it shorter"
        )
    return encoded


encode_whole = _encoder.encode
"""The same, however long it is."""


def frame(payload: bytes, crc: int, offset: int, at: str, more: bool) -> tuple[bytes, int]:
    """The whole line for an encoded fact, and its crc; `crc` is the one of the line before."""
    covered = b'","offset":%d,"at":"%s",%s%s\n' % (
        offset,
        at.encode(),
        b'"more":true,' if more else b"",
        payload[1:],
    )
    return _seal(covered, crc)


def frame_batch(payloads: Sequence[bytes], crc: int, offset: int, at: str) -> tuple[bytes, int]:
    """The lines of a whole batch of encoded facts, and the crc of the last of them.

    What `frame` would make of each, the first at `offset`, in less than half of the time.
    """
    end = b',"at":"%s",' % at.encode()
    more = end + b'"more":true,'
    last = offset + len(payloads) - 1
    pieces: list[bytes] = []
    for payload in payloads:
        covered = b'","offset":%d%s%s' % (offset, more if offset < last else end, payload[1:])
        crc = crc32(covered, crc)
        # Joined once: to make each line by itself copies it twice more.
        pieces += (_START, b"%08x" % crc, covered, b"\n")
        offset += 1
    return b"".join(pieces), crc


def frame_header(header: Header) -> tuple[bytes, int]:
    """The first line of a segment, and its crc."""
    fields = {
        name: value
        for name, value in msgspec.structs.asdict(header).items()
        if value or name not in _OF_REWRITTEN
    }
    payload = _encoder.encode({"type": header.__struct_config__.tag, **fields})
    return _seal(b'",%s\n' % payload[1:], int(header.previous_crc, 16))


def rechain(bodies: Iterable[bytes], crc: int) -> tuple[bytes, int]:
    """Lines made anew from their bodies, and the crc of the last; `crc` is that before the first.

    What was written stays as it is, to the byte.
    """
    pieces: list[bytes] = []
    for body in bodies:
        crc = crc32(body, crc)
        pieces += (_START, b"%08x" % crc, body, b"\n")
    return b"".join(pieces), crc


def body(fact: Fact, offset: int, at: str, more: bool) -> bytes:
    """The body of the line that `frame` would make."""
    return frame(encode(fact), 0, offset, at, more)[0][BODY:-1]


def text_of(body: bytes) -> bytes:
    """The JSON text of a line without its `crc`, which belongs to the place where it stands."""
    return b"{" + body[2:]


def body_of(text: bytes) -> bytes:
    """The body that has this text."""
    return b'",' + text[1:]


def body_of_event(event: Event) -> bytes:
    """The body of the line in which an event stands."""
    fact = msgspec.structs.replace(event, offset=0, at="", more=False)
    return body(fact, event.offset, event.at, event.more)


def ends_batch(body: bytes) -> bytes:
    """The body of a line, as the last one of its batch."""
    # Text of people comes later in the line, so the first one found is the mark itself.
    before, _, after = body.partition(_MORE)
    return b'%s",%s' % (before, after) if after else body


def goes_on(body: bytes) -> bytes:
    """The body of the last line of a batch, as one that is not."""
    before, _, after = body.partition(b'","type":')
    return b'%s%s"type":%s' % (before, _MORE, after)


def _seal(covered: bytes, crc: int) -> tuple[bytes, int]:
    crc = crc32(covered[:-1], crc)
    return b"%s%08x%s" % (_START, crc, covered), crc


def decode_header(line: bytes) -> tuple[Header, int]:
    """The header in a line (without its newline), and its crc.

    Raises `ValueError` where it does not verify and `Newer` for a format of the future.
    """
    try:
        header = _header_decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is no header ({error})") from None
    if header.format > FORMAT_MAX:
        raise Newer(
            f"this log has format {header.format}; this queuectl reads up to {FORMAT_MAX}:"
            " use a newer queuectl"
        )
    crc = crc32(line[BODY:], int(header.previous_crc, 16))
    if line[:BODY] != b"%s%08x" % (_START, crc):
        raise ValueError("its checksum does not match")
    return header, crc


def header_of(start: bytes, first: int) -> tuple[Header, int, int]:
    """(header, its crc, the position after it) from the start of the segment `first`.

    Raises `ValueError` where it does not verify and `Newer` for a format of the future.
    """
    line, newline, _ = start[:HEADER_BYTES_MAX].partition(b"\n")
    if not newline:
        raise ValueError("it has no newline")
    header, crc = decode_header(line)
    if header.first != first:
        raise ValueError(f"it says that its first event is {header.first}")
    return header, crc, len(line) + 1


def decode(data: bytes, crc: int) -> tuple[list[Event], int]:
    """The events in `data` (whole lines), verified, and the crc of the last line.

    `crc` is that of the line before the first. Raises `BadLine` at the first that does not
    verify, and `Newer` where a verified line is of a kind that this program does not know.
    """
    lines, crc = _verified(data, crc)
    try:
        return _decoder.decode_lines(data) if lines else [], crc
    except msgspec.MsgspecError as error:
        raise _unreadable(error) from None


def check(data: bytes, crc: int) -> int:
    """The crc of the last line in `data` (whole lines), all verified, for who need not know what
    they say. Raises `BadLine`."""
    return _verified(data, crc)[1]


class Stretch(NamedTuple):
    """Events that follow each other without a gap, each as the JSON text in its line, but for its
    `crc`: that belongs to the place where the line stands, and not to what it says."""

    first: int
    """The offset of the first of them."""
    events: int
    """How many there are."""
    data: bytes
    """Their lines, each with its newline. In one piece, because most who want them copy them on."""

    @property
    def last(self) -> int:
        return self.first + self.events - 1

    def cut(self, events: int) -> tuple[Stretch, Stretch]:
        """The first so many of them, and the others."""
        if events >= self.events:
            return self, Stretch(self.last + 1, 0, b"")
        rest = self.data.split(b"\n", events)[-1]
        before = Stretch(self.first, events, self.data[: len(self.data) - len(rest)])
        return before, Stretch(self.first + events, self.events - events, rest)

    def after(self, offset: int) -> Stretch:
        """Those of them that come after it."""
        known = offset + 1 - self.first
        return self.cut(known)[1] if known > 0 else self


class TakenOut(Exception):
    """Events are missing in these lines, or one stands for some that were taken out."""


def stretch(data: bytes, crc: int) -> tuple[Stretch, int]:
    """What `decode` gives, copied and not understood, with whatever a later version may have
    written there. Raises `BadLine` likewise, and `TakenOut`."""
    lines, crc = _verified(data, crc)
    if not lines:
        return Stretch(1, 0, b""), crc
    first = _offset_in(lines[0])
    # Within a string there would be a backslash before each quote.
    if _offset_in(lines[-1]) != first + len(lines) - 1 or _STAND_IN in data:
        raise TakenOut
    text = b"{" + b"\n{".join([line[_PLACE:] for line in lines]) + b"\n"
    return Stretch(first, len(lines), text), crc


def stretches(events: Sequence[Event]) -> Iterator[Stretch]:
    """The same of events that were decoded, in as many stretches as there are gaps."""
    start = 0
    for end in range(1, len(events) + 1):
        if end == len(events) or events[end].offset != events[end - 1].offset + 1:
            some = events[start:end]
            text = b"".join([text_of(body_of_event(event)) + b"\n" for event in some])
            yield Stretch(some[0].offset, len(some), text)
            start = end


def _offset_in(line: bytes) -> int:
    return int(line[_PLACE + len(b'"offset":') : line.index(b",", _PLACE)])


def _verified(data: bytes, crc: int) -> tuple[list[bytes], int]:
    """The lines in `data`, which verify, and the crc of the last. Raises `BadLine`."""
    lines = data.split(b"\n")
    lines.pop()
    if not lines:
        return lines, crc
    start_crc = crc
    crcs = [crc := crc32(line[BODY:], crc) for line in lines]
    # All at once, and as text: a flipped case must not pass either. A loop takes twice as long.
    right = struct.pack(f">{len(crcs)}I", *crcs).hex("|", 4).replace("|", _START.decode())
    if b"".join([line[:BODY] for line in lines]) != _START + right.encode():
        _find_bad_line(lines, start_crc)
    return lines, crc


def _find_bad_line(lines: Sequence[bytes], crc: int) -> None:
    events: list[Event] = []
    position = 0
    for line in lines:
        line_crc = crc32(line[BODY:], crc)
        if line[:BODY] != b"%s%08x" % (_START, line_crc):
            raise BadLine("a checksum does not match", position, crc, events)
        try:
            events.append(_decoder.decode(line))
        except msgspec.MsgspecError as error:
            raise _unreadable(error) from None
        crc = line_crc
        position += len(line) + 1


def _unreadable(error: Exception) -> Newer:
    # The checksum is right, so these are the bytes that were written: by a later program.
    return Newer(
        f"the log holds an event that this queuectl cannot read ({error}): use a newer queuectl"
    )


def decode_unverified(data: bytes) -> list[Event]:
    """The events in `data` (whole lines) as they stand, for looking one job up in a long log."""
    try:
        return _decoder.decode_lines(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(error) from None
