"""What is taken out of the events of a job, and what becomes of the job by that."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from stories import Story

from queuectl.domain import commands as c
from queuectl.domain.decide import decide
from queuectl.domain.evolve import evolve
from queuectl.domain.job import Job
from queuectl.domain.redaction import FIELDS, RUN, TEXT, held, redacted
from queuectl.errors import Rejected
from queuectl.events import vocabulary as v

SECRET = "hunter2"
FULL = v.JobEnqueued(
    job="j",
    command=SECRET,
    argv=[SECRET],
    cwd=SECRET,
    env=[SECRET],
    secret_env=[SECRET],
    tags=[SECRET],
    actor=SECRET,
)
EVENTS: list[v.JobEvent] = [
    FULL,
    v.JobFailed(job="j", reason="exit", error=SECRET),
    v.JobDead(job="j", error=SECRET),
    v.LeaseExpired(job="j", reason=SECRET),
    v.JobRequeued(job="j", actor=SECRET, reason=SECRET),
    v.JobCancelled(job="j", actor=SECRET, reason=SECRET),
    v.JobPruned(job="j", actor=SECRET, reason=SECRET),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: v.wire_name(event))
def test_nothing_is_left_of_any_field(event: v.JobEvent) -> None:
    after = redacted(event, FIELDS)
    assert SECRET not in str(after) and SECRET in str(event)
    assert after.redacted == sorted(held(event, FIELDS))
    assert held(after, FIELDS) == []
    assert redacted(after, FIELDS) is after, "once is enough"


@pytest.mark.parametrize("field", FIELDS)
def test_one_field_at_a_time(field: str) -> None:
    for event in EVENTS:
        names = held(event, [field])
        after = redacted(event, [field])
        back = {name: getattr(event, name) for name in names}
        assert replace(after, redacted=None, **back) == event


def test_what_is_empty_stays_empty_and_what_tells_how_it_ended_stays() -> None:
    assert held(v.JobEnqueued(job="j", command="x"), FIELDS) == ["command"]
    assert held(v.JobFailed(job="j", reason="exit"), FIELDS) == []
    assert held(v.JobReleased(job="j", reason="stopping"), FIELDS) == []
    assert held(v.JobRedacting(job="j", actor="ann", reason="why"), FIELDS) == []


def test_a_job_is_the_same_whether_its_events_were_redacted_before_or_after() -> None:
    story = Story(max_retries=2, command=SECRET, env=[SECRET], actor=SECRET).failed().wait(9)
    story.claimed().asked(c.Expire, reason=SECRET)
    assert SECRET in str(story.job)
    for fields in (["command"], ["env", "error"], list(FIELDS)):
        asked = v.JobRedacting(job="j", fields=fields, offset=story.offset + 1, at="2027")
        events = [*story.told, asked]
        before: Job | None = None
        for event in events:
            before = evolve(before, redacted(event, fields))  # type: ignore[type-var]
        assert evolve(story.job, asked) == before
        assert evolve(None, asked) is None
    assert SECRET not in str(before)


@pytest.mark.parametrize("field", sorted(RUN))
def test_a_job_keeps_what_it_needs_until_it_is_over(field: str) -> None:
    story = Story(command=SECRET, env=[SECRET], cwd=SECRET, secret_env=[SECRET])
    fact = v.JobRedacting(job="j", fields=[field])
    for again in (lambda: None, story.claimed, lambda: story.asked(c.Cancel)):
        again()
        with pytest.raises(Rejected, match=f"needs its {field}"):
            story.would(c.Redact, facts=[fact])
    story.asked(c.Release)
    assert story.asked(c.Redact, facts=[fact]) == ["job.redacting"]
    with pytest.raises(Rejected, match="without what was redacted"):
        story.would(c.Retry)


def test_what_it_does_not_need_goes_at_any_time() -> None:
    story = Story(tags=[SECRET]).claimed()
    fact = v.JobRedacting(job="j", fields=["tags", "error", "actor"])
    assert story.asked(c.Redact, facts=[fact]) == ["job.redacting"]
    assert story.job is not None and story.job.spec.tags == [TEXT]
    assert decide(None, c.Redact(job="j", facts=[fact])) == [fact], "also of one that is forgotten"
