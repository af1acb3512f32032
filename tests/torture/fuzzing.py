"""What holds for any bytes that the codec is given; run as a program, atheris looks for bytes for
which it does not: `fuzzing.py SECONDS SEED`."""

from __future__ import annotations

import sys
from zlib import crc32

from queuectl.engines.file import mark as marks
from queuectl.errors import Newer
from queuectl.events import codec
from queuectl.events.codec import BadLine

_START = b'{"crc":"'


def sealed(text: bytes, crc: int) -> bytes:
    """Lines whose checksums are right, whatever stands in them: that gets past the first door."""
    lines = []
    for line in text.split(b"\n"):
        covered = b'",' + line
        crc = crc32(covered, crc)
        lines.append(_START + b"%08x" % crc + covered + b"\n")
    return b"".join(lines)


def check_lines(data: bytes, crc: int) -> None:
    """Events or a plain word why not, and the checksum of what was read."""
    try:
        events, end = codec.decode(data, crc)
    except BadLine as bad:
        assert 0 <= bad.position < len(data)
        assert codec.decode(data[: bad.position], crc) == (bad.events, bad.crc)
        return
    except Newer:
        return
    assert len(events) == data.count(b"\n")
    for line in data.split(b"\n")[:-1]:
        crc = crc32(line[16:], crc)
        assert line[:16] == _START + b"%08x" % crc
    assert end == crc


def check_unverified(data: bytes) -> None:
    try:
        codec.decode_unverified(data)
    except Newer:
        pass


def check_header(line: bytes) -> None:
    try:
        header, _ = codec.decode_header(line)
    except (ValueError, Newer):
        return
    assert header.format <= codec.FORMAT_MAX


def check_mark(data: bytes) -> None:
    mark = marks.decode(data)
    assert mark is None or mark.encode()


def check(data: bytes) -> None:
    """All of it, on bytes as they are and with checksums made right."""
    seed = crc32(data[:4])
    check_lines(data, 0)
    check_lines(data, seed)
    check_lines(sealed(data, seed), seed)
    check_unverified(data + b"\n")
    check_header(data)
    check_header(sealed(b'"type":"log.segment",' + data, 0)[:-1].replace(b"\n", b" "))
    check_mark(data)
    check_mark(data + b" %08x" % crc32(data))


def main(seconds: str, seed: str) -> None:
    import atheris

    for function in (codec.decode, codec.decode_header, marks.decode, check_lines, check):
        atheris.instrument_func(function)
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096"], check
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
