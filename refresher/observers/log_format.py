"""Log records as lines of text or of JSON, without secrets in either."""

import json
import logging
import math
import traceback
from collections.abc import Callable, Iterable

from refresher.core.model import SecretStr
from refresher.core.rfc3339 import to_second
from refresher.observers.redaction import blot_out

OURS = "refresher"  # the logger whose name goes without saying

# What a record has by itself; anything else was given as `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "vouched"}

_SYSLOG_LEVELS = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


class _Formatter(logging.Formatter):
    """What both have in common: secrets are blotted out after everything was rendered, the traceback too."""

    def __init__(self, secrets: Callable[[], Iterable[SecretStr]]) -> None:
        super().__init__()
        self._secrets = secrets

    def _clean(self, record: logging.LogRecord, text: str) -> str:
        """`text` without secrets. What is `vouched` for has none: with ten thousand tokens, looking for all
        their secrets would cost each routine line ten milliseconds."""
        return text if getattr(record, "vouched", False) else blot_out(text, self._secrets)

    def _message(self, record: logging.LogRecord) -> str:
        return self._clean(record, record.getMessage())

    def _trace(self, record: logging.LogRecord) -> str:
        """The traceback, or nothing. Not left in the record, where another handler would find it."""
        if not record.exc_info or record.exc_info[1] is None:
            return ""
        return self._clean(record, "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n"))


class TextFormatter(_Formatter):
    """``2026-11-24T19:17:15Z INFO    studio: minted a token``: one record is one line, but for its traceback,
    whose lines are indented so that none of them passes for a record."""

    def format(self, record: logging.LogRecord) -> str:
        source = "" if record.name == OURS else f"{record.name}: "
        line = f"{to_second(record.created)} {record.levelname:<7} {source}{self._message(record)}"
        traced = (f"\n  {_on_one_line(each)}" for each in self._trace(record).splitlines())
        return _on_one_line(line) + "".join(traced)


class JournalFormatter(TextFormatter):
    """``<6>INFO    studio: minted a token``, for systemd's journal, which has the time itself and takes the
    level off each line (sd-daemon(3)): `journalctl -p warning` finds what matters."""

    def format(self, record: logging.LogRecord) -> str:
        level = next(syslog for python, syslog in _SYSLOG_LEVELS if record.levelno >= python)
        _time, _, line = super().format(record).partition(" ")
        return "\n".join(f"<{level}>{each}" for each in line.splitlines())


class JsonFormatter(_Formatter):
    """One JSON object a line: ts, level, logger, message, what was given as `extra`, and exc."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "ts": f"{to_second(record.created)[:-1]}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": self._message(record),
        }
        for name, value in record.__dict__.items():
            if name not in _STANDARD and name not in entry:
                entry[name] = value if _is_plain(value) else self._clean(record, str(value))
        traced = self._trace(record)
        if traced:
            entry["exc"] = traced
        return json.dumps(entry)


def _is_plain(value: object) -> bool:
    """Whether it is a number that JSON has, or nothing. Anything else is told as its text, because there may
    be a secret in it: in a container too."""
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


def _on_one_line(text: str) -> str:
    """`text` with line breaks and whatever else steers a terminal made visible."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
