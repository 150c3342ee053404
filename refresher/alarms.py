"""The time of the next step of each token: a heap of boot seconds, with one alarm for each token."""

import heapq
from collections.abc import Iterator


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
