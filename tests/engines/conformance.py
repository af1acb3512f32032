"""What a log promises, as tests that every engine runs: this *is* the specification of `Log`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hosts import SteadyHost
from hypothesis import given
from hypothesis import strategies as st

from queuectl import instants
from queuectl.errors import Conflict
from queuectl.events.log import Batch, Log
from queuectl.events.vocabulary import Event, Fact, JobCancelled, JobEnqueued, QueuePaused

Open = Callable[[], Log]


def enqueued(job: str, command: str = "true") -> JobEnqueued:
    return JobEnqueued(job=job, command=command)


def batch(*jobs: str, **expected: int) -> Batch:
    return Batch([enqueued(job) for job in jobs], expected)


def everything(log: Log, after: int = 0) -> list[Event]:
    return [event for events in log.read(after) for event in events]


def jobs_of(events: list[Event]) -> list[str]:
    return [event.job for event in events if isinstance(event, JobEnqueued)]


class LogConformance:
    """Subclasses give a fixture `handle`: each call is another appender's view of one log."""

    @pytest.fixture
    def handle(self) -> Iterator[Open]:
        raise NotImplementedError

    @pytest.fixture
    def log(self, handle: Open) -> Log:
        return handle()

    # ---- what is appended is what is read

    def test_a_new_log_is_empty(self, log: Log) -> None:
        assert log.head() == 0
        assert everything(log) == []
        assert list(log.read_about("a")) == []

    def test_an_append_returns_the_facts_as_the_events_that_everybody_reads(
        self, handle: Open
    ) -> None:
        log, other = handle(), handle()
        events = log.append([batch("a", "b"), batch("c")])
        assert jobs_of(events) == ["a", "b", "c"]
        assert all(event.at for event in events)
        assert everything(log) == everything(other) == events

    def test_offsets_start_above_zero_and_rise_strictly(self, log: Log) -> None:
        for _ in range(3):
            log.append([batch("a"), batch("b", "c")])
        offsets = [event.offset for event in everything(log)]
        assert offsets[0] > 0
        assert all(low < high for low, high in pairwise(offsets))
        assert log.head() == offsets[-1]

    def test_read_goes_on_after_every_offset(self, handle: Open) -> None:
        writer = handle()
        for index in range(7):
            writer.append([batch(*"abc"[: index % 3 + 1])])
        events = everything(writer)
        for log in (writer, handle()):
            for after in range(log.head() + 2):
                expected = [event for event in events if event.offset > after]
                assert everything(log, after) == expected

    def test_all_but_the_last_of_a_batch_say_that_more_follows(self, log: Log) -> None:
        log.append([batch("a", "b", "c"), batch("d"), batch("e", "f")])
        assert [event.more for event in everything(log)] == [True, True, False, False, True, False]

    def test_an_empty_append_and_an_empty_batch_leave_no_trace(self, log: Log) -> None:
        assert log.append([]) == []
        assert log.append([Batch([])]) == []
        assert log.head() == 0
        assert jobs_of(log.append([Batch([]), batch("a"), Batch([])])) == ["a"]
        assert log.head() == everything(log)[-1].offset

    @given(
        appends=st.lists(
            st.lists(st.lists(st.text(max_size=20), max_size=4), max_size=4), max_size=5
        )
    )
    def test_any_text_in_any_batches_comes_back(
        self, handle: Open, appends: list[list[list[str]]]
    ) -> None:
        log = handle()
        start = log.head()
        commands = []
        for batches in appends:
            log.append([Batch([enqueued("a", text) for text in texts]) for texts in batches])
            commands += [text for texts in batches for text in texts]
        assert [getattr(event, "command", None) for event in everything(log, start)] == commands

    def test_facts_without_a_job_are_events_too(self, log: Log) -> None:
        facts: list[Fact] = [QueuePaused(queue="q"), enqueued("a")]
        log.append([Batch(facts, {"a": 0})])
        assert [type(event) for event in everything(log)] == [QueuePaused, JobEnqueued]

    # ---- conflicts

    @pytest.mark.parametrize("known", [0, 1, 2, 3, 4, 99])
    def test_conflict_exactly_when_the_job_has_an_event_past_the_one_expected(
        self, handle: Open, known: int
    ) -> None:
        log, other = handle(), handle()
        last = other.append([batch("b"), batch("a"), batch("a"), batch("b")])[2].offset
        assert last == 3
        if known < last:
            with pytest.raises(Conflict):
                log.append([batch("a", a=known)])
            assert log.head() == 4
        else:
            assert jobs_of(log.append([batch("a", a=known)])) == ["a"]

    def test_a_conflict_appends_none_of_the_batches(self, handle: Open) -> None:
        log, other = handle(), handle()
        other.append([batch("taken")])
        with pytest.raises(Conflict):
            log.append([batch("a", a=0), batch("taken", taken=0), batch("b", b=0)])
        assert jobs_of(everything(handle())) == ["taken"]

    def test_of_two_expectations_about_one_job_the_stricter_counts(self, handle: Open) -> None:
        log, other = handle(), handle()
        other.append([batch("a")])
        with pytest.raises(Conflict):
            log.append([batch("a", a=0), batch("a", a=1)])

    def test_batches_of_one_append_do_not_conflict_with_each_other(self, log: Log) -> None:
        log.append([batch("a", a=0), batch("a", a=0)])
        assert jobs_of(everything(log)) == ["a", "a"]

    def test_whoever_reads_on_after_a_conflict_may_append(self, handle: Open) -> None:
        log, other = handle(), handle()
        log.append([batch("a", a=0)])
        cancelled = other.append([Batch([JobCancelled(job="a")], {"a": 1})])[-1].offset
        with pytest.raises(Conflict):
            log.append([Batch([JobCancelled(job="a")], {"a": 1})])
        assert everything(log, 1)[-1].offset == cancelled
        log.append([batch("a", a=cancelled)])

    # ---- time

    def test_at_is_the_hosts_time(self, log: Log, host: SteadyHost) -> None:
        host.advance(3600)
        assert log.append([batch("a")])[0].at == instants.from_us(host.us)

    def test_at_never_runs_backwards_even_if_the_clock_does(
        self, handle: Open, host: SteadyHost
    ) -> None:
        ahead = handle().append([batch("a")])[0].at
        host.advance(-86_400)
        assert handle().append([batch("b")])[0].at == ahead
        host.advance(86_401)
        handle().append([batch("c")])
        times = [event.at for event in everything(handle())]
        assert times == sorted(times)
        assert times[-1] > ahead

    def test_up_to_the_offset_before_a_time_no_event_is_later(
        self, handle: Open, host: SteadyHost
    ) -> None:
        log = handle()
        for index in range(9):
            host.advance(1)
            log.append([batch("a", "b")])
            if index % 3 == 0:
                log = handle()
        events = everything(log)
        for event in events:
            before = log.before(event.at)
            assert all(one.at <= event.at for one in events if one.offset <= before)
        assert log.before(instants.EARLIEST) == 0

    # ---- one job

    def test_read_about_gives_the_events_of_that_job_alone(self, handle: Open) -> None:
        log = handle()
        log.append([batch("a"), batch("ab"), batch("b", "a")])
        # Text that looks like the job's field, and must not be taken for it.
        log.append([Batch([enqueued("c", '"job":"a"')]), Batch([QueuePaused(queue="a")])])
        log.append([Batch([JobCancelled(job="a")])])
        expected = [event for event in everything(log) if getattr(event, "job", "") == "a"]
        assert len(expected) == 3
        assert list(log.read_about("a")) == list(handle().read_about("a")) == expected

    def test_read_about_may_begin_anywhere(self, handle: Open) -> None:
        log = handle()
        for _ in range(4):
            log.append([batch("b", "a")])
        for after in range(log.head() + 2):
            found = handle().read_about("a", after=after)
            assert [event.offset for event in found] == [o for o in (2, 4, 6, 8) if o > after]
            found = handle().read_about("a", after=after, last=5)
            assert [event.offset for event in found] == [o for o in (2, 4) if o > after]

    def test_read_kind_gives_the_events_of_that_kind_alone(self, handle: Open) -> None:
        log = handle()
        for index in range(6):
            # Text that looks like a kind, and must not be taken for it.
            log.append([Batch([enqueued("a", ',"type":"queue.paused"')])])
            log.append([Batch([QueuePaused(queue=str(index))])])
        for after in range(log.head() + 2):
            found = handle().read_kind(QueuePaused, after)
            assert [event.offset for event in found] == [o for o in range(2, 13, 2) if o > after]

    def test_read_kept_looks_only_where_it_is_told_to(self, handle: Open) -> None:
        log = handle()
        for _ in range(4):
            log.append([batch("b", "a")])
        for first, last, expected in (
            (1, 9, [2, 4, 6, 8]),
            (4, 8, [4, 6, 8]),
            (5, 6, [6]),
            (3, 3, []),
            (1, 7, [2, 4, 6]),
            (9, 12, []),
        ):
            found = handle().read_kept("a", first, last)
            assert [event.offset for event in found] == expected

    def test_read_originals_goes_on_after_every_offset_as_read_does(self, handle: Open) -> None:
        writer = handle()
        assert list(writer.read_originals()) == []
        for index in range(7):
            writer.append([batch(*"abc"[: index % 3 + 1])])
        for log in (writer, handle()):
            for after in range(log.head() + 2):
                pieces = list(log.read_originals(after))
                assert [event for events in pieces for event in events] == everything(log, after)
                assert all(pieces)

    def test_read_originals_stops_at_the_head_as_it_was_when_it_began(self, handle: Open) -> None:
        log = handle()
        log.append([batch("a")])
        reading = log.read_originals()
        found = jobs_of(next(reading))
        handle().append([batch("b")])
        assert found + [job for events in reading for job in jobs_of(events)] == ["a"]

    # ---- handles

    def test_reading_may_be_broken_off_and_begun_anew(self, log: Log) -> None:
        for _ in range(4):
            log.append([batch("a"), batch("b")])
        one, two = log.read(0), log.read(3)
        first = next(one)
        assert everything(log, 2)[0].offset == 3
        rest = [event for events in two for event in events]
        assert rest == everything(log, 3)
        assert first + [event for events in one for event in events] == everything(log)

    def test_exclusive_may_be_nested_and_appended_in(self, log: Log) -> None:
        with log.exclusive(), log.exclusive():
            log.append([batch("a")])
            assert jobs_of(everything(log)) == ["a"]
        log.append([batch("b")])
        assert jobs_of(everything(log)) == ["a", "b"]

    def test_closing_a_handle_leaves_the_log(self, handle: Open) -> None:
        log = handle()
        log.append([batch("a")])
        log.close()
        other = handle()
        assert jobs_of(everything(other)) == ["a"]
        assert other.append([batch("b")])[0].offset > 1
