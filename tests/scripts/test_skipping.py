"""What `make test` says on a machine that lacks what some tests need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LACKS = """
import sys
class Lacks:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "playwright":
            raise ModuleNotFoundError(name)
import importlib.util as util
find = util.find_spec
util.find_spec = lambda name, *more: None if name == "playwright" else find(name, *more)
sys.meta_path.insert(0, Lacks())
"""


def skipped(path: str, code: str = "") -> list[str]:
    pages = str(CHECKOUT / "tests" / "web" / "pages")
    words = ["-rs", "-p", "no:cacheprovider", "-p", "no:xdist", pages]
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport pytest, sys\nsys.exit(pytest.main({words!r}))"],
        cwd=CHECKOUT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    return [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]


def test_who_has_no_browser_is_told_once_what_was_skipped_and_how_to_get_it() -> None:
    (said,) = skipped(path="")
    assert said.endswith(
        "no page was looked at in a browser, which needs chromium: apt-get install chromium"
    )
    (said,) = skipped(path="", code=LACKS)
    assert "needs playwright: pip install" in said and "apt-get install chromium" in said
