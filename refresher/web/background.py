"""One thread that computes what takes long, so that the thread that serves need not."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Performs jobs one after the other. There is a thread as long as there are jobs.

    Not a `concurrent.futures.ThreadPoolExecutor`: its threads hold up the end of the process (ADR 4).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # around these two
        self._jobs: deque[tuple[Future[T], Callable[[], T]]] = deque()
        self._is_at_work = False

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Have `job` performed, unless its future is cancelled before its turn comes."""
        future: Future[T] = Future()
        with self._lock:
            self._jobs.append((future, job))
            if self._is_at_work:
                return future
            self._is_at_work = True
        try:
            threading.Thread(target=self._work, name="endpoints-background", daemon=True).start()
        except RuntimeError:  # no thread is to be had now: the caller's does it this time
            self._work()
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._is_at_work = False
                    return
                future, job = self._jobs.popleft()
            _perform(future, job)


def _perform(future: "Future[T]", job: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except Exception as error:  # noqa: BLE001 -- the future passes it on
        future.set_exception(error)
