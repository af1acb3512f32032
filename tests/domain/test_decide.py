"""The rules: every command on a job in every state, and what becomes of the job."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest
from stories import Story, at

from queuectl.domain import commands as c
from queuectl.domain.decide import decide
from queuectl.domain.evolve import ADVANCE, evolve
from queuectl.errors import NotFound, Rejected
from queuectl.events import codec
from queuectl.events import vocabulary as v


def cancelled_while_running() -> Story:
    story = Story().claimed()
    story.asked(c.Cancel)
    return story


def cancelled() -> Story:
    story = Story()
    story.asked(c.Cancel)
    return story


def completed() -> Story:
    story = Story().claimed()
    story.asked(c.Finish, exit_code=0)
    return story


GIVEN: dict[str, Callable[[], Story]] = {
    "pending": Story,
    "scheduled": lambda: Story(run_at=at(1000)),
    "running": lambda: Story().claimed(),
    "waiting for its retry": lambda: Story().failed(),
    "due for its retry": lambda: Story().failed().wait(10),
    "completed": completed,
    "dead": lambda: Story(max_retries=1).failed(),
    "cancelled": cancelled,
    "ending": cancelled_while_running,
}
NOTHING: list[str] = []
# For each state, in the order of GIVEN: what is told, or the error.
WHEN: dict[type[c.JobCommand], list[object]] = {
    c.Enqueue: [Rejected] * 9,
    c.Claim: [
        *[["job.claimed"], NOTHING, NOTHING, NOTHING, ["job.claimed"]],
        *[NOTHING, NOTHING, NOTHING, NOTHING],
    ],
    c.Finish: [
        *[NOTHING, NOTHING, ["job.completed"], NOTHING, NOTHING],
        *[NOTHING, NOTHING, NOTHING, ["job.released"]],
    ],
    c.Release: [
        *[NOTHING, NOTHING, ["job.released"], NOTHING, NOTHING],
        *[NOTHING, NOTHING, NOTHING, ["job.released"]],
    ],
    c.Expire: [
        *[NOTHING, NOTHING, ["lease.expired"], NOTHING, NOTHING],
        *[NOTHING, NOTHING, NOTHING, ["lease.expired"]],
    ],
    c.Cancel: [
        *[["job.cancelled"]] * 5,
        *[Rejected, Rejected, NOTHING, NOTHING],
    ],
    c.Retry: [
        *[Rejected, ["job.requeued"], Rejected, ["job.requeued"], Rejected],
        *[["job.requeued"], ["job.requeued"], ["job.requeued"], Rejected],
    ],
    c.Prune: [
        *[Rejected] * 5,
        *[["job.pruned"], ["job.pruned"], ["job.pruned"], Rejected],
    ],
}


@pytest.mark.parametrize(
    ("kind", "state", "then"),
    [
        pytest.param(kind, state, then, id=f"{kind.__name__} when {state}")
        for kind, thens in WHEN.items()
        for state, then in zip(GIVEN, thens, strict=True)
    ],
)
def test_every_command_in_every_state(kind: type[c.JobCommand], state: str, then: object) -> None:
    story = GIVEN[state]()
    before = story.job
    if isinstance(then, list):
        assert story.asked(kind) == then
    else:
        with pytest.raises(Rejected) as raised:
            story.asked(kind)
        assert raised.value.exit_code == 4
        assert story.job == before


@pytest.mark.parametrize("kind", [kind for kind in WHEN if kind is not c.Enqueue])
def test_nothing_can_be_asked_of_a_job_that_does_not_exist(kind: type[c.JobCommand]) -> None:
    story = Story()
    story.job = None
    with pytest.raises(NotFound, match="no job j"):
        story.asked(kind)
    assert story.asked(c.Enqueue) == ["job.enqueued"]


def test_a_command_without_a_rule_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError):
        decide(Story().job, c.JobCommand(job="j"))


# ---- fencing


@pytest.mark.parametrize("kind", [c.Finish, c.Release, c.Expire])
@pytest.mark.parametrize("off_by", [-1, 1])
def test_a_stale_token_changes_nothing(kind: type[c.JobCommand], off_by: int) -> None:
    story = Story().claimed()
    assert story.job is not None
    assert story.asked(kind, token=story.job.token + off_by) == NOTHING
    assert story.job.state == "processing"


def test_the_token_is_the_offset_of_the_claim_and_dies_with_the_next() -> None:
    story = Story().claimed()
    first = story.job and story.job.token
    assert first == story.told[-1].offset
    story.asked(c.Expire)
    story.claimed()
    assert story.asked(c.Finish, token=first) == NOTHING
    assert story.asked(c.Finish) == ["job.completed"]


# ---- runs are counted


def test_a_job_that_always_fails_runs_as_often_as_it_may_and_dies() -> None:
    story = Story(max_retries=3)
    told, delays = [], []
    for _ in range(3):
        story.wait(100).claimed()
        told.append(story.asked(c.Finish, reason="exit", exit_code=7, error="oops"))
        delays += [fact.delay_ms for fact in story.told[-1:] if isinstance(fact, v.JobRetried)]
    assert told == [["job.failed", "job.retried"]] * 2 + [["job.failed", "job.dead"]]
    assert delays == [2000, 4000]
    job = story.job
    assert job is not None
    assert (job.state, job.attempts, job.exit_code, job.error) == ("dead", 3, 7, "oops")


@pytest.mark.parametrize("max_retries", [0, 1])
def test_zero_and_one_both_mean_one_run(max_retries: int) -> None:
    story = Story(max_retries=max_retries).claimed()
    assert story.asked(c.Finish, reason="exit") == ["job.failed", "job.dead"]


def test_a_first_success_is_one_attempt() -> None:
    job = completed().job
    assert job is not None
    assert (job.state, job.attempts, job.exit_code, job.error) == ("completed", 1, 0, "")


def test_a_lost_run_counts_so_that_a_poisonous_job_dies() -> None:
    story = Story(max_retries=3)
    assert story.claimed().asked(c.Expire) == ["lease.expired"]
    assert story.job is not None
    assert (story.job.state, story.job.attempts) == ("pending", 1)
    assert story.claimed().asked(c.Expire) == ["lease.expired"]
    assert story.claimed().asked(c.Expire, reason="worker died") == ["lease.expired", "job.dead"]
    assert (story.job.state, story.job.attempts) == ("dead", 3)
    assert story.job.error == "worker died"


def test_a_released_run_does_not_count() -> None:
    story = Story(max_retries=1)
    for _ in range(5):
        assert story.claimed().asked(c.Release) == ["job.released"]
        assert story.job is not None
        assert (story.job.state, story.job.attempts) == ("pending", 0)
    assert story.claimed().asked(c.Finish, exit_code=0) == ["job.completed"]
    assert story.job.attempts == 1


def test_retry_begins_a_new_round() -> None:
    story = Story(max_retries=1).failed()
    assert story.asked(c.Retry, actor="me@here", reason="fixed") == ["job.requeued"]
    job = story.job
    assert job is not None
    assert (job.state, job.attempts, job.error, job.exit_code) == ("pending", 0, "", None)
    assert job.runnable_at == job.updated_at
    requeued = story.told[-1]
    assert isinstance(requeued, v.JobRequeued)
    assert (requeued.actor, requeued.reason) == ("me@here", "fixed")


# ---- cancelling


def test_a_running_job_that_is_cancelled_is_held_until_its_worker_says_so() -> None:
    story = Story().claimed()
    story.asked(c.Cancel)
    job = story.job
    assert job is not None
    assert (job.state, job.ending, job.held) == ("cancelled", True, True)
    # Neither a new round nor forgetting, while its processes may be alive.
    for kind in (c.Retry, c.Prune):
        with pytest.raises(Rejected):
            story.asked(kind)
    assert story.asked(c.Finish, exit_code=0) == ["job.released"]
    assert story.job is not None
    assert (story.job.state, story.job.ending, story.job.held) == ("cancelled", False, False)
    assert story.asked(c.Retry) == ["job.requeued"]


def test_a_cancelled_job_whose_worker_died_does_not_run_again() -> None:
    story = cancelled_while_running()
    assert story.asked(c.Expire) == ["lease.expired"]
    assert story.job is not None
    assert (story.job.state, story.job.held) == ("cancelled", False)


# ---- times


def test_a_scheduled_job_is_claimed_from_its_time_on() -> None:
    story = Story(run_at=at(10))
    assert story.asked(c.Claim, now=at(9.999)) == NOTHING
    assert story.asked(c.Claim, now=at(10)) == ["job.claimed"]


def test_a_run_at_in_the_past_counts_from_enqueueing() -> None:
    job = Story(run_at=at(-50)).job
    assert job is not None
    assert job.runnable_at == at(0)


def test_waiting_is_counted_from_when_it_could_run() -> None:
    story = Story(run_at=at(10)).wait(29)
    story.claimed()
    story.asked(c.Finish, exit_code=0, run_ms=5)
    assert story.job is not None
    assert (story.job.wait_ms, story.job.run_ms) == (20_000, 5)


@pytest.mark.parametrize(
    ("own", "worker", "delay_ms"), [(False, None, 2000), (False, 5.0, 5000), (True, 5.0, 2000)]
)
def test_a_workers_backoff_base_is_for_jobs_that_set_none(
    own: bool, worker: float | None, delay_ms: int
) -> None:
    story = Story(backoff_base_own=own).claimed()
    story.asked(c.Finish, reason="exit", backoff_base=worker)
    retried = story.told[-1]
    assert isinstance(retried, v.JobRetried)
    assert retried.delay_ms == delay_ms
    assert retried.run_at == at(story.seconds + delay_ms / 1000)


def test_jitter_comes_from_the_command() -> None:
    story = Story(jitter=0.5).claimed()
    story.asked(c.Finish, reason="exit", chance=1.0)
    assert isinstance(story.told[-1], v.JobRetried)
    assert story.told[-1].delay_ms == 3000


# ---- what is told


def test_what_ends_a_run_says_all_about_it() -> None:
    story = Story(queue="q").claimed()
    story.asked(c.Finish, exit_code=0, run_ms=1, cpu_ms=2, stdout_bytes=3, stderr_bytes=4)
    done = story.told[-1]
    assert isinstance(done, v.JobCompleted)
    assert (done.queue, done.attempt, done.worker, done.token) == ("q", 1, "w", 2)
    assert (done.run_ms, done.cpu_ms, done.stdout_bytes, done.stderr_bytes) == (1, 2, 3, 4)


@pytest.mark.parametrize("state", GIVEN)
def test_every_fact_names_queue_and_attempt(state: str) -> None:
    for event in GIVEN[state]().told:
        assert isinstance(event, v.JobEvent)
        assert (event.job, event.queue) == ("j", "default")
        line = orjson.loads(codec.encode(event))
        assert line["queue"] == "default"
        assert line["attempt"] == event.attempt >= 0
        if not isinstance(event, v.JobEnqueued | v.JobRequeued | v.JobCancelled):
            assert event.attempt == 1


# ---- evolve


@pytest.mark.parametrize("kind", [kind for kind in ADVANCE if kind is not v.JobEnqueued])
def test_evolve_is_total_also_about_jobs_unknown(kind: type[v.JobEvent]) -> None:
    assert evolve(None, kind(offset=1, at=at(0), job="j")) is None


@pytest.mark.parametrize("state", GIVEN)
@pytest.mark.parametrize("kind", ADVANCE)
def test_evolve_takes_any_event_in_any_state_and_leaves_the_old_job_alone(
    state: str, kind: type[v.JobEvent]
) -> None:
    story = GIVEN[state]()
    before, same = story.job, GIVEN[state]().job
    after = evolve(before, kind(offset=99, at=at(99), job="j"))
    assert before == same
    assert after is None or after.offset == 99
    assert (after is None) == (kind is v.JobPruned)


def test_every_event_about_a_job_has_a_rule() -> None:
    kinds = {kind for kind in vars(v).values() if isinstance(kind, type)}
    about_jobs = {
        kind
        for kind in kinds
        if issubclass(kind, v.JobEvent) and "." in str(kind.__struct_config__.tag)
    }
    assert set(ADVANCE) == about_jobs
