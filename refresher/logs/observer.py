"""`ports.Observer` that logs."""

import logging

from refresher.core.instant import Instant
from refresher.core.notifications import Notification, Series, TokenRemoved
from refresher.core.rfc3339 import to_second
from refresher.logs.formats import OURS
from refresher.logs.lines import line_of
from refresher.logs.repeats import Episode, Repeats


class LogObserver:
    """Writes a log line for each notification.

    INFO: all is well. WARNING: something fails, but consumers have a valid token. ERROR: the key is refused,
    consumers have no valid token, an output cannot be written, or the program has a bug. A failure that
    repeats itself is logged every five minutes, with the number of failures since the last line. `retries`:
    see `line_of`.
    """

    def __init__(self, *, retries: bool = True) -> None:
        self._retries = retries
        self._logger = logging.getLogger(OURS)
        self._repeats = Repeats()

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        line = line_of(notification, now, retries=self._retries)
        text = f"{token}: {line.text}" if token else line.text
        fields: dict[str, object] = {"token": token} if token else {}
        if line.failure is not None:
            # A warning that becomes an error is logged at once.
            kind = f"{line.level} {line.failure.kind}"
            episode = self._repeats.failed(token, line.failure.subject, kind, now)
            if episode is None:
                return
            since_wall, failures = _facts(episode, line.failure.series, now)
            text += _history(since_wall, failures, episode.unlogged)
            fields["since"] = to_second(since_wall)
            if failures is not None:
                fields["failures"] = failures
        ended = [self._repeats.recovered(token, subject, now) for subject in line.recovered]
        if since := [episode.since.wall for episode in ended if episode is not None]:
            text += f"; had failed since {to_second(min(since))}"
        if isinstance(notification, TokenRemoved):
            self._repeats.forget(token)
        self._logger.log(
            line.level,
            text,
            exc_info=line.error,
            extra={"event": type(notification).__name__, "vouched": line.vouched, **fields, **line.fields},
        )


def _facts(episode: Episode, series: Series | None, now: Instant) -> tuple[float, int | None]:
    """Since when (wall time) and how often something fails: as the status shows it, if the core counts it."""
    if series is None:
        return episode.since.wall, episode.failures
    return now.wall + series.since - now.boot, series.failures


def _history(since: float, failures: int | None, unlogged: int) -> str:
    """What to add to the line of a failure. The first failure has no history."""
    if failures == 1:
        return ""
    text = f"; failing since {to_second(since)}"
    text += f", {failures} times so far" if failures is not None else ""
    return text + (f", {unlogged} of them not logged" if unlogged else "")
