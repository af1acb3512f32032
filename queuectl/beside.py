"""Work that goes on in a thread of its own, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def begin(work: Callable[[], _T]) -> Callable[[], _T]:
    """Begin `work`; returns what waits for its end, and then gives its outcome as often as it is
    asked. Where there can be no thread, it is done at once."""
    import threading

    outcomes: list[Callable[[], _T]] = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome_of(work)), daemon=True)
    try:
        thread.start()
    except RuntimeError:  # this user may not have as many
        return outcome_of(work)

    def outcome() -> _T:
        thread.join()
        return outcomes[0]()

    return outcome


def outcome_of(work: Callable[[], _T]) -> Callable[[], _T]:
    """Do it; returns what gives its result, or raises what it raised, as often as it is asked."""
    failure: BaseException
    try:
        value = work()
    except BaseException as error:
        failure = error
    else:
        return lambda: value

    def fail() -> _T:
        raise failure

    return fail
