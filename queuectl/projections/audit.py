"""Whether a log makes sense as a whole: that every event could have happened, that what compaction
took out was nothing that anybody needs, and that replay gives what is known. Knows no storage."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from msgspec.structs import replace

from queuectl.domain.job import Job
from queuectl.errors import Disproved
from queuectl.events import vocabulary as v
from queuectl.projections.legality import Legality
from queuectl.projections.state import State


class Audit:
    """Sees a log from its first event to its last.

    `known` is what somebody holds to be its outcome, as of some event in it. `compactions` is what
    `Log.compactions` says: where it is not 0, the original events can be shown beside those in
    the log, and have to come to the same.
    """

    def __init__(self, known: State, compactions: int) -> None:
        self._known = known
        self._replayed = _state(compactions)
        self._legality = Legality(compacted=compactions > 0)
        self._original = _state(compactions) if compactions else None
        self._original_legality = Legality(compacted=False)

    def see(self, events: Sequence[v.Event]) -> None:
        """What stands in the log. Raises `Illegal`."""
        self._legality.check(events)
        _fold(self._replayed, events, self._known.offset)

    def see_original(self, events: Sequence[v.Event]) -> None:
        """What stood in it before it was compacted, from the first event on. Raises `Illegal`."""
        if self._original is not None:
            self._original_legality.check(events)
            _fold(self._original, events, self._known.offset)

    def finish(self, *, complete: bool) -> None:
        """All was seen; `complete` says that the originals were, too.

        Raises `Illegal`, and `Disproved` where one of the outcomes is another.
        """
        self._legality.finish()
        agree(self._known, self._replayed)
        if self._original is not None and complete:
            self._original_legality.finish()
            difference = compare(self._original, self._replayed)
            if difference:
                raise Disproved(
                    "the compacted log does not come to what its originals in the archive come to:"
                    f" {difference}"
                )


def _state(compactions: int) -> State:
    state = State()
    state.compactions = compactions
    return state


def _fold(state: State, events: Sequence[v.Event], until: int) -> None:
    if events[-1].offset > until:
        events = [event for event in events if event.offset <= until]
    state.apply(events)


def agree(known: State, replayed: State) -> None:
    """Raises `Disproved` where what is known is not what replaying has given."""
    difference = compare(known, replayed)
    if difference:
        raise Disproved(
            f"what is known is not what replaying the log gives: {difference}; delete the folder"
            " snapshots in the data directory, and report this"
        )


def compare(one: State, other: State) -> str:
    """In what two states differ, for people; empty where they do not."""
    for here, there in zip_longest(one.jobs.select(), other.jobs.select()):
        if here != there and _plain(here) != _plain(there):
            return f"of job {(here or there).id}" if here or there else ""
    for name in ("offset", "counts", "settings", "paused", "redactions", "redacting"):
        if getattr(one, name) != getattr(other, name):
            return f"{name}: {getattr(one, name)} and {getattr(other, name)}"
    if _rows(one) != _rows(other):
        return "the workers"
    if one.statistics.summary() != other.statistics.summary():
        return "the statistics"
    return ""


def _plain(job: Job | None) -> Any:
    # Whether it was enqueued in one batch with others is no part of what a job is; nor is what its
    # line was before values were taken out of it.
    return job and replace(job, spec=replace(job.spec, more=False, original=""))


def _rows(state: State) -> dict[str, Any]:
    return {
        id: replace(row, holding=dict.fromkeys(row.holding))
        for id, row in state.workers.rows.items()
    }
