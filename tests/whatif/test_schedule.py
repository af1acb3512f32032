"""What would have happened: the same where nothing is otherwise, and what is to be expected where
something is."""

from __future__ import annotations

from typing import Any

import pytest
from histories import Played, busy, ending

from queuectl import instants
from queuectl.domain import commands as c
from queuectl.events import vocabulary as v
from queuectl.whatif.figures import Figures
from queuectl.whatif.recording import Recording
from queuectl.whatif.schedule import NOTHING_LEFT, Plan, Simulation


def record(played: Played, begin: str = "") -> tuple[Recording, Figures]:
    recording = Recording(begin, played.queue.find_spec)
    for events in played.log.read():
        recording.fold(events)
    return recording, recording.finish()


def shown(figures: Figures) -> dict[str, Any]:
    return {
        **{name: value for name, value in vars(figures).items() if name[0] != "_"},
        "wait": figures.wait.figures(),
        "turnaround": figures.turnaround.figures(),
    }


def simulate(recording: Recording, plan: Plan = Plan(), seed: int = 1) -> Figures:  # noqa: B008
    return Simulation(recording, plan, seed).run()


SEEDS = pytest.mark.parametrize("seed", range(20))


@SEEDS
def test_nothing_otherwise_gives_what_happened(seed: int) -> None:
    recording, happened = record(busy(seed))
    simulation = Simulation(recording, Plan(), 1)
    assert shown(simulation.run()) == shown(happened)
    assert (simulation.drawn, simulation.refused) == (0, 0)


@SEEDS
def test_nothing_otherwise_gives_what_happened_from_any_moment_on(seed: int) -> None:
    played = busy(seed)
    begin = instants.from_us(played.start_us + played.chance.randint(20, 110) * 1_000_000)
    recording, happened = record(played, begin)
    assert recording.begin == happened.begin == begin
    simulation = Simulation(recording, Plan(), 1)
    assert shown(simulation.run()) == shown(happened)
    assert simulation.drawn == 0


def test_there_is_something_of_everything_in_these_histories() -> None:
    everything = [record(busy(seed))[1] for seed in range(20)]
    for name in everything[0].counts:
        assert sum(figures.counts[name] for figures in everything) > 5, name
    assert any(figures.waiting for figures in everything)
    assert any(not figures.left for figures in everything)


# ---- something otherwise


class Line(Played):
    """One worker with one slot; each run takes a second, and ends as its job was told."""

    def __init__(self, fails: dict[str, int] | None = None, **settings: str) -> None:
        super().__init__(
            1, settings={name.replace("_", "-"): value for name, value in settings.items()}
        )
        self.told = fails or {}
        self.worker("w1", 1)

    def took_us(self) -> int:
        return 1_000_000

    def how(self, claim: v.JobClaimed) -> c.JobCommand:
        return ending(claim, fails=claim.attempt <= self.told.get(claim.job, 0))


def line(jobs: int, fails: dict[str, int] | None = None, **settings: str) -> Recording:
    played = Line(fails, **settings)
    played.queue.enqueue_many([{"id": f"job{n}", "command": "true"} for n in range(jobs)])
    played.until(1000)
    return record(played)[0]


@pytest.mark.parametrize(
    ("workers", "slots", "makespan_s"), [(1, 1, 12), (3, 1, 4), (5, 1, 3), (2, 3, 2)]
)
def test_more_workers(workers: int, slots: int, makespan_s: int) -> None:
    figures = simulate(line(12), Plan(workers, slots))
    assert figures.makespan_ms == makespan_s * 1000
    assert figures.wait.max_ms == (makespan_s - 1) * 1000
    assert figures.utilisation == pytest.approx(12 / (makespan_s * workers * slots))


def test_fewer_workers_go_on_until_all_is_over_that_was_over() -> None:
    recording = line(12)
    wide = simulate(recording, Plan(12, 1))
    assert (wide.makespan_ms, wide.counts["completed"], wide.left) == (1000, 12, 0)
    played = Line()
    played.worker("w2", 11)
    played.queue.enqueue_many([{"id": f"job{n}", "command": "true"} for n in range(12)])
    played.until(1)
    narrow = simulate(record(played)[0], Plan(1, 1))
    assert (narrow.makespan_ms, narrow.counts["completed"], narrow.left) == (12_000, 12, 0)


def test_slots_alone_are_those_of_the_workers_that_there_were() -> None:
    assert simulate(line(12), Plan(None, 4)).makespan_ms == 3000


def test_fewer_retries() -> None:
    recording = line(3, {"job1": 3}, backoff="fixed", backoff_base="10")
    as_it_was = simulate(recording)
    assert (as_it_was.counts["runs"], as_it_was.counts["dead"]) == (5, 1)
    once = simulate(recording, Plan(settings={"max_retries": 1}))
    assert (once.counts["runs"], once.counts["dead"], once.makespan_ms) == (3, 1, 3000)


