"""One thread for slow computations, so that the serving thread need not wait for them."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Runs jobs one after the other, on a thread that exists only while there are jobs.

    Not a `concurrent.futures.ThreadPoolExecutor`: its threads delay the end of the process (ADR 4).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects the two below
        self._jobs: deque[tuple[Future[T], Callable[[], T]]] = deque()
        self._is_running = False

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Run `job` later, unless its future is cancelled before that. Returns the future."""
        future: Future[T] = Future()
        with self._lock:
            self._jobs.append((future, job))
            if self._is_running:
                return future
            self._is_running = True
        try:
            threading.Thread(target=self._work, name="endpoints-background", daemon=True).start()
        except RuntimeError:  # no thread is available: run the jobs on the caller's thread
            self._work()
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._is_running = False
                    return
                future, job = self._jobs.popleft()
            _run(future, job)


def _run(future: "Future[T]", job: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except Exception as error:  # noqa: BLE001 -- the future raises it again
        future.set_exception(error)
