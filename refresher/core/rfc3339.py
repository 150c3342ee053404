"""Times as text for outputs and people: RFC 3339 in UTC. Wall times are seconds since the epoch."""

import math
from datetime import UTC, datetime

# `datetime` has the years 1 to 9999. Leave a day at both ends, so that every time fits in any UTC offset.
_FIRST, _LAST = -62_135_510_400.0, 253_402_214_400.0


def to_second(wall: float) -> str:
    """Like ``2026-11-05T10:00:00Z``. Fractions are dropped: a shown expiry must not be too late."""
    return _text(datetime.fromtimestamp(math.floor(wall), UTC), "seconds")


def to_microsecond(wall: float) -> str:
    """Like ``2026-11-05T10:00:00.250000Z``, to the nearest microsecond, the precision of a float today."""
    return _text(datetime.fromtimestamp(wall, UTC), "microseconds")


def parse(text: str) -> float:
    """The wall time of `text`, which may have any offset from UTC. Raises ValueError for any other text.

    Dates without a time and times without an offset are refused, because they are ambiguous. The first day
    of the year 1 and the last day of 9999 are refused, because they may not fit in UTC.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset from UTC")
    wall = moment.timestamp()
    if not _FIRST <= wall <= _LAST:
        raise ValueError("a time outside the years 1 to 9999")
    return wall


def _text(moment: datetime, precision: str) -> str:
    return moment.isoformat(timespec=precision).removesuffix("+00:00") + "Z"
