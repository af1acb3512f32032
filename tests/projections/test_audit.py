"""A log that is well written and does not say what it should is found out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import pytest
from test_obsolescence import Site

from queuectl.engines.file.verify import Report, verify
from queuectl.errors import Disproved, Forged
from queuectl.events import codec
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.projections.audit import Audit, compare
from queuectl.projections.state import State


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A queue with jobs that live, and more that were forgotten; compacted."""
    site = Site(tmp_path)
    site.queue.set("max-retries", "2")
    site.queue.enqueue("true", id="alive", delay="1h")
    for _ in range(2):
        site.pass_by()
        site.live()
    site.compact()
    yield site
    for log in site.logs:
        log.close()


def audited(site: Site, known: State | None = None) -> Report:
    log = site.another().log
    state = known or site.another().state
    return verify(log, lambda: Audit(state, log.compactions()))  # type: ignore[arg-type]


def edit(site: Site, change: Callable[[bytes], bytes]) -> int:
    """Change lines of rewritten segments, or drop those of which nothing is left, and make their
    checksums right again; returns how many.

    The next segment does not notice: it knows the original.
    """
    changed = 0
    for path in sorted((site.root / "log").glob("*.jsonl"))[:-1]:
        start, *lines = path.read_bytes().split(b"\n")[:-1]
        if not codec.decode_header(start)[0].sealed_sha256:
            continue
        after = [change(line) for line in lines]
        changed += sum(old != new for old, new in zip(lines, after, strict=True))
        kept = [line[codec.BODY :] for line in after if line]
        crc = crc32(start[codec.BODY :], int(codec.decode_header(start)[0].previous_crc, 16))
        path.write_bytes(start + b"\n" + codec.rechain(kept, crc)[0])
    return changed


def without(text: bytes) -> Callable[[bytes], bytes]:
    return lambda line: b"" if text in line else line


def test_a_compacted_queue_passes(site: Site) -> None:
    report = audited(site)
    assert report.archives > 3
    assert report.missing == []


def test_a_job_that_was_taken_out_and_not_forgotten_is_missed(site: Site) -> None:
    assert edit(site, without(b'"job":"alive"')) == 1
    with pytest.raises(Disproved, match=r"originals in the archive.*job alive") as raised:
        audited(site)
    assert raised.value.exit_code == 7


def test_a_setting_that_was_taken_out_is_missed(site: Site) -> None:
    assert edit(site, without(b"setting.changed")) == 1
    with pytest.raises(Disproved, match="settings"):
        audited(site)


def test_statistics_that_were_taken_out_are_missed(site: Site) -> None:
    assert edit(site, lambda line: line.replace(b'"enqueued":', b'"unheard":')) > 1
    with pytest.raises(Disproved, match="statistics"):
        audited(site)


def test_what_is_known_has_to_be_what_replay_gives(site: Site) -> None:
    known = site.another().state
    job = next(job for job in known.jobs.select())
    job.attempts += 1
    with pytest.raises(Disproved, match=f"job {job.id}.*snapshots"):
        audited(site, known)


def test_what_came_after_it_was_known_does_not_matter(site: Site) -> None:
    known = site.another().state
    site.enqueue("later")
    site.live()
    assert audited(site, known).head > known.offset


def test_an_event_that_nobody_can_have_decided_is_found(site: Site) -> None:
    job = next(job.id for job in site.queue.jobs())
    ghost = v.JobCompleted(job=job, worker="w", token=1, attempt=1)
    (event,) = site.queue.log.append([Batch([ghost])])
    with pytest.raises(Forged, match="cannot have happened: it is pending") as raised:
        audited(site)
    data = Path(raised.value.file).read_bytes()[raised.value.position :]
    assert data[codec.BODY :].startswith(b'","offset":%d,' % event.offset)


def test_that_is_so_in_a_log_that_was_never_compacted_too(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.pass_by()
    assert audited(site).archives == 0
    site.queue.log.append([Batch([v.JobCompleted(job="nobody")])])
    with pytest.raises(Forged, match="there is no such job"):
        audited(site)
    for log in site.logs:
        log.close()


def test_where_two_states_differ_is_told(site: Site) -> None:
    def another() -> State:
        return site.another().state

    assert compare(another(), another()) == ""
    changes: dict[str, Callable[[State], object]] = {
        "paused": lambda state: state.paused.add("q"),
        "the statistics": lambda state: setattr(state.statistics, "dead", 7),
        "offset": lambda state: setattr(state, "offset", 7),
    }
    changes["the workers"] = lambda state: state.apply(
        [v.WorkerStarted(offset=state.offset, at=state.statistics.last_at, worker="x")]
    )
    for where, change in changes.items():
        changed = another()
        change(changed)
        assert where in compare(another(), changed)
        assert where in compare(changed, another())
