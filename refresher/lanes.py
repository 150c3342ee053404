"""Admission: limits the effects in flight in each lane, and queues the tokens that wait for a lane.

A lane is a unit that hangs as a whole: the issuer, an API server, a directory. An effect begins only when its
lane has room, so its age is the time without an answer, without the time in the queue. Given-up effects are
counted apart, up to the same number again. So a hanging lane can be tried again, but threads do not pile up.

A given-up effect may never end, for example if its file system was unmounted and replaced. So it counts only
for a time, which doubles as more threads hang. A long hang costs few threads, and a lane that works again is
used again.

A queue serves the most urgent token first. So a token is minted and written as soon as it was looked at, and
ten thousand looks do not come before the first write.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from typing import NamedTuple

from refresher.core.effects import OUTPUT, DryRun, Effect, Slot, Write
from refresher.core.machine import STALLED

WEDGED = 4  # given-up effects on one output that count; with so many, no further effect begins
COUNTS_FOR = 60.0  # seconds that the first given-up effect counts; up to twice as long for each further one
REPORT_EVERY = 30.0  # seconds
TIMING_OUT = 1.0  # seconds; by default a mint ends itself after `STALLED`, which is no hang


class Limit(NamedTuple):
    """The most effects in flight: in one lane, and in all lanes of its pool including given-up ones."""

    lane: int
    pool: int


class Work:
    """One effect in flight. `began`: boot seconds. `reported_at`: when a report last said that it hangs.
    `counts_until`: until when it occupies its lane after it was given up."""

    __slots__ = ("began", "counts_until", "given_up", "lane", "reported_at", "step", "token")

    def __init__(self, token: str, step: Effect, lane: str, began: float) -> None:
        self.token, self.step, self.lane, self.began = token, step, lane, began
        self.reported_at = self.counts_until = began
        self.given_up = False

    @property
    def about(self) -> tuple[str, Slot]:
        return self.token, self.step.slot

    @property
    def next_report(self) -> float:
        """When (boot seconds) to report next that it hangs: after `STALLED`, then every `REPORT_EVERY`."""
        if self.reported_at > self.began:
            return self.reported_at + REPORT_EVERY
        return self.began + (STALLED if self.step.slot.kind == OUTPUT else STALLED + TIMING_OUT)


def urgency(step: Effect) -> int:
    """The rank of an effect in the queue of its lane; the lowest comes first. Finish what has begun: write a
    token before checking where the next one can be written, and check before looking at further outputs."""
    if isinstance(step, Write):
        return 0
    return 1 if isinstance(step, DryRun) else 2


class _Queue:
    """The tokens that wait for one lane: the most urgent first, then in the order of arrival."""

    def __init__(self) -> None:
        self._rank_of: dict[str, tuple[int, int]] = {}
        self._heap: list[tuple[tuple[int, int], str]] = []
        self._arrivals = count()

    def put(self, token: str, rank: int) -> None:
        known = self._rank_of.get(token)
        if known is None or rank < known[0]:
            self._rank_of[token] = rank, next(self._arrivals)
            heapq.heappush(self._heap, (self._rank_of[token], token))

    def take(self) -> str:
        while True:
            rank, token = heapq.heappop(self._heap)
            if self._rank_of.get(token) == rank:  # else it was removed, or has become more urgent
                del self._rank_of[token]
                return token

    def remove(self, token: str) -> None:
        del self._rank_of[token]

    def __contains__(self, token: str) -> bool:
        return token in self._rank_of

    def __len__(self) -> int:
        return len(self._rank_of)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._rank_of, key=self._rank_of.__getitem__))


class Lanes:
    """All lanes. `limits`: by pool, the part of a lane's name before the colon. Only one thread uses it."""

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._limits = limits
        self._in_lane: dict[str, dict[Work, None]] = {}
        self._given_up: dict[str, dict[Work, None]] = {}  # by lane
        self._in_pool: Counter[str] = Counter()
        self._of_token: dict[str, list[Work]] = {}
        self._queues: dict[str, _Queue] = {}  # by lane

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

    def wait(self, token: str, step: Effect, lane: str) -> None:
        """Put the token into the queue of a lane. A token that is in it keeps its place, unless this effect
        is more urgent."""
        self._queues.setdefault(lane, _Queue()).put(token, urgency(step))

    def forget(self, token: str) -> None:
        """Remove a token from all queues."""
        for lane in [lane for lane, queue in self._queues.items() if token in queue]:
            self._queues[lane].remove(token)
            if not self._queues[lane]:
                del self._queues[lane]

    def is_waiting(self, token: str) -> bool:
        return any(token in queue for queue in self._queues.values())

    def admitted(self, now: float) -> Iterator[str]:
        """Take tokens out of the queues, one after the other, while their lane has room."""
        for lane in tuple(self._queues):
            while self._queues.get(lane) and self.has_room(lane, now):
                yield self._first(lane)

    def stuck(self, now: float, silent: float) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The full lanes in which no effect began within `silent` seconds, and the tokens in their queues.
        The queues are emptied."""
        for lane in tuple(self._queues):
            if not self.has_room(lane, now) and all(
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
