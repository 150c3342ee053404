"""Admission: how many steps may be in flight in each lane, and which tokens wait in line for one.

A lane is what hangs together: the issuer, an API server, one directory. A step begins only when its lane has
room, so that the time since it began says how long it has gone without an answer, and not how long it stood
in line. Steps that were given up keep their place apart from the others: a lane has room for as many of these
again, so that what hangs may be tried anew, and not for more, so that threads do not pile up.

A step that was given up may never end: its file system was unmounted, and another one took its place. So it
counts for a time only, which doubles as more threads hang. However long something hangs, few threads are
lost to it, and when it works again it is used again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from refresher.core.effects import OUTPUT, Effect, Slot

WEDGED = 4  # steps on one output that were given up and count: no other follows them
COUNTS_FOR = 60.0  # seconds, for the first step that is given up; up to twice as long for each further one


class Limit(NamedTuple):
    """Steps in flight in one lane, and in all lanes of its pool together, those given up included."""

    lane: int
    pool: int


class Work:
    """One step in flight. `began`: boot seconds. `reported_at`: when it was last reported to hang.
    `counts_until`: until when it keeps others from its lane although it was given up."""

    __slots__ = ("began", "counts_until", "given_up", "lane", "reported_at", "step", "token")

    def __init__(self, token: str, step: Effect, lane: str, began: float) -> None:
        self.token, self.step, self.lane, self.began = token, step, lane, began
        self.reported_at = self.counts_until = began
        self.given_up = False

    @property
    def about(self) -> tuple[str, Slot]:
        return self.token, self.step.slot


class Lanes:
    """All lanes. `limits` are by pool, which is the lane's name up to a colon. Used by one thread."""

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._limits = limits
        self._in_lane: dict[str, dict[Work, None]] = {}
        self._given_up: dict[str, dict[Work, None]] = {}  # by lane
        self._in_pool: Counter[str] = Counter()
        self._of_token: dict[str, list[Work]] = {}
        self._lines: dict[str, dict[str, None]] = {}  # tokens by lane, in order

    def has_room(self, lane: str, now: float) -> bool:
        pool = pool_of(lane)
        limit = self._limits[pool]
        in_flight = len(self._in_lane.get(lane, ()))
        return (
            in_flight < limit.lane
            and in_flight + len(self._counting(lane, now)) < 2 * limit.lane
            and self._in_pool[pool] < limit.pool
        )

    def is_wedged(self, token: str, step: Effect, lane: str, now: float) -> bool:
        """Whether one more step on this output would only hang, and take a thread from its lane."""
        about = token, step.slot
        hanging = sum(work.about == about for work in self._counting(lane, now))
        return step.slot.kind == OUTPUT and hanging >= WEDGED

    def begin(self, token: str, step: Effect, lane: str, now: float) -> Work:
        """Put a step in flight; there has to be room for it."""
        work = Work(token, step, lane, now)
        self._in_lane.setdefault(lane, {})[work] = None
        self._of_token.setdefault(token, []).append(work)
        self._in_pool[pool_of(lane)] += 1
        return work

    def give_up(self, work: Work, now: float) -> None:
        """Do not wait for it any longer. It keeps its thread until it ends."""
        self._leave(work)
        work.given_up = True
        others = self._given_up.setdefault(work.lane, {})
        hanging = max(sum(other.about == work.about for other in others), len(others) // 2)
        work.counts_until = now + COUNTS_FOR * 2.0**hanging
        others[work] = None

    def end(self, work: Work) -> None:
        """It has come back."""
        self._in_pool[pool_of(work.lane)] -= 1
        if work.given_up:
            others = self._given_up[work.lane]
            del others[work]
            if not others:
                del self._given_up[work.lane]
        else:
            self._leave(work)

    def of(self, token: str) -> tuple[Work, ...]:
        """What is in flight for a token, but for what was given up."""
        return tuple(self._of_token.get(token, ()))

    def wait(self, token: str, lane: str) -> None:
        """Stand in line for a lane, at the end unless it is in line already."""
        self._lines.setdefault(lane, {}).setdefault(token)

    def forget(self, token: str) -> None:
        """Take a token that is gone out of all lines."""
        for lane in [lane for lane, line in self._lines.items() if token in line]:
            del self._lines[lane][token]
            if not self._lines[lane]:
                del self._lines[lane]

    def is_waiting(self, token: str) -> bool:
        return any(token in line for line in self._lines.values())

    def admitted(self, now: float) -> Iterator[str]:
        """Take those out of the lines, one after the other, for whom there is room at that moment."""
        for lane in tuple(self._lines):
            while self._lines.get(lane) and self.has_room(lane, now):
                yield self._first(lane)

    def stuck(self, now: float, silent: float) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The lanes in which nothing has moved for `silent` seconds, and the tokens in line for them."""
        for lane in tuple(self._lines):
            if not self.has_room(lane, now) and all(
                now - work.began >= silent for work in self._blocking(lane)
            ):
                yield lane, tuple(self._lines.pop(lane))

    def _counting(self, lane: str, now: float) -> list[Work]:
        """What was given up and keeps others out."""
        return [work for work in self._given_up.get(lane, ()) if now < work.counts_until]

    def _blocking(self, lane: str) -> Iterator[Work]:
        """What has to end before there is room again, but for what was given up."""
        pool = pool_of(lane)
        is_pool_full = self._in_pool[pool] >= self._limits[pool].pool
        for other, works in self._in_lane.items():
            if other == lane or (is_pool_full and pool_of(other) == pool):
                yield from works

    def _first(self, lane: str) -> str:
        line = self._lines[lane]
        token = next(iter(line))
        del line[token]
        if not line:
            del self._lines[lane]
        return token

    def _leave(self, work: Work) -> None:
        in_lane, of_token = self._in_lane[work.lane], self._of_token[work.token]
        del in_lane[work]
        of_token.remove(work)
        if not in_lane:
            del self._in_lane[work.lane]
        if not of_token:
            del self._of_token[work.token]


def pool_of(lane: str) -> str:
    """``file:/var/run/inlive`` is a lane of the pool ``file``."""
    return lane.partition(":")[0]
