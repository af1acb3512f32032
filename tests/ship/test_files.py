"""A sink in files: each event stands there exactly once, whatever fails or kills whoever writes."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from hosts import FaultyHost, Untroubled
from shipping_logs import Site, contents, expected, shipped

from queuectl.ship.sink import Refused

EVENTS = 30


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def rotating(site: Site, out: Path, name: str = "a", **given: Any) -> None:
    site.add(name, f"jsonl:{out}", **{"file_events": 7, "send_events": 5, **given})


def test_files_have_every_event_once_and_are_named_by_their_first(site: Site, out: Path) -> None:
    site.append(EVENTS)
    rotating(site, out)
    assert site.ship("a") == EVENTS
    assert shipped(out) == expected(site.log)
    assert [int(name[:20]) for name in contents(out)] == [1, 8, 15, 22, 29]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in out.iterdir())


@pytest.mark.parametrize("limits", [{"file_events": 7}, {"file_bytes": 1000}, {"file_bytes": 1}])
def test_the_same_log_makes_the_same_files(
    site: Site, tmp_path: Path, limits: dict[str, int]
) -> None:
    """However it is cut into shipments, and however often shipping began anew."""
    site.append(EVENTS)
    for number, send_events in enumerate((1, 4, 100)):
        rotating(site, tmp_path / f"out-{number}", str(number), send_events=send_events, **limits)
        site.ship(str(number))
    site.append(EVENTS)
    for number in range(3):
        site.ship(str(number))
    first, *others = (contents(tmp_path / f"out-{number}") for number in range(3))
    assert len(first) > 3
    assert shipped(tmp_path / "out-0") == expected(site.log)
    assert all(other == first for other in others)
    size = limits.get("file_bytes", 1 << 30)
    assert all(len(data) <= size or data.count(b"\n") == 1 for data in first.values())


def test_shipping_again_compares_and_fills_in_what_is_gone(site: Site, out: Path) -> None:
    site.append(EVENTS)
    rotating(site, out)
    site.ship("a")
    before = contents(out)
    inodes = {path.name: path.stat().st_ino for path in out.iterdir()}
    sorted(out.glob("*.jsonl"))[1].unlink()
    for offset in (0, 3, 7, 8, EVENTS):
        site.sinks.reset("a", offset)
        assert site.ship("a") == EVENTS
        assert contents(out).keys() >= before.keys() - {f"{8:020d}.jsonl"}
    assert contents(out) == before
    assert {name for name, inode in inodes.items() if (out / name).stat().st_ino == inode} >= {
        f"{1:020d}.jsonl",
        f"{15:020d}.jsonl",
    }


def test_a_cursor_that_is_gone_repeats_nothing(site: Site, out: Path) -> None:
    site.append(EVENTS)
    rotating(site, out)
    site.ship("a")
    shutil.rmtree(site.home.cursors)
    site.append(5)
    site.ship("a")
    assert shipped(out) == expected(site.log)


def test_what_a_reader_has_taken_away_does_not_come_back(site: Site, out: Path) -> None:
    site.append(EVENTS)
    rotating(site, out)
    shipping = site.shipping("a")
    shipping.turn()
    for path in out.glob("*.jsonl"):
        path.unlink()
    site.append(4)
    shipping.turn()
    shipping.close()
    assert shipped(out) == expected(site.log)[EVENTS:]
    assert [int(name[:20]) for name in contents(out)] == [EVENTS + 1]


def test_a_skipped_part_is_left_out(site: Site, out: Path) -> None:
    site.append(10)
    rotating(site, out)
    site.ship("a")
    site.append(10)
    site.sinks.reset("a", 17)
    site.ship("a")
    offsets = [event["offset"] for event in shipped(out)]
    assert offsets == [*range(1, 11), 18, 19, 20]


# ---- whatever goes wrong


def reference(site: Site, tmp_path: Path) -> dict[str, bytes]:
    """What should be in the files in the end."""
    rotating(site, tmp_path / "reference", "reference")
    site.ship("reference")
    return contents(tmp_path / "reference")


def ended_at(site: Site, number: int) -> bool:
    """Whether a process that ships was killed at that call on the disk, or was through before."""
    child = os.fork()
    if child == 0:
        host = FaultyHost()
        host.watch(lambda at, _: os.kill(os.getpid(), signal.SIGKILL) if at == number else None)
        site.shipping("a", host=host).turn()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_killed_at_any_call_nothing_is_lost_and_nothing_stands_there_twice(
    site: Site, tmp_path: Path, out: Path
) -> None:
    site.append(EVENTS)
    wanted = reference(site, tmp_path)
    whole = b"".join(wanted.values())
    rotating(site, out)
    number = 0
    while True:
        shutil.rmtree(out, ignore_errors=True)
        site.sinks.reset("a", 0)
        if not ended_at(site, number):
            break
        # Whoever reads meanwhile sees the beginning of what there will be.
        assert whole.startswith(b"".join(contents(out).values()))
        ended_at(site, number * 7 % 31)
        assert site.ship("a") == EVENTS
        assert contents(out) == wanted
        number += 1
    assert number > 60, "each call was tried"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EMFILE])
def test_after_any_call_that_fails_it_goes_on(
    site: Site, tmp_path: Path, out: Path, code: int
) -> None:
    site.append(EVENTS)
    wanted = reference(site, tmp_path)
    rotating(site, out)
    tried = 0
    for host in site.ship_in_spite_of("a", out, code):
        assert contents(out) == wanted, host.calls
        tried += 1
    assert tried > 60, "each call was tried"


def test_bytes_of_which_a_sync_failed_are_written_elsewhere(site: Site, out: Path) -> None:
    site.append(5)
    rotating(site, out, send_events=100)
    host = FaultyHost()
    shipping = site.shipping("a", host=host)
    host.fail("fdatasync", OSError(errno.EIO, "Input/output error"))
    assert shipping.turn() > host.monotonic_s()
    assert shipping.cursor == 0
    (path,) = out.glob("*.jsonl")
    before = path.stat().st_ino, path.read_bytes()
    host.advance(3)
    shipping.turn()
    shipping.close()
    assert shipping.cursor == 5
    assert path.read_bytes() == before[1]
    assert path.stat().st_ino != before[0], "what can be read may never have reached the disk"


@pytest.mark.parametrize(
    "tail", [b'{"off', b"\0" * 700, b'{"offset":6,\0\0\0\0}\n{"offset":7}\n', b"x"]
)
def test_what_a_power_cut_left_half_written_is_put_right(
    site: Site, tmp_path: Path, out: Path, tail: bytes
) -> None:
    site.append(10)
    wanted = reference(site, tmp_path)
    rotating(site, out, send_events=5)
    shipping = site.shipping("a")
    shipping._ship()
    shipping.close()
    assert shipping.cursor == 5
    (path,) = out.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(tail)
    assert site.ship("a") == 10
    assert contents(out) == wanted


# ---- what is refused


def refused(site: Site, name: str = "a") -> str:
    """Why nothing more is shipped, with nothing changed."""
    shipping = site.shipping(name)
    shipping.turn()
    shipping.close()
    assert isinstance(shipping.error, Refused)
    assert site.sinks.condition(name).stopped
    return str(shipping.error)


def test_another_past_is_not_written_over(site: Site, out: Path) -> None:
    site.append(10)
    rotating(site, out)
    site.ship("a")
    path = out / f"{8:020d}.jsonl"
    path.write_bytes(path.read_bytes().replace(b"job9", b"jobs"))
    before = contents(out)
    site.append(3)
    assert site.ship("a") == 13, "what was shipped before is not looked at again"
    path.write_bytes(before[path.name])
    site.sinks.reset("a", 0)
    assert "event 9" in refused(site)
    assert contents(out) == before


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_older_copy_of_the_log_is_told_from_what_is_there(
    site: Site, tmp_path: Path, out: Path, kind: str
) -> None:
    """Else what happens in it from then on would be taken for what is there already."""
    site.append(10)
    site.add("a", f"{kind}:{out}", file_events=7)
    site.ship("a")
    shutil.copytree(site.root / "data", tmp_path / "copy" / "data")
    site.append(20)
    site.ship("a")
    copy = Site(tmp_path / "copy", site.host)
    copy.append(1)
    before = sorted(out.iterdir())
    assert "has event 29, and the log has only 11" in refused(copy)
    assert sorted(out.iterdir()) == before
    copy.close()


def test_files_made_with_other_limits_are_not_mixed_up(site: Site, out: Path) -> None:
    site.append(10)
    rotating(site, out, "b", file_events=6)
    site.ship("b")
    rotating(site, out, file_events=5)
    before = contents(out)
    assert "other limits" in refused(site)
    assert contents(out) == before
    for name, limit in (("c", 7), ("d", 0)):
        rotating(site, out, name, file_events=limit)
        site.ship(name)
        assert contents(out) == before, "what is there is left as it is"
    site.append(10)
    site.ship("d")
    assert shipped(out) == expected(site.log)


@pytest.mark.parametrize("send_events", [2, 5, 100])
def test_what_was_skipped_is_filled_in_when_shipping_begins_anew(
    site: Site, out: Path, send_events: int
) -> None:
    site.append(EVENTS)
    rotating(site, out, send_events=send_events)
    site.sinks.reset("a", 20)
    site.ship("a")
    assert [int(name[:20]) for name in contents(out)] == [21, 28]
    before = contents(out)
    site.sinks.reset("a", 0)
    site.ship("a")
    assert shipped(out) == expected(site.log)
    assert [int(name[:20]) for name in contents(out)] == [1, 8, 15, 21, 28]
    assert before.items() <= contents(out).items()


def test_a_directory_belongs_to_one_log_and_one_writer(
    site: Site, tmp_path: Path, out: Path
) -> None:
    site.append(3)
    rotating(site, out)
    site.ship("a")
    (tmp_path / "elsewhere").mkdir()
    other = Site(tmp_path / "elsewhere", Untroubled())
    other.append(9)
    rotating(other, out)
    assert "another log" in refused(other)
    other.close()
    assert shipped(out) == expected(site.log)

    rotating(site, out, "b")
    shipping, second = site.shipping("a"), site.shipping("b")
    site.append(3)
    shipping.turn()
    assert second.turn() > site.host.monotonic_s()
    assert "somebody else is writing" in site.sinks.condition("b").error
    shipping.close()
    second.close()


def test_files_of_others_are_left_alone(site: Site, out: Path) -> None:
    site.append(3)
    out.mkdir()
    (out / f"{1:020d}.jsonl").write_text("mine\n")
    rotating(site, out)
    assert "did not put there" in refused(site)
    assert contents(out) == {f"{1:020d}.jsonl": b"mine\n"}
