"""Exporting a long log to Parquet, verified, against DuckDB's own reading of the same files.

Both are whole processes: the start of Python and the import of DuckDB are in both.
"""

from __future__ import annotations

import os
import subprocess
import sys

from bench import history
from bench.measure import Result, Row, Run, alternate, queuectl, seconds

_DUCKDB = """
import sys
import duckdb

duckdb.execute("SET enable_progress_bar = false")
duckdb.execute(f"COPY (FROM read_json('{sys.argv[1]}/log/*.jsonl')) TO '{sys.argv[2]}'")
"""


def _measure(run: Run) -> Result:
    events = run.times(1_000_000, 100_000)
    root = os.path.join(run.place, f"history-{events}")
    if not os.path.exists(root):
        history.make(root, events)

    def target() -> str:
        directory = run.fresh("exported")
        os.mkdir(directory, 0o700)
        return os.path.join(directory, "events.parquet")

    def ours() -> float:
        export = queuectl("-q", "--data", root, "export", "--to", target())
        return seconds(lambda: subprocess.run(export, check=True))

    def reference() -> float:
        copy = [sys.executable, "-c", _DUCKDB, root, target()]
        return seconds(lambda: subprocess.run(copy, check=True))

    pairs = alternate(run.times(9, 3), ours, reference)
    return Result(pairs, f"{events:,} events, whole processes; ours verifies every line")


ROWS = [
    Row(
        "export-parquet",
        "`queuectl export` of the events of a long log to Parquet",
        "DuckDB's own `COPY (FROM read_json(…)) TO …` of the same files",
        "s",
        1.5,
        False,
        _measure,
    )
]
