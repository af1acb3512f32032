"""Whether there is what pages are looked at with."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")
_NEEDED = {
    "playwright: pip install -e '.[dev]'": find_spec("playwright") is not None,
    "chromium: apt-get install chromium": CHROMIUM != "",
}
MISSING = ", and ".join(how for how, is_there in _NEEDED.items() if not is_there)
"""What is not there, and how to get it; empty where nothing is missing."""
