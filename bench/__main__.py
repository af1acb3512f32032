"""`python -m bench`: measures every row and prints one table."""

from __future__ import annotations

import argparse
import os
import sys
import time

from bench import (
    calling,
    compacting,
    cycling,
    draining,
    enqueueing,
    exporting,
    folding,
    report,
    scale,
    serving,
    shipping,
    waking,
)
from bench.measure import Run

_ROWS = [
    *draining.ROWS,
    *cycling.ROWS,
    *enqueueing.ROWS,
    *folding.ROWS,
    *calling.ROWS,
    *waking.ROWS,
    *scale.ROWS,
    *compacting.ROWS,
    *exporting.ROWS,
    *shipping.ROWS,
    *serving.ROWS,
]
_PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure queuectl against the named references, in one run.",
    )
    names = [row.name for row in _ROWS]
    parser.add_argument("--row", action="append", choices=names, help="only this row (repeatable)")
    parser.add_argument("--quick", action="store_true", help="a short run, not to be quoted")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    parser.add_argument(
        "--data", help="where to put the data (default: a new directory under ./data)"
    )
    options = parser.parse_args()
    if options.write and (options.quick or options.row):
        parser.error("--write is for a whole run: leave --quick and --row out")
    return options


def main() -> int:
    """Measure, print, and say by the exit code whether every goal was met."""
    options = _options()
    # Where this is set, every process would compile all of queuectl anew, which no user's does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    place = options.data or os.path.join("data", time.strftime("bench-%Y%m%d-%H%M%S"))
    os.makedirs(place, mode=0o700, exist_ok=True)
    run = Run(os.path.abspath(place), options.quick)
    rows = [row for row in _ROWS if not options.row or row.name in options.row]
    measured = []
    for row in rows:
        print(f"measuring {row.name}: {row.work} …", file=sys.stderr, flush=True)
        measured.append((row, row.measure(run)))
    print(report.text([report.cells(row, result) for row, result in measured]))
    for row, result in measured:
        print(f"{row.name}: {result.note}", file=sys.stderr)
    if options.write:
        path = os.path.join(_PAGE, "performance.md")
        before = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                before = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(report.page(measured, run.place, time.strftime("%Y-%m-%d"), before))
        print(f"written to {path}; the data is left in {place}", file=sys.stderr)
    return 0 if all(row.is_met(result) for row, result in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
