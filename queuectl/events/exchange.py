"""A whole log as one stream of lines, from which another can be made: how it is written, and how it
is read and checked. Knows no files.

The lines are those of a segment, chained in the same way; a job that was too long for one is whole
here. The first line says how far the stream goes, so that one that was cut is known even where it
was cut between two lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from queuectl.errors import Altered, Illegal, Invalid, Newer
from queuectl.events import codec
from queuectl.events.vocabulary import AnyEvent, Event, JobEnqueued

LINE_BYTES_MAX = codec.OLD_LINE_BYTES_MAX + codec.HEADER_BYTES_MAX
"""More than any line takes: nothing longer is read."""
_decoder = msgspec.json.Decoder(AnyEvent, strict=True)


class Manifest(msgspec.Struct, frozen=True, kw_only=True, tag="log.export"):
    """The first line of the stream: what it is."""

    format: int = codec.FORMAT
    """The version of the lines."""
    log: str = ""
    """The identity of the log that it is from."""
    through: int = 0
    """The last offset that it goes to."""
    since: str = ""
    """Events from before this time were left out; empty where none was."""
    until: str = ""
    """Events from this time on were left out; empty where none was."""


_manifest_decoder = msgspec.json.Decoder(Manifest)
_START = b'","type":"%s",' % str(Manifest.__struct_config__.tag).encode()


class Line(NamedTuple):
    """One event of the stream."""

    body: bytes
    """What its checksum covers."""
    event: Event
    format: int = codec.FORMAT
    """The lowest format of a log that it may stand in."""


def written(manifest: Manifest, pieces: Iterable[Iterable[Event]]) -> Iterator[bytes]:
    """The stream, in pieces of whole lines."""
    line, crc = codec.rechain([b'",%s' % msgspec.json.encode(manifest)[1:]], 0)
    yield line
    for events in pieces:
        lines = []
        for event in events:
            fact = replace(event, offset=0, at="", more=False)
            line, crc = codec.frame(
                codec.encode_whole(fact), crc, event.offset, event.at, more=event.more
            )
            lines.append(line)
        yield b"".join(lines)


def read(
    readline: Callable[[int], bytes], name: str, check: Callable[[Event], None]
) -> Iterator[Line]:
    """The events of a stream, each checked; `check` looks at what it means, and raises `Illegal`.

    `readline(limit)` gives its lines, `name` is how errors name it. Raises `Altered` where it is
    not what was exported, and `Invalid` where nothing can be made of it; both with the line.
    """
    manifest, crc = _first(readline(LINE_BYTES_MAX), name)
    last = Event()
    number = 1
    while line := readline(LINE_BYTES_MAX):
        number += 1
        where = f"{name}, line {number}"
        if not line.endswith(b"\n"):
            raise Altered(f"{where}: it is cut short: export again")
        crc = _checked(line, crc, where)
        try:
            event = _decoder.decode(line)
            _check(event, last, where)
            check(event)
        except msgspec.MsgspecError as error:
            raise Newer(f"{where}: this queuectl cannot read it ({error}): use a newer") from None
        except Illegal as illegal:
            raise Altered(f"{where}: {illegal.why}") from None
        yield Line(line[codec.BODY : -1], event)
        last = event
    if last.offset != manifest.through or last.more:
        raise Altered(
            f"{name}, line {number}: it ends with event {last.offset} of {manifest.through}:"
            " the rest was cut off, or the log was damaged there"
        )


def _first(line: bytes, name: str) -> tuple[Manifest, int]:
    where = f"{name}, line 1"
    manifest: Manifest | None
    try:
        manifest = _manifest_decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        manifest = None
    if manifest is None or not line[codec.BODY :].startswith(_START):
        raise Invalid(
            f"{where}: no export begins so: make one with"
            " queuectl export --format jsonl --view events"
        )
    if manifest.format > codec.FORMAT:
        raise Newer(f"{where}: it has format {manifest.format}: use a newer queuectl")
    crc = _checked(line, 0, where)
    if manifest.since or manifest.until:
        raise Invalid(
            f"{where}: only a part was exported (--since, --until), and a queue cannot be made of"
            " that: export all of it"
        )
    return manifest, crc


def _checked(line: bytes, crc: int, where: str) -> int:
    """The crc of a line that follows one with `crc`."""
    again, crc = codec.rechain([line[codec.BODY : -1]], crc)
    if again != line:
        raise Altered(f"{where}: it is not what was exported, or a line before it is missing")
    return crc


def _check(event: Event, last: Event, where: str) -> None:
    if event.offset <= last.offset or event.at < last.at:
        raise Altered(f"{where}: it does not come after the event before it")
    if isinstance(event, JobEnqueued) and any("=" not in pair for pair in event.env or ()):
        raise Invalid(
            f"{where}: the values given with --env were left out of this export: make it with"
            " --show-env"
        )
