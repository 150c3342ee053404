"""The order in which tokens enter a lane: the most urgent first."""

import heapq
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from refresher.core.urgency import Urgency

_Order = tuple[int, float, int]  # rank, valid_until, and a number


class _Place(NamedTuple):
    has_failed: bool
    order: _Order


class LaneQueue:
    """The tokens that wait for one lane. Only one thread uses it.

    Tokens with failures form a line of their own. While both lines wait, they take turns. Otherwise many
    tokens that can never succeed, of refused keys for example, would hold back the rest for ever.
    """

    def __init__(self) -> None:
        self._heaps: dict[bool, list[tuple[_Order, str]]] = {False: [], True: []}  # by `has_failed`
        self._places: dict[str, _Place] = {}  # of each token that waits
        self._numbers = count()  # tokens of equal urgency leave in the order in which they came
        self._failed_last = True

    def __contains__(self, token: object) -> bool:
        return token in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._places, key=lambda token: self._places[token].order))

    def put(self, token: str, urgency: Urgency) -> None:
        """Let the token wait. If it waits already, its place can only improve, unless it has failed since."""
        has_failed, rank, valid_until = urgency
        place = self._places.get(token)
        if place is not None and place.has_failed == has_failed and place.order[:2] <= (rank, valid_until):
            return
        order = rank, valid_until, next(self._numbers)
        self._places[token] = _Place(has_failed, order)
        heapq.heappush(self._heaps[has_failed], (order, token))

    def discard(self, token: str) -> None:
        self._places.pop(token, None)

    def take(self) -> str:
        """Remove the next token and return it. Raises IndexError if none waits."""
        for has_failed in (not self._failed_last, self._failed_last):
            heap = self._heaps[has_failed]
            while heap:
                order, token = heapq.heappop(heap)
                if self._places.get(token) == (
                    has_failed,
                    order,
                ):  # else it was removed, or has another place
                    del self._places[token]
                    self._failed_last = has_failed
                    return token
        raise IndexError("no token waits")
