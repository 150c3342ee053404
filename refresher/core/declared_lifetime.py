"""The lifetime that a response of an issuer states, in seconds."""

import math
import re

from refresher.core import rfc3339
from refresher.core.issuer_response import UnusableError

_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")  # some servers send numbers as texts
_IN_MILLISECONDS = 1e11  # as seconds, this is the year 5138


def from_expires_in(value: object, name: str) -> float:
    """The lifetime in `value`, the field `name`. Infinite if missing. Raises UnusableError if it is no number
    of seconds, and if it is zero or less: such a token has expired already."""
    if value is None:
        return math.inf
    seconds = _number(value)
    if seconds is None:
        raise UnusableError(f"its {name} is not a number of seconds")
    if seconds <= 0:
        raise UnusableError(f"its {name} is {seconds:g}: the token has expired already")
    return seconds


def from_expires_at(value: object, name: str, date: float) -> float:
    """The time from `date` to `value`, the field `name`: wall seconds or RFC 3339. Infinite if missing.

    `date`: the present by the issuer's clock, so that only its clock is compared with itself. A Date header
    has whole seconds, so subtract one. Raises UnusableError.
    """
    if value is None:
        return math.inf
    wall = _number(value)
    if wall is None and isinstance(value, str):
        try:
            wall = rfc3339.parse(value)
        except (ValueError, OverflowError):
            wall = None
    if wall is None or abs(wall) >= _IN_MILLISECONDS:
        raise UnusableError(f"its {name} is not a time; accepted: seconds since 1970, or RFC 3339")
    if wall - 1 <= date:
        raise UnusableError(f"its {name} has passed: the token has expired already")
    return wall - 1 - date


def _number(value: object) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # an integer of hundreds of digits
