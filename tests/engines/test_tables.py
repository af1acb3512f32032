"""Tables on disk: whatever becomes of the bytes, a table says what was written or that it is
spoiled."""

from __future__ import annotations

from pathlib import Path

from hosts import FaultyHost

from queuectl.engines import tables
from queuectl.engines.tables import Spoiled, Table
from queuectl.host import Host


def test_a_big_table_is_synced_a_piece_at_a_time(tmp_path: Path) -> None:
    host = FaultyHost()
    rows = (tables.entry(number, b'"%s"' % (b"x" * 1000)) for number in range(2500))
    tables.write(host, str(tmp_path / "table"), rows, [])
    assert (host.calls.count("fdatasync"), host.calls.count("fsync")) == (2, 1)


def test_every_bit_flipped_in_the_footer_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table"
    tables.write(Host(), str(path), [tables.entry(7, b'"seven"')], [("job", 7)])
    good = path.read_bytes()
    noticed = 0
    for number in range((len(good) - 64) * 8, len(good) * 8):
        position, bit = divmod(number, 8)
        path.write_bytes(
            good[:position] + bytes([good[position] ^ 1 << bit]) + good[position + 1 :]
        )
        table = Table(Host(), str(path))
        try:
            assert table.number("job") == 7
        except Spoiled:
            noticed += 1
        finally:
            table.close()
    assert noticed > 300
