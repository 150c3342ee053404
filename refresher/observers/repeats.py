"""Which of many similar failures deserve a line: the first of each sort, then one in five minutes."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from refresher.core.instant import Instant

EVERY = 300.0  # seconds between two lines about the same
QUIET = 1800.0  # seconds without a failure that end an episode; attempts are at most 15 min apart

# The message of a time-out has the seconds that were left, which differ from attempt to attempt.
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)? s\b")


class Episode(NamedTuple):
    """Failures of one subject in a row.

    `times`: how many. `left_out`: how many of them without a line since the last line. `seen`: when the last
    failure was, `told`: when each recent sort had its last line, both in boot seconds.
    """

    since: Instant
    seen: float
    times: int = 0
    left_out: int = 0
    told: Mapping[str, float] = {}


class Repeats:
    """The current episodes, by token and subject."""

    def __init__(self) -> None:
        self._episodes: dict[tuple[str, str], Episode] = {}

    def failed(self, token: str, subject: str, sort: str, now: Instant) -> Episode | None:
        """Count a failure. Return the episode with it if the failure deserves a line, else None."""
        before = self._going_on(token, subject, now) or Episode(now, now.boot)
        told = {each: at for each, at in before.told.items() if now.boot - at < EVERY}
        episode = before._replace(times=before.times + 1, seen=now.boot)
        if sort in told:
            self._episodes[token, subject] = episode._replace(left_out=before.left_out + 1)
            return None
        self._episodes[token, subject] = episode._replace(left_out=0, told=told | {sort: now.boot})
        return episode

    def mended(self, token: str, subject: str, now: Instant) -> Episode | None:
        """End the episode of `subject` and return it, if there was one."""
        episode = self._going_on(token, subject, now)
        self._episodes.pop((token, subject), None)
        return episode

    def _going_on(self, token: str, subject: str, now: Instant) -> Episode | None:
        episode = self._episodes.get((token, subject))
        return None if episode is None or now.boot - episode.seen > QUIET else episode


def sort_of(message: str) -> str:
    """`message` without what differs between failures of the same sort."""
    return _SECONDS.sub("… s", message)
