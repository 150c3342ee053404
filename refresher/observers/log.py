"""The log: one line for what happened, on standard error."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TextIO

from refresher.core.announcements import (
    Announcement,
    Crashed,
    LeadershipTurned,
    LeaseFailed,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    TokenMinted,
)
from refresher.core.instant import Instant
from refresher.core.model import SecretStr
from refresher.core.rfc3339 import to_second
from refresher.errors import ConfigurationError, Mistake
from refresher.observers.log_format import OURS, JournalFormatter, JsonFormatter, TextFormatter
from refresher.observers.repeats import Episode, Repeats, sort_of
from refresher.observers.sentences import told

FORMATS = ("auto", "text", "json")
LEVELS = ("debug", "info", "warning", "error")


class LogObserver:
    """`ports.Observer` that writes a log line for each announcement.

    INFO for what goes as it should, WARNING for what fails while consumers are still served, ERROR for a
    refused key, consumers without a valid token, an output that cannot be written, and our own mistakes. Of
    failures that repeat themselves one in five minutes is told, with how many were left out. `goes_on`: the
    process tries again by itself what has failed.
    """

    def __init__(self, *, goes_on: bool = True) -> None:
        self._goes_on = goes_on
        self._logger = logging.getLogger(OURS)
        self._repeats = Repeats()

    def notice(self, token: str, announcement: Announcement, now: Instant) -> None:
        line = told(announcement, now, goes_on=self._goes_on)
        text = f"{token}: {line.text}" if token else line.text
        fields: dict[str, object] = {"token": token} if token else {}
        failing = _failing(announcement)
        if failing is not None:
            subject, sort = failing
            episode = self._repeats.failed(token, subject, f"{line.level} {sort}", now)
            if episode is None:
                return
            text += _history(episode)
            fields |= {"since": to_second(episode.since.wall), "failures": episode.times}
        over = [self._repeats.mended(token, subject, now) for subject in _mended(announcement)]
        if since := [episode.since.wall for episode in over if episode is not None]:
            text += f"; it had failed since {to_second(min(since))}"
        self._logger.log(
            line.level,
            text,
            exc_info=line.error,
            extra={"event": type(announcement).__name__, "vouched": line.vouched, **fields, **line.fields},
        )


def _failing(announcement: Announcement) -> tuple[str, str] | None:
    """What has failed, and in which way; None for what is told each time."""
    match announcement:
        case RefreshFailed(outcome=outcome, message=message, key_fingerprint=key):
            return f"mint {key}", f"{outcome} {sort_of(message)}"
        case OutputFailed(output=output, message=message, expiry=expiry, writing=writing):
            return f"{'write' if writing else 'read'} {output}", f"{expiry is None} {sort_of(message)}"
        case LeaseFailed(lease=lease, message=message):
            return f"lease {lease}", sort_of(message)
        case Crashed(what=what, error=error):
            return f"crash {what}", repr(error)
    return None


def _mended(announcement: Announcement) -> tuple[str, ...]:
    """What fails no longer."""
    match announcement:
        case TokenMinted(facts=facts):
            return (f"mint {facts.key_fingerprint}",)
        case LeadershipTurned(lease=lease):
            return (f"lease {lease}",)
        case OutputWritten(output=output):
            return f"write {output}", f"read {output}"
    return ()


def _history(episode: Episode) -> str:
    """What is to be added to the line about a failure that is not the first."""
    if episode.times == 1:
        return ""
    text = f"; failing since {to_second(episode.since.wall)}, {episode.times} times so far"
    return text + (f", {episode.left_out} of them not logged" if episode.left_out else "")


def configure(
    log_format: str, level: str, stream: TextIO, secrets: Callable[[], Iterable[SecretStr]]
) -> None:
    """Log to `stream` and nowhere else, with every one of `secrets` blotted out.

    `log_format`: text, json, or auto: text on a terminal and in systemd's journal, JSON otherwise.
    `level`: debug, info, warning or error. Raises ConfigurationError for anything else.
    """
    log_format, level = log_format.lower(), level.lower()
    mistakes = [
        Mistake(
            f"--log-{what} or REFRESHER_LOG_{what.upper()}", f"{given!r}; accepted: {', '.join(accepted)}"
        )
        for what, given, accepted in (("format", log_format, FORMATS), ("level", level, LEVELS))
        if given not in accepted
    ]
    if mistakes:
        raise ConfigurationError(tuple(mistakes))
    handler = LineWriter(stream)
    handler.setFormatter(_formatter(log_format, stream)(secrets))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its warnings are worth a line; what it says below that is of use to whoever looks into the HTTP itself.
    logging.getLogger("urllib3").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    # What nobody catches would be printed by Python itself, with whatever secret is in its text.
    sys.excepthook = lambda _kind, error, _trace: _tell_uncaught("the process", error)
    threading.excepthook = lambda end: _tell_uncaught("a thread", end.exc_value)


def _formatter(log_format: str, stream: TextIO) -> type[TextFormatter] | type[JsonFormatter]:
    if log_format == "auto":
        if _is_journal(stream):
            return JournalFormatter
        log_format = "text" if stream.isatty() else "json"
    return TextFormatter if log_format == "text" else JsonFormatter


def _is_journal(stream: TextIO) -> bool:
    """Whether it leads to systemd's journal, which tells what is connected to it (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # it has no descriptor
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _tell_uncaught(what: str, error: BaseException | None) -> None:
    text = f"a mistake of the refresher itself ended {what}; please report it, with the traceback"
    logging.getLogger(OURS).error(text, exc_info=error)


class LineWriter(logging.StreamHandler[TextIO]):
    """Writes records to a stream, and lives on when it is broken: a full disk, a reader that left."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Tell that a record could not be written, and where it came from. Not in logging's own way, which
        prints the record's arguments with any secret in them."""
        source = f"{record.name}, {record.filename}:{record.lineno}"
        kind = sys.exc_info()[0]
        standing_in = {
            "name": record.name,
            "levelno": record.levelno,
            "levelname": record.levelname,
            "msg": f"a record of {source} cannot be written: {kind.__name__ if kind else 'unknown'}",
            "vouched": True,
        }
        with contextlib.suppress(OSError, ValueError):  # it is the stream: there is no place to tell that
            self.stream.write(self.format(logging.makeLogRecord(standing_in)) + self.terminator)
            self.stream.flush()

    def flush(self) -> None:
        """Write out what a buffer holds; what cannot be is kept for the next time."""
        with contextlib.suppress(OSError, ValueError):
            super().flush()

    def close(self) -> None:
        """Called by logging at the end. What a broken stream still holds is dropped: Python would try it once
        more, fail, and make exit code 120 of ours."""
        try:
            if not self.stream.closed:
                self.stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        super().close()
