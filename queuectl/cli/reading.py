"""What commands share that read all of a log for one answer: the bar, and a word on what the answer
could not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.errors import PartlyDone
from queuectl.telling.moments import Named
from queuectl.telling.story import lost
from queuectl.telling.words import printable

if TYPE_CHECKING:
    from queuectl.exports.source import Source


@contextmanager
def reading(
    app: App, *, since: Named | None = None, until: Named | None = None, show_env: bool = False
) -> Iterator[tuple[Source, Progress]]:
    """What there is to read, and a bar that has to be cleared before the answer is printed.

    Raises `PartlyDone` at the end where the log is damaged, and says what the archive lacks.
    """
    from queuectl.exports.source import Source

    with app.open() as queue, Progress(app) as progress:
        source = Source(
            queue,
            since=since.time(queue) if since is not None else "",
            until=until.time(queue) if until is not None else "",
            show_env=show_env,
            progress=progress,
        )
        yield source, progress
        progress.clear()
        for gap in dict.fromkeys(source.gaps):
            app.say(lost(*gap))
        for job, why in source.cut.items():
            app.say(f"of job {job} there is only the beginning: {printable(why)}")
        damage = queue.damage
        if damage is not None:
            raise PartlyDone(
                f"this goes as far as event {damage.offset}, where the log is damaged:"
                f" {damage.why} in {damage.file} at byte {damage.position}; queuectl log repair"
                " mends it"
            )
