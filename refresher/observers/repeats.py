"""Which of many like failures are worth a line: the first of each sort, then one in five minutes."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from refresher.core.instant import Instant

EVERY = 300.0  # seconds between two lines about the same
QUIET = 1800.0  # seconds after which a failure is a new one; the longest wait between two attempts is 15 min

# A time-out tells how many seconds were left for it, which differ from attempt to attempt.
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)? s\b")


class Episode(NamedTuple):
    """Failures of one subject in a row: since when, how many, and how many of them were left out since the
    last line. `seen`: when the last failure was, `told`: when each sort of late had its line (boot seconds).
    """

    since: Instant
    seen: float
    times: int = 0
    left_out: int = 0
    told: Mapping[str, float] = {}


class Repeats:
    """The episodes that are going on, by token and subject."""

    def __init__(self) -> None:
        self._episodes: dict[tuple[str, str], Episode] = {}

    def failed(self, token: str, subject: str, sort: str, now: Instant) -> Episode | None:
        """Count a failure. The episode, this failure counted, if it is worth a line; None to leave it out."""
        before = self._going_on(token, subject, now) or Episode(now, now.boot)
        told = {each: at for each, at in before.told.items() if now.boot - at < EVERY}
        episode = before._replace(times=before.times + 1, seen=now.boot)
        if sort in told:
            self._episodes[token, subject] = episode._replace(left_out=before.left_out + 1)
            return None
        self._episodes[token, subject] = episode._replace(left_out=0, told=told | {sort: now.boot})
        return episode

    def mended(self, token: str, subject: str, now: Instant) -> Episode | None:
        """End the episode of `subject`; it, if there was one."""
        episode = self._going_on(token, subject, now)
        self._episodes.pop((token, subject), None)
        return episode

    def _going_on(self, token: str, subject: str, now: Instant) -> Episode | None:
        episode = self._episodes.get((token, subject))
        return None if episode is None or now.boot - episode.seen > QUIET else episode


def sort_of(message: str) -> str:
    """`message` without what differs between failures of the same sort."""
    return _SECONDS.sub("… s", message)
