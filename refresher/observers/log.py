"""The log: one line for what happened, on standard error."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TextIO

from refresher.core.instant import Instant
from refresher.core.notifications import (
    Crashed,
    LeaderChanged,
    LeaseFailed,
    Notification,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    TokenMinted,
)
from refresher.core.rfc3339 import to_second
from refresher.observers.log_format import (
    OURS,
    Entry,
    JournalFormatter,
    JsonFormatter,
    TextFormatter,
    entry_of,
)
from refresher.observers.log_stream import BackgroundStream, missing
from refresher.observers.repeats import Episode, Repeats, sort_of
from refresher.observers.sentences import told


class LogObserver:
    """`ports.Observer` that writes a log line for each notification.

    INFO: all is well. WARNING: something fails, but consumers are served. ERROR: the key is refused,
    consumers have no valid token, an output cannot be written, or the program has a bug. A failure that
    repeats itself has one line in five minutes, with the number of those left out. `goes_on`: the process
    itself will retry what has failed.
    """

    def __init__(self, *, goes_on: bool = True) -> None:
        self._goes_on = goes_on
        self._logger = logging.getLogger(OURS)
        self._repeats = Repeats()

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        line = told(notification, now, goes_on=self._goes_on)
        text = f"{token}: {line.text}" if token else line.text
        fields: dict[str, object] = {"token": token} if token else {}
        failing = _failing(notification)
        if failing is not None:
            subject, sort = failing
            episode = self._repeats.failed(token, subject, f"{line.level} {sort}", now)
            if episode is None:
                return
            text += _history(episode)
            fields |= {"since": to_second(episode.since.wall), "failures": episode.times}
        over = [self._repeats.mended(token, subject, now) for subject in _mended(notification)]
        if since := [episode.since.wall for episode in over if episode is not None]:
            text += f"; it had failed since {to_second(min(since))}"
        self._logger.log(
            line.level,
            text,
            exc_info=line.error,
            extra={"event": type(notification).__name__, "vouched": line.vouched, **fields, **line.fields},
        )


def _failing(notification: Notification) -> tuple[str, str] | None:
    """What has failed, and in which way; None if every notification of this kind has its own line."""
    match notification:
        case RefreshFailed(outcome=outcome, message=message, key_fingerprint=key):
            return f"mint {key}", f"{outcome} {sort_of(message)}"
        case OutputFailed(output=output, message=message, expiry=expiry, writing=writing):
            return f"{'write' if writing else 'read'} {output}", f"{expiry is None} {sort_of(message)}"
        case LeaseFailed(lease=lease, message=message):
            return f"lease {lease}", sort_of(message)
        case Crashed(what=what, error=error):
            return f"crash {what}", repr(error)
    return None


def _mended(notification: Notification) -> tuple[str, ...]:
    """What works again."""
    match notification:
        case TokenMinted(facts=facts):
            return (f"mint {facts.key_fingerprint}",)
        case LeaderChanged(lease=lease):
            return (f"lease {lease}",)
        case OutputWritten(output=output):
            return f"write {output}", f"read {output}"
    return ()


def _history(episode: Episode) -> str:
    """What to add to the line of a failure: nothing for the first."""
    if episode.times == 1:
        return ""
    text = f"; failing since {to_second(episode.since.wall)}, {episode.times} times so far"
    return text + (f", {episode.left_out} of them not logged" if episode.left_out else "")


def configure(log_format: str, level: str, stream: TextIO, redact: Callable[[str], str]) -> Callable[[], int]:
    """Log to `stream` and nowhere else; `redact` takes the secrets out of each text. What is returned counts
    the lines that were dropped so far.

    `log_format`: text, json, or auto: text on a terminal and in systemd's journal, JSON otherwise.
    `level`: debug, info, warning or error.
    """
    handler = LineWriter(stream, _formatter(log_format, stream)(redact))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its warnings deserve a line. Its lower levels help only to debug HTTP.
    logging.getLogger("urllib3").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    # Python itself would print uncaught exceptions without redaction.
    sys.excepthook = lambda _kind, error, _trace: _tell_uncaught("the process", error)
    threading.excepthook = lambda end: _tell_uncaught("a thread", end.exc_value)
    return lambda: stream.dropped if isinstance(stream, BackgroundStream) else 0


def _formatter(log_format: str, stream: TextIO) -> type[TextFormatter] | type[JsonFormatter]:
    if log_format == "auto":
        if _is_journal(stream):
            return JournalFormatter
        log_format = "text" if stream.isatty() else "json"
    return TextFormatter if log_format == "text" else JsonFormatter


def _is_journal(stream: TextIO) -> bool:
    """Whether the stream leads to systemd's journal: JOURNAL_STREAM names what does (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # it has no descriptor
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _tell_uncaught(what: str, error: BaseException | None) -> None:
    text = f"a mistake of the refresher itself ended {what}; please report it, with the traceback"
    logging.getLogger(OURS).error(text, exc_info=error)


class LineWriter(logging.Handler):
    """Logs to a stream. With a BackgroundStream, the thread that logs makes an entry of the record, which
    nothing changes any more; formatting, redaction and writing are left to the stream's thread. To any other
    stream it writes at once.
    """

    def __init__(self, stream: TextIO, formatter: TextFormatter | JsonFormatter) -> None:
        super().__init__()
        self._stream, self._format = stream, formatter.format
        if isinstance(stream, BackgroundStream):
            stream.gap = self._gap

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry = entry_of(record)
        except Exception as error:  # noqa: BLE001 -- an object that is logged may raise anything
            source = f"{record.name}, {record.filename}:{record.lineno}"
            entry = _unwritable(Entry(record.created, record.levelno, record.name, source), error)
        if isinstance(self._stream, BackgroundStream):
            self._stream.submit(partial(self._line, entry))
        else:
            self._stream.write(self._line(entry))

    def _line(self, entry: Entry) -> str:
        try:
            return f"{self._format(entry)}\n"
        except Exception as error:  # noqa: BLE001 -- a mistake in one line must not end all later ones
            return f"{self._format(_unwritable(entry._replace(text=entry.logger), error))}\n"

    def _gap(self, lines: int) -> str:
        extra = {"event": "LinesDropped", "dropped": lines, "vouched": True}
        given = {"name": OURS, "levelno": logging.WARNING, "msg": missing(lines)}
        return self._line(entry_of(logging.makeLogRecord(given | extra)))


def _unwritable(entry: Entry, error: Exception) -> Entry:
    """An entry in place of one that cannot be written, whose text is the source. Nothing else of it is
    reported: there may be a secret in it."""
    text = f"a record of {entry.text} cannot be written: {type(error).__name__}"
    return entry._replace(text=text, fields={}, trace=None, vouched=True)
