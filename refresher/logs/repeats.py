"""Which failures are logged when they repeat: the first of each kind, then one in five minutes."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from refresher.core.instant import Instant

EVERY = 300.0  # seconds between two lines about failures of the same kind
QUIET = 1800.0  # seconds without a failure that end an episode; attempts are at most 15 min apart

# The message of a time-out contains the seconds that were left, which differ between attempts.
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)? s\b")


class Episode(NamedTuple):
    """Failures of one subject in a row.

    `since`: the first. `latest`: the last, in boot seconds. `failures`: how many. `unlogged`: how many of
    them had no line since the last line. `logged_at`: when each recent kind was last logged, in boot seconds.
    """

    since: Instant
    latest: float
    failures: int = 0
    unlogged: int = 0
    logged_at: Mapping[str, float] = {}


class Repeats:
    """The current episodes, by token and subject."""

    def __init__(self) -> None:
        self._episodes: dict[tuple[str, str], Episode] = {}

    def failed(self, token: str, subject: str, kind: str, now: Instant) -> Episode | None:
        """Count a failure. Return its episode if the failure has to be logged, else None."""
        kind = _SECONDS.sub("… s", kind)
        before = self._current(token, subject, now) or Episode(since=now, latest=now.boot)
        logged_at = {logged: at for logged, at in before.logged_at.items() if now.boot - at < EVERY}
        episode = before._replace(failures=before.failures + 1, latest=now.boot)
        if kind in logged_at:
            self._episodes[token, subject] = episode._replace(unlogged=before.unlogged + 1)
            return None
        logged_at[kind] = now.boot
        self._episodes[token, subject] = episode._replace(unlogged=0, logged_at=logged_at)
        return episode

    def recovered(self, token: str, subject: str, now: Instant) -> Episode | None:
        """End the episode of `subject`. Return it if there was one."""
        episode = self._current(token, subject, now)
        self._episodes.pop((token, subject), None)
        return episode

    def forget(self, token: str) -> None:
        """Forget the episodes of a token that is no longer managed."""
        self._episodes = {key: episode for key, episode in self._episodes.items() if key[0] != token}

    def _current(self, token: str, subject: str, now: Instant) -> Episode | None:
        episode = self._episodes.get((token, subject))
        return None if episode is None or now.boot - episode.latest > QUIET else episode
