"""Events told as sentences, for people who read a history or watch a worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from queuectl.domain import payloads
from queuectl.events import vocabulary as v
from queuectl.instants import Instant, between_ms
from queuectl.projections.causes import Cause
from queuectl.projections.timeline import AT_REST, HELD_BACK, RUNNING, WAITED, Step
from queuectl.telling.words import ago, counted, printable, seconds, shorten


def tell(event: v.Event, *, show_env: bool = False) -> str:
    """What happened, in a few safe words."""
    return printable(_tell(event, show_env))


def _tell(event: v.Event, show_env: bool) -> str:
    match event:
        case v.JobEnqueued():
            env = f" with {' '.join(event.env)}" if event.env and show_env else ""
            later = f", to run at {event.run_at}" if event.run_at else ""
            return f"{shorten(payloads.shown(event), 200)}{env}{later} (by {event.actor})"
        case v.JobClaimed():
            return f"run {event.attempt} starts in slot {event.slot} of worker {event.worker}"
        case v.JobCompleted():
            return f"run {event.attempt} completed in {seconds(event.run_ms)}{_left_behind(event)}"
        case v.JobFailed():
            took = f" after {seconds(event.run_ms)}{_left_behind(event)}"
            return f"run {event.attempt} failed{took}: {event.error}"
        case v.JobRetried():
            return f"runs again in {seconds(event.delay_ms)}, at {event.run_at}"
        case v.JobDead():
            return (
                f"dead after {event.attempt} run{'s' if event.attempt != 1 else ''}: {event.error}"
            )
        case v.JobReleased():
            return f"handed back, not counted: {event.reason}"
        case v.LeaseExpired():
            return f"run {event.attempt} lost: {event.reason}"
        case v.JobRedacting():
            offsets = event.offsets or ()
            events = f"event{'s' if len(offsets) != 1 else ''} {', '.join(map(str, offsets))}"
            what = ", ".join(event.fields or ())
            return f"{what} of {events} by {event.actor}{_why(event.reason)}"
        case v.JobRedacted():
            return "nothing of that is left in the log and its archive"
        case v.JobRequeued() | v.JobCancelled() | v.JobPruned():
            return f"by {event.actor}{_why(event.reason)}"
    return _tell_other(event)


def _tell_other(event: v.Event) -> str:
    """What happened to anything but a job."""
    match event:
        case v.WorkerStarted():
            served = f"queue {', '.join(event.queues)}" if event.queues else "all queues"
            slots = counted(event.slots, "slot")
            where = f"on {event.host} as process {event.pid}"
            return f"worker {event.worker} started {where}: {slots}, {served}"
        case v.WorkerStopRequested():
            return f"worker {event.worker} was asked to stop (by {event.actor})"
        case v.WorkerStopped():
            return f"worker {event.worker} stopped{_why(event.reason)}"
        case v.LeaseRenewed():
            return f"worker {event.worker} keeps what it runs until {event.until}"
        case v.SettingChanged():
            return f"{event.key} = {event.value} (by {event.actor})"
        case v.QueuePaused():
            return f"queue {event.queue} paused by {event.actor}{_why(event.reason)}"
        case v.QueueResumed():
            return f"queue {event.queue} resumed by {event.actor}{_why(event.reason)}"
        case v.LogCompacted():
            return f"in place of {counted(event.events, 'event')} that left the log"
        case v.LogRepaired():
            return f"log repaired by {event.actor}{_why(event.reason)}"
    return ""


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


def _left_behind(event: v.FinishEvent) -> str:
    return f", ended {event.escaped} processes it left behind" if event.escaped else ""


def because(cause: Cause, now: Instant) -> str:
    """One link of the chain that made a job what it is, in a few safe words."""
    return printable(_because(cause, now))


def _because(cause: Cause, now: Instant) -> str:
    details = cause.details
    match cause.kind, cause.event:
        case "due", _:
            due, run = details["due_at"], f"run {details['run']} of {details['runs_max']}"
            return f"waits until {due}, in {seconds(between_ms(now, due))}, for {run}"
        case "paused", v.QueuePaused() as event:
            return f"queue {event.queue} is paused by {event.actor}{_why(event.reason)}"
        case "paused", _:
            return f"queue {details['queue']} is paused"
        case "ahead", _:
            return f"then {counted(details['jobs'], 'job')} ahead of it"
        case "workers", _:
            return _workers(details)
        case "next", _:
            return "nothing stands before it: a worker is about to claim it"
        case "lease", _:
            return f"its worker has said that it keeps it until {details['until']}"
        case "worker", _:
            return _worker(details, now)
        case "max-retries", event:
            return f"it was given {counted(details['runs_max'], 'run')} when it was enqueued"
        case _, v.JobEnqueued() as event:
            return f"enqueued by {event.actor}"
        case kind, v.JobRequeued() | v.JobCancelled() | v.JobPruned() as event:
            return f"{kind.removeprefix('job.')} {tell(event)}".replace("pruned", "purged", 1)
        case _, event if event is not None:
            return _tell(event, False)
    return ""


def _workers(details: Mapping[str, Any]) -> str:
    alive, serving, queue = details["alive"], details["serving"], details["queue"]
    if not alive:
        return "no worker is running; start one with: queuectl worker start"
    if not serving:
        return f"{_alive(alive)}, none of them takes jobs of queue {queue}"
    free = f"{details['free_slots']} of {counted(details['slots'], 'slot')} free"
    if serving < alive:
        return f"{_alive(alive)}, {serving} of them take jobs of queue {queue}, with {free}"
    return f"{_alive(alive)}, with {free}"


def _alive(workers: int) -> str:
    return f"{counted(workers, 'worker')} alive"


def _worker(details: Mapping[str, Any], now: Instant) -> str:
    worker, alive = details["worker"], details["alive"]
    if alive is False:
        return f"worker {worker} is gone: another one takes over from it, as soon as one runs"
    heard = ago(between_ms(details["heartbeat_at"], now))
    ending = "is ending its processes" if details["ending"] else "runs it"
    return f"worker {worker} {ending}, heard of {heard}"


def dated(event: v.Event, text: str) -> str:
    """One line about an event: when, which, and the story."""
    return f"{event.at}  {event.offset:>6}  {text}"


def event_line(event: v.Event) -> str:
    """One line about any event, for who watches all of them."""
    words = [v.wire_name(event).ljust(15), getattr(event, "job", ""), tell(event)]
    return dated(event, "  ".join(filter(None, words)))


def forgotten(lost: int) -> str:
    """What is not there where the log up to `lost` could only be folded as it stands."""
    return (
        f"the originals of events up to {lost} are not in the archive: jobs that were forgotten"
        " since are missing"
    )


def lost(first: int, last: int, why: str) -> str:
    """What to say where originals are not in the archive."""
    what = printable(why) or "they are not in the archive"
    return f"of events {first} to {last} only what the log has kept is there: {what}"


def line(step: Step, *, show_env: bool) -> str:
    """One line of a history: when, which event, what it changed, and the story."""
    event = step.event
    before, after = step.changes.get("state", (None, None))
    change = "" if before == after else f"{before or 'new'} -> {after or 'forgotten'}"
    waited = step.took.get(WAITED, 0)
    after = f", after waiting {seconds(waited)}" if isinstance(event, v.JobClaimed) else ""
    told = f"{v.wire_name(event):<14}  {change:<25}  {tell(event, show_env=show_env)}{after}"
    return dated(event, told).rstrip()


def phases(took: Iterable[Mapping[str, int]], runs: int) -> str:
    """How a job has spent its time, all in all."""
    spent: Counter[str] = Counter()
    for part in took:
        spent.update(part)
    parts = [
        f"{seconds(spent[phase])} {phase}"
        + (f" in {counted(runs, 'run')}" if phase == RUNNING else "")
        for phase in (HELD_BACK, WAITED, RUNNING, AT_REST)
        if spent[phase]
    ]
    return f"{seconds(sum(spent.values()))} in all: {', '.join(parts)}" if parts else ""
