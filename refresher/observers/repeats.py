"""Which of many like failures are worth a line: the first, then one in five minutes, and what differs."""

import re
from typing import NamedTuple

from refresher.core.instant import Instant

EVERY = 300.0  # seconds between two lines about the same
QUIET = 1800.0  # seconds after which a failure is a new one; the longest wait between two attempts is 15 min

# A time-out tells how many seconds were left for it, which differ from attempt to attempt.
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)? s\b")


class Episode(NamedTuple):
    """Failures of one subject in a row: `since` when, how many times, how many of them not told yet."""

    since: Instant
    times: int
    left_out: int
    sort: str
    told: float  # boot seconds of the last line
    seen: float  # boot seconds of the last failure


class Repeats:
    """The episodes that are going on, by token and subject."""

    def __init__(self) -> None:
        self._episodes: dict[str, dict[str, Episode]] = {}

    def failed(self, token: str, subject: str, sort: str, now: Instant) -> Episode | None:
        """Count a failure. The episode, this failure counted, if it is worth a line; None to leave it out."""
        episodes = self._episodes.setdefault(token, {})
        before = episodes.get(subject)
        if before is None or now.boot - before.seen > QUIET:
            before = Episode(now, 0, 0, "", float("-inf"), now.boot)
        episode = before._replace(times=before.times + 1, seen=now.boot)
        if before.sort == sort and now.boot - before.told < EVERY:
            episodes[subject] = episode._replace(left_out=before.left_out + 1)
            return None
        episodes[subject] = episode._replace(sort=sort, told=now.boot, left_out=0)
        return episode

    def mended(self, token: str, subject: str) -> Episode | None:
        """End the episode of `subject`; it, if there was one."""
        return self._episodes.get(token, {}).pop(subject, None)


def sort_of(message: str) -> str:
    """`message` without what differs between failures of the same sort."""
    return _SECONDS.sub("… s", message)
