"""How long a failed job waits before its next run; pure arithmetic."""

from __future__ import annotations

from queuectl.quantities import DURATION_MS_MAX, format_duration, parse_duration_ms

SHAPES = ("exponential", "linear", "fixed", "doubling")


def check(shape: str) -> str:
    """`shape` as it is stored: one of `SHAPES`, or a list of delays like `5s,30s,5m`.

    Raises `ValueError` when it is neither.
    """
    shape = shape.strip().lower()
    if shape in SHAPES:
        return shape
    try:
        delays = [parse_duration_ms(part) for part in shape.split(",")]
    except ValueError:
        raise ValueError(
            f"backoff is {', '.join(SHAPES)}, or a list of delays like 5s,30s,5m"
        ) from None
    return ",".join(map(format_duration, delays))


def delay_ms(
    shape: str, base: float, delay_ms_max: int, attempts: int, jitter: float, chance: float
) -> int:
    """Milliseconds between run number `attempts` and the next.

    `exponential` is `base ** attempts` seconds, `doubling` is `base * 2 ** (attempts - 1)`,
    `linear` is `base * attempts`, `fixed` is `base`; a list gives its n-th delay, then its last.
    `delay_ms_max` (0: none) bounds it; then up to the share `jitter` of it is added by `chance`
    (0 to 1).
    """
    try:
        if shape == "exponential":
            delay = base**attempts * 1000
        elif shape == "doubling":
            delay = base * 2.0 ** (attempts - 1) * 1000
        elif shape == "linear":
            delay = base * attempts * 1000
        elif shape == "fixed":
            delay = base * 1000
        else:
            delays = shape.split(",")
            delay = parse_duration_ms(delays[min(attempts, len(delays)) - 1])
    except OverflowError:
        delay = DURATION_MS_MAX
    delay = min(delay, delay_ms_max or DURATION_MS_MAX)
    return round(delay * (1 + jitter * chance))


def describe(shape: str, base: float, delay_ms_max: int, jitter: float) -> str:
    """The first delays, for people: `2s, 4s, 8s, 16s …`."""
    delays = [delay_ms(shape, base, delay_ms_max, run, 0.0, 0.0) for run in range(1, 5)]
    text = ", ".join(map(format_duration, delays)) + " …"
    return f"{text} (and up to {jitter:.0%} more)" if jitter else text
