"""When each token is to be looked at again: a heap of boot seconds, one for each token at a time."""

import heapq
from collections.abc import Iterator


class Alarms:
    """Used by one thread."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}

    def set(self, name: str, at: float) -> None:
        """Wake `name` at boot second `at`, and not when it was to be woken before."""
        if self._at.get(name) != at:
            self._at[name] = at
            heapq.heappush(self._heap, (at, name))

    def clear(self, name: str) -> None:
        """Do not wake `name` any more."""
        self._at.pop(name, None)

    def nearest(self) -> float:
        """The next boot second at which a token is to be woken."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # it has been set anew since
        return self._heap[0][0] if self._heap else float("inf")

    def due(self, now: float) -> Iterator[str]:
        """Those that are to be woken by boot second `now`. Each may be set anew meanwhile."""
        while self.nearest() <= now:
            _, name = heapq.heappop(self._heap)
            del self._at[name]
            yield name
