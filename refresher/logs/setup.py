"""Sets up Python's logging for the whole process: format, level, where the lines go."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TextIO

from refresher.logs.formats import OURS, Entry, JournalFormatter, JsonFormatter, TextFormatter, entry_of
from refresher.logs.stream import BackgroundStream, missing


def configure(log_format: str, level: str, stream: TextIO, redact: Callable[[str], str]) -> Callable[[], int]:
    """Log to `stream` only; `redact` removes the secrets from each text. Returns a function that returns the
    number of lines dropped so far.

    `log_format`: text, json, or auto: text on a terminal and in systemd's journal, JSON otherwise.
    `level`: debug, info, warning or error.
    """
    handler = LineWriter(stream, _formatter(log_format, stream)(redact))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its warnings matter. Its lower levels only help to debug HTTP.
    logging.getLogger("urllib3").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    # Python itself would print uncaught exceptions without redaction.
    sys.excepthook = lambda _kind, error, _trace: _log_uncaught("the process", error)
    threading.excepthook = lambda end: _log_uncaught("a thread", end.exc_value)
    return lambda: stream.dropped if isinstance(stream, BackgroundStream) else 0


def _formatter(log_format: str, stream: TextIO) -> type[TextFormatter] | type[JsonFormatter]:
    if log_format == "auto":
        if _is_journal(stream):
            return JournalFormatter
        log_format = "text" if stream.isatty() else "json"
    return TextFormatter if log_format == "text" else JsonFormatter


def _is_journal(stream: TextIO) -> bool:
    """Whether the stream leads to systemd's journal, which JOURNAL_STREAM identifies (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # a stream without a descriptor
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _log_uncaught(what: str, error: BaseException | None) -> None:
    logging.getLogger(OURS).error(
        "internal error (a bug): it ended %s; please report this with the traceback", what, exc_info=error
    )


class LineWriter(logging.Handler):
    """Writes log records to a stream.

    With a BackgroundStream, the logging thread only takes a snapshot of the record (`Entry`); the stream's
    thread formats, redacts and writes it. To any other stream it writes at once.
    """

    def __init__(self, stream: TextIO, formatter: TextFormatter | JsonFormatter) -> None:
        super().__init__()
        self._stream, self._format = stream, formatter.format
        if isinstance(stream, BackgroundStream):
            stream.gap = self._gap

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry = entry_of(record)
        except Exception as error:  # noqa: BLE001 -- a logged object may raise anything
            source = f"{record.name}, {record.filename}:{record.lineno}"
            entry = _unwritable(Entry(record.created, record.levelno, record.name, source), error)
        if isinstance(self._stream, BackgroundStream):
            self._stream.submit(partial(self._line, entry))
        else:
            self._stream.write(self._line(entry))

    def _line(self, entry: Entry) -> str:
        try:
            return f"{self._format(entry)}\n"
        except Exception as error:  # noqa: BLE001 -- a bug in one line must not stop the lines after it
            return f"{self._format(_unwritable(entry._replace(text=entry.logger), error))}\n"

    def _gap(self, lines: int) -> str:
        extra = {"event": "LinesDropped", "dropped": lines, "vouched": True}
        given = {"name": OURS, "levelno": logging.WARNING, "msg": missing(lines)}
        return self._line(entry_of(logging.makeLogRecord(given | extra)))


def _unwritable(entry: Entry, error: Exception) -> Entry:
    """The entry to write instead of one that cannot be written. It names the source, which `entry` has as its
    text, and omits everything else, which may contain a secret."""
    text = f"a record of {entry.text} cannot be written: {type(error).__name__}"
    return entry._replace(text=text, fields={}, trace=None, vouched=True)
