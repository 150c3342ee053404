"""Threads that perform steps, and the one queue by which results come back."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Letter = TypeVar("Letter")


class Mailbox(Generic[Letter]):
    """A queue to post to from any thread, and from a signal handler: SimpleQueue.put is reentrant."""

    def __init__(self) -> None:
        self._letters: queue.SimpleQueue[Letter] = queue.SimpleQueue()

    def post(self, letter: Letter) -> None:
        self._letters.put(letter)

    def take(self, timeout: float) -> Letter | None:
        """The next letter, or None if none came within `timeout` seconds."""
        try:
            return self._letters.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return None


class Crew:
    """Daemon threads, at most `size` in each lane, started as they are needed. What hangs in one lane holds
    up nothing in another.

    Not a ThreadPoolExecutor: that one joins its threads when the interpreter ends, so that an issuer that
    hangs would hold up SIGTERM until its time-out. Submitted to by one thread only.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lanes: dict[str, _Lane] = {}

    def submit(self, job: Callable[[], None], lane: str = "") -> None:
        """Have `job` done as soon as a thread of that lane is free. It must not raise."""
        if lane not in self._lanes:
            self._lanes[lane] = _Lane(self._size, lane)
        self._lanes[lane].submit(job)


class _Lane:
    """At most `size` threads and what waits for them."""

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0  # jobs, waiting or under way
        self._started = 0  # threads

    def submit(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        with self._lock:
            self._unfinished += 1
            if self._unfinished <= self._started or self._started == self._size:
                return
            self._started += 1
        name = "-".join(filter(None, ("crew", self._name, str(self._started))))
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            job()
            del job  # it may hold a token
            with self._lock:
                self._unfinished -= 1
