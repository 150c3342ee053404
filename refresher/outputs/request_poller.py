"""Looks every few seconds for requests of new tokens at outputs where that is cheap: at files."""

import threading
from collections.abc import Iterable, Iterator

from refresher.core.events import RefreshPlaced
from refresher.ports import ManagedToken, Message

MOST_OUTPUTS = 1000  # two microseconds each; for more, the inspection every 30 s has to do
MOST_HANGING = 4  # directories; the threads that hang in them are missing elsewhere


class RequestPoller:
    """Reports each request once. Several threads may poll at once: they skip a directory that hangs."""

    def __init__(self, managed_tokens: Iterable[ManagedToken]) -> None:
        self._lock = threading.Lock()
        self._busy: set[str] = set()  # lanes
        self._last: dict[str, float] = {}  # by output: the request that was reported last
        self.follow(managed_tokens)

    def follow(self, managed_tokens: Iterable[ManagedToken]) -> None:
        """Look at the outputs of exactly these tokens from the next poll on."""
        found = [
            (managed.policy.name, output)
            for managed in managed_tokens
            for output in managed.outputs
            if output.lane.startswith("file:")
        ]
        self._outputs = found if len(found) <= MOST_OUTPUTS else []

    def poll(self) -> Iterator[Message]:
        """A message for each request that is new since the last poll."""
        for token, output in self._outputs:
            with self._lock:
                if output.lane in self._busy or len(self._busy) >= MOST_HANGING:
                    continue
                self._busy.add(output.lane)
            try:
                at = output.request_seen()
            finally:
                self._busy.discard(output.lane)
            if at is not None and self._last.get(output.name) != at:
                self._last[output.name] = at
                yield Message(token, RefreshPlaced(output.name, at))
