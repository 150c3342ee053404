"""The order in which tokens enter a lane: the most urgent first."""

import heapq
from collections.abc import Iterator
from itertools import count

from refresher.core.urgency import Urgency


class LaneQueue:
    """The tokens that wait for one lane. Only one thread uses it.

    Tokens with failures form a line of their own. While both lines wait, they take turns. Otherwise many
    tokens that can never succeed, of refused keys for example, would hold back the rest for ever.
    """

    def __init__(self) -> None:
        self._heaps: dict[bool, list[tuple[float, int, str]]] = {False: [], True: []}  # by `has_failed`
        self._places: dict[str, tuple[bool, float, int]] = {}  # of each token that waits
        self._numbers = count()  # tokens of equal urgency leave in the order in which they came
        self._failed_last = True

    def __contains__(self, token: object) -> bool:
        return token in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def put(self, token: str, urgency: Urgency) -> None:
        """Let the token wait. If it waits already, its place can only improve, unless it has failed since."""
        has_failed, valid_until = urgency
        place = self._places.get(token)
        if place is not None and place[0] == has_failed and place[1] <= valid_until:
            return
        number = next(self._numbers)
        self._places[token] = has_failed, valid_until, number
        heapq.heappush(self._heaps[has_failed], (valid_until, number, token))

    def discard(self, token: str) -> None:
        self._places.pop(token, None)

    def take(self) -> str:
        """Remove the next token and return it. Raises IndexError if none waits."""
        for has_failed in (not self._failed_last, self._failed_last):
            heap = self._heaps[has_failed]
            while heap:
                valid_until, number, token = heapq.heappop(heap)
                if self._places.get(token) == (has_failed, valid_until, number):  # else removed or replaced
                    del self._places[token]
                    self._failed_last = has_failed
                    return token
        raise IndexError("no token waits")
