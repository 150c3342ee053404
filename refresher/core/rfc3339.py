"""Moments as outputs and people are told them: RFC 3339 in UTC. Wall times are seconds since the epoch."""

import math
from datetime import UTC, datetime

# A day short of the years 1 and 9999 in UTC, between which a moment can be told: what is told in another
# offset, or reckoned from there, must be able to be told as well.
_FIRST, _LAST = -62_135_510_400.0, 253_402_214_400.0


def to_second(wall: float) -> str:
    """Like ``2026-11-05T10:00:00Z``. Fractions are dropped: an expiry must not be told later than it is."""
    return _text(datetime.fromtimestamp(math.floor(wall), UTC), "seconds")


def to_microsecond(wall: float) -> str:
    """Like ``2026-11-05T10:00:00.250000Z``: the nearest microsecond; a float of today holds no more."""
    return _text(datetime.fromtimestamp(wall, UTC), "microseconds")


def parse(text: str) -> float:
    """The wall time that `text` tells, in any offset from UTC. Raises ValueError for anything else.

    Dates alone, and times without an offset, are refused: they name no moment. So are those that could not be
    told in UTC, on the first day of the year 1 and the last of 9999.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset from UTC")
    wall = moment.timestamp()
    if not _FIRST <= wall <= _LAST:
        raise ValueError("a time outside of the years 1 to 9999")
    return wall


def _text(moment: datetime, precision: str) -> str:
    return moment.isoformat(timespec=precision).removesuffix("+00:00") + "Z"
