"""Events told as sentences, for people who read a history or watch a worker."""

from __future__ import annotations

from queuectl.cli.text import printable, seconds, shorten
from queuectl.domain import payloads
from queuectl.events import vocabulary as v
from queuectl.projections.timeline import Step


def tell(event: v.Event, *, show_env: bool = False) -> str:
    """What happened to the job, in a few safe words."""
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
            events = ", ".join(map(str, event.offsets or ()))
            why = f": {event.reason}" if event.reason else ""
            return f"{', '.join(event.fields or ())} of events {events} by {event.actor}{why}"
        case v.JobRedacted():
            return "nothing of that is left in the log and its archive"
        case v.JobRequeued() | v.JobCancelled() | v.JobPruned():
            why = f": {event.reason}" if event.reason else ""
            return f"by {event.actor}{why}"
    return ""


def _left_behind(event: v.FinishEvent) -> str:
    return f", ended {event.escaped} processes it left behind" if event.escaped else ""


def line(step: Step, *, show_env: bool) -> str:
    """One line of a history: when, which event, what it changed, and the story."""
    event = step.event
    before, after = step.changes.get("state", (None, None))
    change = "" if before == after else f"{before or 'new'} -> {after or 'forgotten'}"
    return (
        f"{event.at}  {event.offset:>6}  {v.wire_name(event):<14}"
        f"  {change:<25}  {tell(event, show_env=show_env)}"
    ).rstrip()
