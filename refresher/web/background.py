"""One thread that computes what takes long, so that the thread that serves need not."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

Of = TypeVar("Of")


class Background(Generic[Of]):
    """Performs jobs one after the other. A job must not raise.

    Used by one thread, which selects on `woken`: it is readable when there are `results`. A context manager.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Of, Callable[[], bytes | None]] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Of, bytes]] = queue.SimpleQueue()
        self.woken, self._wake = socket.socketpair()
        self.woken.settimeout(0)
        self._wake.settimeout(0)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Background[Of]":
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
        self.woken.close()
        self._wake.close()

    def submit(self, of: Of, job: Callable[[], bytes | None]) -> None:
        """Have `job` performed, and its result in `results` with `of`, if there is one."""
        if self._thread is None:
            self._thread = self._started()
        if self._thread is None:
            self._perform(of, job)
        else:
            self._jobs.put((of, job))

    def results(self) -> Iterator[tuple[Of, bytes]]:
        """The results since the last call."""
        with suppress(BlockingIOError):
            self.woken.recv(4096)
        while not self._results.empty():
            yield self._results.get()

    def _started(self) -> threading.Thread | None:
        thread = threading.Thread(target=self._work, name="endpoints-background", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is to be had now: the caller's will do until there is one
            return None
        return thread

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._perform(*job)
            del job  # what it has computed may be large

    def _perform(self, of: Of, job: Callable[[], bytes | None]) -> None:
        result = job()
        if result is not None:
            self._results.put((of, result))
            with suppress(BlockingIOError):  # it has been woken more often than it has looked
                self._wake.send(b"\0")
