"""How a log line looks: as text, for systemd's journal, as JSON; without secrets."""

import json
import logging
import math
import traceback
from collections.abc import Callable, Mapping
from typing import NamedTuple

from refresher.core.disclosure import printable
from refresher.core.rfc3339 import to_second

OURS = "refresher"  # our logger; text lines omit its name

# The attributes that every record has. All others come from `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "vouched"}
_ALWAYS = frozenset(("ts", "level", "logger", "message"))  # the first fields of each JSON line

_SYSLOG_LEVELS = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


class Entry(NamedTuple):
    """A snapshot of a log record. Another thread formats it later, when the logged objects may have changed.

    `created`: wall seconds. `fields`: the record's `extra`. `trace`: a snapshot of the exception, without
    references to its frames and their objects. `vouched`: it cannot contain a secret (`lines.Line`).
    """

    created: float
    level: int
    logger: str
    text: str
    fields: Mapping[str, str | int | float | None] = {}
    trace: traceback.TracebackException | None = None
    vouched: bool = False


def entry_of(record: logging.LogRecord) -> Entry:
    """A snapshot of `record`. Raises what the formatting of its message and arguments raises."""
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
    """What all formats share: `redact` removes the secrets from each text and from the traceback."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact

    def format(self, entry: Entry) -> str:
        """The line, without its line end."""
        raise NotImplementedError

    def _clean(self, entry: Entry, text: str) -> str:
        """`text` without secrets. A vouched entry has none, and is not searched: that saves a quarter of a
        millisecond for each routine line."""
        return text if entry.vouched else self._redact(text)

    def _trace(self, entry: Entry) -> str:
        """The traceback; empty without one."""
        return self._clean(entry, "".join(entry.trace.format()).rstrip("\n")) if entry.trace else ""


class TextFormatter(_Formatter):
    """``2026-11-24T19:17:15Z INFO    studio: minted a token``: one entry is one line. The lines of
    its traceback follow, indented, so that none looks like an entry."""

    def format(self, entry: Entry) -> str:
        source = "" if entry.logger == OURS else f"{entry.logger}: "
        level = logging.getLevelName(entry.level)
        line = f"{to_second(entry.created)} {level:<7} {source}{self._clean(entry, entry.text)}"
        traced = (f"\n  {printable(part)}" for part in self._trace(entry).splitlines())
        return printable(line) + "".join(traced)


class JournalFormatter(TextFormatter):
    """``<6>INFO    studio: minted a token``, for systemd's journal. The journal adds the time and reads
    the level from each line (sd-daemon(3)), so that `journalctl -p warning` finds it."""

    def format(self, entry: Entry) -> str:
        level = next(syslog for python, syslog in _SYSLOG_LEVELS if entry.level >= python)
        _time, _, line = super().format(entry).partition(" ")
        return "\n".join(f"<{level}>{part}" for part in line.splitlines())


class JsonFormatter(_Formatter):
    """One JSON object a line: ts, level, logger, message, the fields of `extra`, and exc."""

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
    """Whether `value` is None or a number that JSON has. Anything else, containers too, may contain a secret:
    it is logged as redacted text."""
    return value is None or (isinstance(value, int | float) and math.isfinite(value))
