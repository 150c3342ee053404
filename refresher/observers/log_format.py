"""Entries of the log as lines of text or of JSON, without secrets in either."""

import json
import logging
import math
import traceback
from collections.abc import Callable, Mapping
from typing import NamedTuple

from refresher.core.disclosure import printable
from refresher.core.rfc3339 import to_second

OURS = "refresher"  # the logger whose name is not shown

# What a record has by itself; anything else was given as `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "vouched"}
_ALWAYS = frozenset(("ts", "level", "logger", "message"))  # what every line of JSON begins with

_SYSLOG_LEVELS = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


class Entry(NamedTuple):
    """What was logged, as it was at that moment: another thread makes a line of it later.

    `created`: wall seconds. `fields`: what was given as `extra`. `trace`: a snapshot of the exception, which
    keeps no frame and none of its objects. `vouched`: no secret can be in it.
    """

    created: float
    level: int
    logger: str
    text: str
    fields: Mapping[str, str | int | float | None] = {}
    trace: traceback.TracebackException | None = None
    vouched: bool = False


def entry_of(record: logging.LogRecord) -> Entry:
    """The entry that a logger's record is. Raises whatever its message and arguments raise."""
    error = record.exc_info[1] if record.exc_info else None
    trace = None
    if error is not None:
        trace = traceback.TracebackException(
            type(error), error, error.__traceback__, lookup_lines=False, compact=True
        )
    return Entry(
        created=record.created,
        level=record.levelno,
        logger=record.name,
        text=record.getMessage(),
        fields={
            name: value if _is_plain(value) else str(value)
            for name, value in record.__dict__.items()
            if name not in _STANDARD
        },
        trace=trace,
        vouched=getattr(record, "vouched", False),
    )


class _Formatter:
    """What all formats share: `redact` takes the secrets out of each text, the traceback too."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact

    def format(self, entry: Entry) -> str:
        """The line, without its end."""
        raise NotImplementedError

    def _clean(self, entry: Entry, text: str) -> str:
        """`text` without secrets. An entry that is `vouched` for has none: to search each routine line would
        take a quarter of a millisecond."""
        return text if entry.vouched else self._redact(text)

    def _trace(self, entry: Entry) -> str:
        """The traceback, or nothing."""
        return self._clean(entry, "".join(entry.trace.format()).rstrip("\n")) if entry.trace else ""


class TextFormatter(_Formatter):
    """``2026-11-24T19:17:15Z INFO    studio: minted a token``: one entry is one line. The lines of its
    traceback follow, indented, so that none looks like an entry."""

    def format(self, entry: Entry) -> str:
        source = "" if entry.logger == OURS else f"{entry.logger}: "
        level = logging.getLevelName(entry.level)
        line = f"{to_second(entry.created)} {level:<7} {source}{self._clean(entry, entry.text)}"
        traced = (f"\n  {printable(each)}" for each in self._trace(entry).splitlines())
        return printable(line) + "".join(traced)


class JournalFormatter(TextFormatter):
    """``<6>INFO    studio: minted a token``, for systemd's journal. The journal adds the time and reads
    the level from each line (sd-daemon(3)), so that `journalctl -p warning` finds it."""

    def format(self, entry: Entry) -> str:
        level = next(syslog for python, syslog in _SYSLOG_LEVELS if entry.level >= python)
        _time, _, line = super().format(entry).partition(" ")
        return "\n".join(f"<{level}>{each}" for each in line.splitlines())


class JsonFormatter(_Formatter):
    """One JSON object a line: ts, level, logger, message, what was given as `extra`, and exc."""

    def format(self, entry: Entry) -> str:
        line: dict[str, object] = {
            "ts": f"{to_second(entry.created)[:-1]}.{int(entry.created % 1 * 1000):03d}Z",
            "level": logging.getLevelName(entry.level),
            "logger": entry.logger,
            "message": self._clean(entry, entry.text),
        }
        for name, value in entry.fields.items():
            if name not in _ALWAYS:
                line[name] = self._clean(entry, value) if isinstance(value, str) else value
        traced = self._trace(entry)
        if traced:
            line["exc"] = traced
        return json.dumps(line)


def _is_plain(value: object) -> bool:
    """Whether it is None or a number that JSON has. Anything else is logged as text, because it may contain a
    secret; a container may, too."""
    return value is None or (isinstance(value, int | float) and math.isfinite(value))
