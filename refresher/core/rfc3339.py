"""Moments as outputs and people are told them: RFC 3339 in UTC. Wall times are seconds since the epoch."""

import math
from datetime import UTC, datetime


def to_second(wall: float) -> str:
    """Like ``2026-11-05T10:00:00Z``. Fractions are dropped: an expiry must not be told later than it is."""
    return _text(datetime.fromtimestamp(math.floor(wall), UTC), "seconds")


def to_microsecond(wall: float) -> str:
    """Like ``2026-11-05T10:00:00.250000Z``: the nearest microsecond; a float of today holds no more."""
    return _text(datetime.fromtimestamp(wall, UTC), "microseconds")


def parse(text: str) -> float:
    """The wall time that `text` tells, in any offset from UTC. Raises ValueError for anything else.

    Dates alone, and times without an offset, are refused: they name no moment.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset from UTC")
    return moment.timestamp()


def _text(moment: datetime, precision: str) -> str:
    return moment.isoformat(timespec=precision).removesuffix("+00:00") + "Z"
