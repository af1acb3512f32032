"""What somebody may have meant by a word that is not known."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`: did you mean 'status'?`, to stand behind a complaint; empty if nothing comes close."""
    # Only those who mistype pay for its import.
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), 1)
    return f": did you mean {close[0]!r}?" if close else ""
