"""Compares outputs with their last inspection every few seconds, and looks for requests of new tokens.

That costs microseconds for each output: a few calls of lstat(2), or the version that a watch of the API
server has seen. So an output that does not change need not be inspected.
"""

import threading
from collections.abc import Iterable, Iterator

from refresher.core.events import RefreshPlaced, WatchEnded
from refresher.core.machine import STALLED
from refresher.core.process_notifications import Crashed
from refresher.ports import ManagedToken, Message, Output

MOST_AT_ONCE = 1000  # tokens in one poll, unless there are so many that they need more than `PARTS` polls
PARTS = 10  # polls in which every output is compared: 20 s, and 30 s while a directory of keys hangs
MOST_HANGING = 4  # directories; the threads that hang in them are missing elsewhere


class OutputPoller:
    """Several threads may poll at once: they skip a directory in which another one hangs."""

    def __init__(self, managed_tokens: Iterable[ManagedToken]) -> None:
        self._lock = threading.Lock()
        self._busy: dict[str, float] = {}  # by lane: since when (boot seconds) a thread is there
        self._requests: dict[str, float] = {}  # by output: the request that was reported last
        self._next = 0  # the token with which the next poll begins
        self.follow(managed_tokens)

    def follow(self, managed_tokens: Iterable[ManagedToken]) -> None:
        """Poll the outputs of exactly these tokens from now on."""
        self._tokens = list(managed_tokens)

    def poll(self, now: float) -> Iterator[Message]:
        """Messages about a part of the outputs: requests, and which outputs to inspect. `now`: boot seconds.
        Never raises."""
        for managed in self._part():
            for output in managed.outputs:
                yield from self._compare(managed.policy.name, output, now)

    def _part(self) -> list[ManagedToken]:
        """The tokens whose turn it is."""
        tokens = self._tokens
        with self._lock:
            begin = self._next if self._next < len(tokens) else 0
            self._next = begin + max(MOST_AT_ONCE, -(-len(tokens) // PARTS))
            return tokens[begin : self._next]

    def _compare(self, token: str, output: Output, now: float) -> Iterator[Message]:
        with self._lock:
            since = self._busy.get(output.lane)
            is_free = since is None and len(self._busy) < MOST_HANGING
            if is_free:
                self._busy[output.lane] = now
        if not is_free:
            if since is None or now - since >= STALLED:  # an inspection reports what hangs
                yield Message(token, WatchEnded(output.name))
            return
        try:
            has_changed, requested = output.has_changed(), output.request_seen()
        except Exception as error:  # noqa: BLE001 -- as in Executor.perform
            yield Message(token, WatchEnded(output.name), (Crashed("comparing an output", error),))
            return
        finally:
            del self._busy[output.lane]
        if has_changed:
            yield Message(token, WatchEnded(output.name))
        if requested != self._requests.get(output.name):
            self._remember(output.name, requested)
            yield Message(token, RefreshPlaced(output.name, requested))

    def _remember(self, output: str, requested: float | None) -> None:
        if requested is None:
            del self._requests[output]
        else:
            self._requests[output] = requested
