"""The time of the next step of each token: a heap of boot seconds, with one alarm for each token.

A token may expire by the wall clock. If that was set, the alarms no longer fit: every token has to be woken.
"""

import heapq
from collections.abc import Iterator

from refresher.core.instant import Instant

MOST_STALE = 1.25  # entries of the heap for each alarm: replaced alarms stay in it until it is built anew
SPARE = 64  # further entries
JUMP = 0.5  # seconds by which the wall clock may move against the boot clock


class Alarms:
    """Only one thread uses it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}

    def set(self, name: str, at: float) -> None:
        """Wake `name` at boot second `at`. Replaces its former alarm."""
        if self._at.get(name) != at:
            self._at[name] = at
            heapq.heappush(self._heap, (at, name))
            if len(self._heap) > MOST_STALE * len(self._at) + SPARE:
                self._heap = [(at, name) for name, at in self._at.items()]
                heapq.heapify(self._heap)

    def clear(self, name: str) -> None:
        """Remove the alarm of `name`."""
        self._at.pop(name, None)

    def nearest(self) -> float:
        """The boot second of the next alarm; infinite without one."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # a replaced or removed alarm
        return self._heap[0][0] if self._heap else float("inf")

    def due(self, now: float) -> Iterator[str]:
        """The tokens to wake at boot second `now`. The caller may set new alarms meanwhile."""
        while self.nearest() <= now:
            _, name = heapq.heappop(self._heap)
            del self._at[name]
            yield name


class Clocks:
    """Notices when the wall clock was set."""

    def __init__(self, now: Instant) -> None:
        self._apart = now.wall - now.boot

    def were_set(self, now: Instant) -> bool:
        """Whether the wall clock has moved by `JUMP` since this returned True, or since the start."""
        apart = now.wall - now.boot
        if abs(apart - self._apart) < JUMP:
            return False
        self._apart = apart
        return True
