"""What a shell offers for half a word: ids, queues, keys; knows no command.

It changes nothing, and where it cannot read it offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_OFFERED_MAX = 100


def items(words: Iterable[str], begun: str) -> list[CompletionItem]:
    """Those of a few words that begin so."""
    # Who is asked for it has it loaded.
    from click.shell_completion import CompletionItem

    return [CompletionItem(word) for word in words if word.startswith(begun)]


Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _completer(words: Callable[[Any], Iterable[str]]) -> Completer:
    """Offers those of `words(queue)` that begin as what was typed so far."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        from queuectl.jobqueue import Queue

        found: list[str] = []
        with (
            suppress(Exception),
            Queue(ctx.find_root().params["data"], create=False, salvage=True) as queue,
        ):
            begun = (word for word in words(queue) if word.startswith(incomplete))
            found += islice(begun, _OFFERED_MAX)
        return found

    return complete


jobs = _completer(lambda queue: (job.id for job in queue.jobs(newest_first=True)))
"""Ids, the newest first."""

queues = _completer(
    lambda queue: sorted({job.queue for job in queue.jobs()} | set(queue.known.paused))
)

sinks = _completer(
    lambda queue: sorted(
        name[:-5] for name in queue.host.names(queue.home.sinks) if name.endswith(".json")
    )
)


def settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from queuectl.domain.settings import SETTINGS

    return [setting.key for setting in SETTINGS if setting.key.startswith(incomplete)]
