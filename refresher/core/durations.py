"""Durations as log lines, messages and tables show them."""

import math

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def humanized(seconds: float) -> str:
    """The two largest units, rounded down: ``3d4h``, ``1h5m``, ``42m10s``, ``8s``; ``-8s`` for the past."""
    rest = int(abs(seconds))
    parts = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        parts.append(f"{count}{unit}" if count else "")
    first = next((at for at, part in enumerate(parts) if part), None)
    if first is None:
        return "0s"
    return ("-" if seconds < 0 else "") + "".join(parts[first : first + 2])


def shown_seconds(seconds: float) -> str:
    """Seconds for a message, rounded up to a tenth, so that just under 10 s is shown as ``10``."""
    return f"{math.ceil(seconds * 10) / 10:g}"