def test_more_retries_are_drawn_from_retries() -> None:
    """Of the retries that there were, all failed, or all succeeded: so do those to come."""
    bad = line(3, {"job1": 3})
    simulation = Simulation(bad, Plan(settings={"max_retries": 6}), 1)
    figures = simulation.run()
    assert (figures.counts["runs"], figures.counts["dead"], simulation.drawn) == (8, 1, 3)
    good = line(40, {f"job{n}": 1 for n in range(30)} | {"job39": 3}, max_retries="2")
    assert good.over == {recorded.spec.job for recorded in good.jobs.values()}
    simulation = Simulation(good, Plan(settings={"max_retries": 9}), 1)
    assert (simulation.run().counts["dead"], simulation.drawn > 0) == (0, True)


def test_another_backoff() -> None:
    recording = line(1, {"job0": 2}, backoff="fixed", backoff_base="10")
    assert simulate(recording).makespan_ms == 23_000
    assert simulate(recording, Plan(settings={"backoff_base": 1.0})).makespan_ms == 5000
    doubled = simulate(recording, Plan(settings={"backoff": "5s,20s"}))
    assert doubled.makespan_ms == 28_000


def test_what_a_job_was_given_itself_it_keeps() -> None:
    played = Line({"job1": 3, "job2": 3, "job3": 3}, backoff="fixed", backoff_base="1")
    played.queue.enqueue_many(
        [
            {"id": "job1", "command": "true", "max_retries": 2},
            {"id": "job2", "command": "true", "backoff_base": 1},
            {"id": "job3", "command": "true"},
        ]
    )
    played.until(1000)
    plan = Plan(settings={"max_retries": 1, "backoff_base": 100.0})
    figures = simulate(record(played)[0], plan)
    assert figures.counts["runs"] == 2 + 1 + 1
    assert figures.makespan_ms == 102_000, "job1 waits for its retry as long as the plan says"
    given = simulate(record(played)[0], Plan(settings={"backoff_base": 100.0}))
    assert given.turnaround.figures()[0][0] < 10_000, "and job2 as long as it was told"


def test_a_worker_that_left_because_nothing_was_left_stays_where_something_is() -> None:
    played = Line({"job0": 1}, backoff="fixed", backoff_base="1")
    played.queue.enqueue("true", id="job0")
    played.until(10)
    played.claims.clear()
    played.leave("w1", NOTHING_LEFT)
    later = simulate(record(played)[0], Plan(settings={"backoff_base": 60.0}))
    assert (later.counts["completed"], later.makespan_ms) == (1, 62_000)


def test_a_shorter_timeout_ends_runs_and_a_longer_one_only_takes_longer() -> None:
    recording = line(2)
    figures = simulate(recording, Plan(settings={"timeout_ms": 400, "max_retries": 1}))
    assert (figures.counts["dead"], figures.makespan_ms) == (2, 800)
    assert simulate(recording, Plan(settings={"timeout_ms": 5000})).makespan_ms == 2000


def test_chance_is_by_the_seed() -> None:
    recording = line(5, {f"job{n}": 2 for n in range(5)}, backoff="fixed", backoff_base="10")
    plan = Plan(settings={"jitter": 1.0})
    one, same, other = (shown(simulate(recording, plan, seed)) for seed in (1, 1, 2))
    assert one == same != other


def test_a_request_that_no_longer_fits_is_counted_and_changes_nothing() -> None:
    played = Line({"job0": 1}, max_retries="1", backoff="fixed", backoff_base="50")
    played.queue.enqueue("true", id="job0")
    played.until(10)
    assert played.ask("retry", "job0")
    played.until(100)
    recording, happened = record(played)
    assert (happened.counts["dead"], happened.counts["completed"]) == (2, 0)
    # Where it has retries, it is not dead when somebody asks: it waits, and runs at once.
    waits = Simulation(recording, Plan(settings={"max_retries": 2}), 1)
    waits.run()
    assert waits.refused == 0
    busy_then = Simulation(recording, Plan(settings={"max_retries": 2, "backoff_base": 8.5}), 1)
    busy_then.run()
    assert busy_then.refused == 1


def test_what_can_never_run_is_left() -> None:
    played = Line()
    played.queue.enqueue("true", id="job0", queue="mail")
    played.until(5)
    played.queue.pause("mail")
    played.queue.enqueue("true", id="job1", queue="mail")
    played.until(10)
    played.queue.set("grace", "5s")
    figures = simulate(record(played)[0], Plan(3, 1))
    assert (figures.left, figures.waiting, figures.counts["runs"]) == (1, 1, 1)
    assert figures.wait.max_ms == 5000, "so long as it has waited"
