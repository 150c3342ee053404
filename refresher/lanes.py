"""Admission: limits the effects in flight in each lane, and queues the tokens that wait for a lane.

A lane is a unit that hangs as a whole: the issuer, an API server, a directory. An effect begins only when its
lane has room, so its age is the time without an answer, without the time in the queue. Given-up effects are
counted apart, up to the same number again. So a hanging lane can be tried again, but threads do not pile up.

A given-up effect may never end, for example if its file system was unmounted and replaced. So it counts only
for a time, which doubles as more threads hang. A long hang costs few threads, and a lane that works again is
used again.

An effect of an issuer that takes long makes room too, before anybody gives it up: a few tokens for which the
issuer answers slowly must not delay all the others.

A lane may be paced: then an effect begins only `interval` seconds after the one before it.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from refresher.core.effects import OUTPUT, Effect, Slot
from refresher.core.machine import STALLED
from refresher.core.urgency import Urgency
from refresher.lane_queue import LaneQueue

WEDGED = 4  # given-up effects on one output that count; with so many, no further effect begins
COUNTS_FOR = 60.0  # seconds that the first given-up effect counts; up to twice as long for each further one
REPORT_EVERY = 30.0  # seconds
TIMING_OUT = 1.0  # seconds; by default a mint ends itself after `STALLED`, which is no hang


class Limit(NamedTuple):
    """The most effects in flight: in one lane, and in all lanes of its pool including given-up ones.

    `reserved`: effects that each lane may have, including given-up ones, even if its pool is full. So a lane
    that works goes on, however many others hang. `slow_after`: the seconds after which an effect counts as a
    given-up one does: apart, up to the same number again.
    """

    lane: int
    pool: int
    reserved: int = 0
    slow_after: float = math.inf

    @property
    def threads(self) -> float:
        """The most threads of the pool. With `reserved`, the number of lanes limits them."""
        return math.inf if self.reserved else self.pool


class Work:
    """One effect in flight. `began`: boot seconds. `reported_at`: when a report last said that it hangs.
    `counts_until`: until when it occupies its lane after it was given up. `is_orphan`: its token is gone."""

    __slots__ = ("began", "counts_until", "given_up", "is_orphan", "lane", "reported_at", "step", "token")

    def __init__(self, token: str, step: Effect, lane: str, began: float) -> None:
        self.token, self.step, self.lane, self.began = token, step, lane, began
        self.reported_at = self.counts_until = began
        self.given_up = self.is_orphan = False

    @property
    def about(self) -> tuple[str, Slot]:
        return self.token, self.step.slot

    @property
    def next_report(self) -> float:
        """When (boot seconds) to report next that it hangs: after `STALLED`, then every `REPORT_EVERY`."""
        if self.reported_at > self.began:
            return self.reported_at + REPORT_EVERY
        return self.began + (STALLED if self.step.slot.kind == OUTPUT else STALLED + TIMING_OUT)


class Lanes:
    """All lanes. `limits`: by pool, the part of a lane's name before the colon. Only one thread uses it."""

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._limits = limits
        self._in_lane: dict[str, dict[Work, None]] = {}
        self._given_up: dict[str, dict[Work, None]] = {}  # by lane
        self._in_pool: Counter[str] = Counter()
        self._of_token: dict[str, list[Work]] = {}
        self._queues: dict[str, LaneQueue] = {}  # by lane
        self._intervals: Mapping[str, float] = {}
        self._opens: dict[str, float] = {}  # when (boot seconds) the next effect in a paced lane may begin
        self._called: tuple[str, str] | None = None  # the lane and the token whose turn it is

    def pace(self, intervals: Mapping[str, float]) -> None:
        """Let effects in these lanes begin no sooner than so many seconds after each other."""
        self._intervals = intervals
        self._opens = {lane: opens for lane, opens in self._opens.items() if lane in intervals}

    def has_room(self, lane: str, now: float) -> bool:
        return now >= self._opens.get(lane, now) and self._has_capacity(lane, now)

    def is_open_to(self, token: str, lane: str, now: float) -> bool:
        """Whether an effect of this token may begin: the lane has room, and no other token waits for it."""
        return self.has_room(lane, now) and (lane not in self._queues or self._called == (lane, token))

    def next_opening(self, now: float) -> float:
        """When (boot seconds) time alone may open a lane for a token that waits; infinite if none waits."""
        paced = (self._opens[lane] for lane in self._queues.keys() & self._opens.keys())
        slow = (self._slow_at(work) for lane in self._queues for work in self._in_lane.get(lane, ()))
        return min(chain(paced, (at for at in slow if at > now)), default=math.inf)

    def _has_capacity(self, lane: str, now: float) -> bool:
        pool = pool_of(lane)
        limit = self._limits[pool]
        works = self._in_lane.get(lane, ())
        in_flight = len(works)
        is_reserved = in_flight + len(self._given_up.get(lane, ())) < limit.reserved
        return (
            (in_flight < limit.lane or sum(now < self._slow_at(work) for work in works) < limit.lane)
            and in_flight + len(self._counting(lane, now)) < 2 * limit.lane
            and (is_reserved or self._in_pool[pool] < limit.pool)
        )

    def _slow_at(self, work: Work) -> float:
        """When (boot seconds) this effect begins to count as slow."""
        return work.began + self._limits[pool_of(work.lane)].slow_after

    def is_wedged(self, token: str, step: Effect, lane: str, now: float) -> bool:
        """Whether so many effects hang on this output that another one would only waste a thread."""
        about = token, step.slot
        hanging = sum(work.about == about for work in self._counting(lane, now))
        return step.slot.kind == OUTPUT and hanging >= WEDGED

    def begin(self, token: str, step: Effect, lane: str, now: float) -> Work:
        """Put an effect in flight. Its lane must have room."""
        work = Work(token, step, lane, now)
        self._in_lane.setdefault(lane, {})[work] = None
        self._of_token.setdefault(token, []).append(work)
        self._in_pool[pool_of(lane)] += 1
        if lane in self._intervals:
            self._opens[lane] = now + self._intervals[lane]
        return work

    def give_up(self, work: Work, now: float) -> None:
        """Stop waiting for it. It keeps its thread until it ends."""
        self._leave(work)
        work.given_up = True
        given_up = self._given_up.setdefault(work.lane, {})
        hanging = max(sum(earlier.about == work.about for earlier in given_up), len(given_up) // 2)
        work.counts_until = now + COUNTS_FOR * 2.0**hanging
        given_up[work] = None

    def end(self, work: Work) -> None:
        """Free the place of an effect that has ended."""
        self._in_pool[pool_of(work.lane)] -= 1
        if work.given_up:
            given_up = self._given_up[work.lane]
            del given_up[work]
            if not given_up:
                del self._given_up[work.lane]
        else:
            self._leave(work)

    def of(self, token: str) -> tuple[Work, ...]:
        """The effects in flight for a token, without given-up ones."""
        return tuple(self._of_token.get(token, ()))

    def wait(self, token: str, lane: str, urgency: Urgency) -> None:
        """Put the token into the queue of a lane."""
        if lane not in self._queues:
            self._queues[lane] = LaneQueue()
        self._queues[lane].put(token, urgency)

    def forget(self, token: str) -> None:
        """Remove a token, which is gone, from all queues. All its effects were given up."""
        for given_up in self._given_up.values():
            for work in given_up:
                work.is_orphan = work.is_orphan or work.token == token
        for lane in [lane for lane, queue in self._queues.items() if token in queue]:
            self._queues[lane].discard(token)
            if not self._queues[lane]:
                del self._queues[lane]

    def is_waiting(self, token: str) -> bool:
        return any(token in queue for queue in self._queues.values())

    def admitted(self, now: float) -> Iterator[str]:
        """Take tokens out of the queues, one after the other, while their lane has room."""
        for lane in tuple(self._queues):
            while lane in self._queues and self.has_room(lane, now):
                self._called = lane, self._first(lane)
                yield self._called[1]
        self._called = None

    def stuck(self, now: float, silent: float) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The full lanes in which no effect began within `silent` seconds, and the tokens in their queues.
        The queues are emptied."""
        for lane in tuple(self._queues):
            if not self._has_capacity(lane, now) and all(
                now - work.began >= silent for work in self._blocking(lane)
            ):
                yield lane, tuple(self._queues.pop(lane))

    def _counting(self, lane: str, now: float) -> list[Work]:
        """The given-up effects that still occupy the lane."""
        return [work for work in self._given_up.get(lane, ()) if now < work.counts_until]

    def _blocking(self, lane: str) -> Iterator[Work]:
        """The effects that must end before the lane has room again, without given-up ones."""
        pool = pool_of(lane)
        is_pool_full = self._in_pool[pool] >= self._limits[pool].pool
        for busy_lane, works in self._in_lane.items():
            if busy_lane == lane or (is_pool_full and pool_of(busy_lane) == pool):
                yield from works

    def _first(self, lane: str) -> str:
        queue = self._queues[lane]
        token = queue.take()
        if not queue:
            del self._queues[lane]
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
    """The pool of a lane: ``file`` for ``file:/var/run/inlive``."""
    return lane.partition(":")[0]
