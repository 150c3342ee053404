"""Durations as people write them, and back. Seconds in, seconds out."""

import re
from collections.abc import Iterable
from typing import NoReturn

from refresher.config.quoting import shown

ACCEPTED = "a duration such as 90s, 15m, 1h30m or 2.5s (a bare number is seconds)"
LONGEST = 100 * 365 * 86400.0  # a century; beyond it clocks overflow, and nobody means it
LONGEST_TEXT = 64

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
PATTERN = (
    rf"(?=[0-9])(?:({_NUMBER})d)?(?:({_NUMBER})h)?(?:({_NUMBER})m(?!s))?(?:({_NUMBER})s)?(?:({_NUMBER})ms)?"
    rf"|{_NUMBER}"
)
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def parse_duration(value: object) -> float:
    """Seconds from a text such as ``1h30m``, or from a number of seconds.

    Units are d, h, m, s and ms, each at most once, larger ones first. Raises ValueError, with what was given
    and what is accepted, for anything else: a negative or infinite number, NaN, more than a century, a
    boolean, a text with two meanings.
    """
    if isinstance(value, str):
        seconds = _parse_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= LONGEST:  # false for NaN as well
            _refuse(value)
        seconds = float(value)
    else:
        _refuse(value)
    return seconds


def format_duration(seconds: float) -> str:
    """`seconds` in the notation of `parse_duration`, to the millisecond: ``1h30m``, ``2.5s``, ``0s``.

    Days begin at ``2d``: people say 24h.
    """
    milliseconds = round(seconds * 1000)
    if milliseconds < 0:
        return "-" + format_duration(-seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24) if hours >= 48 else (0, hours)
    parts = [f"{count}{unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if count]
    if rest or not parts:
        parts.append(f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s")
    return "".join(parts)


def _parse_text(text: str) -> float:
    match = re.fullmatch(PATTERN, text) if len(text) <= LONGEST_TEXT else None
    if match is None:
        _refuse(text)
    if any(match.groups()):
        pairs = zip(match.groups(), _UNITS, strict=True)
        seconds = sum(float(count) * unit for count, unit in pairs if count)
    else:
        seconds = float(text)
    if seconds > LONGEST:
        _refuse(text)
    return seconds


def clock_readings(value: object) -> tuple[str, ...]:
    """Both meanings of a text such as ``1:30``, in the notation of `parse_duration`."""
    clock = isinstance(value, str) and re.fullmatch(r"([0-9]{1,2}):([0-5]?[0-9])", value)
    return (f"{clock[1]}m{clock[2]}s", f"{clock[1]}h{clock[2]}m") if clock else ()


def two_meanings(text: str, readings: Iterable[str]) -> ValueError:
    """The error about a text with these `readings`."""
    return ValueError(f"{shown(text)} could be minutes or hours; write {' or '.join(readings)}")


def _refuse(value: object) -> NoReturn:
    if readings := clock_readings(value):
        raise two_meanings(str(value), readings)
    raise ValueError(f"{shown(value)} is not a duration; accepted: {ACCEPTED}")
