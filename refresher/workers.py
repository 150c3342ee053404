"""The threads that perform effects, and the queue for their results."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

Message = TypeVar("Message")

Work = Callable[[], None]

STUCK = 90.0  # seconds that a job may wait for a thread before a restart is advisable


class Mailbox(Generic[Message]):
    """A queue. Any thread and any signal handler may post to it, because SimpleQueue.put is reentrant."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()  # None: see `_urgent`
        self._urgent: deque[Message] = deque()

    def post(self, message: Message) -> None:
        self._messages.put(message)

    def post_first(self, message: Message) -> None:
        """Post a message that overtakes all others."""
        self._urgent.append(message)
        self._messages.put(None)

    def take(self, timeout: float) -> Message | None:
        """The next message, or None if none came within `timeout` seconds, or soon after an urgent one."""
        if not self._urgent:
            try:
                message = self._messages.get(timeout=max(0.0, timeout))
            except queue.Empty:
                return None
            if message is not None:
                return message
        return self._urgent.popleft() if self._urgent else None


class Workers:
    """Daemon threads: named pools of limited `sizes`, and threads of their own for endless work.

    The system may refuse a thread at any time (a Pod's pid limit, ``TasksMax=``, ``ulimit -u``). Then a job
    waits for an existing thread, and `tend` tries again; no job is lost. `prepare` gets threads early: the
    first refresh may come an hour after the start.

    This is not a ThreadPoolExecutor, because that joins its threads when the interpreter ends: a hanging
    issuer would delay the end until its time-out. Only one thread calls this.
    """

    def __init__(self, sizes: Mapping[str, float]) -> None:
        self._pools = {name: _Pool(size, name) for name, size in sizes.items()}
        self._unstarted: list[tuple[str, Work]] = []  # work for threads of their own that the system refused

    def prepare(self, pools: Iterable[str]) -> None:
        """Start one thread in each of these pools now, as far as the system allows."""
        for name in pools:
            self._pools[name].start_first()

    def submit(self, job: Work, pool: str) -> None:
        """Run `job` as soon as a thread of that pool is free. It must not raise."""
        self._pools[pool].submit(job)

    def run(self, work: Work, name: str) -> None:
        """Do `work` on a thread of its own, now or as soon as the system allows."""
        self._unstarted.append((name, work))
        self._start_unstarted()

    def tend(self) -> str | None:
        """Start the threads that were refused. Returns a text on the work that still waits, or None."""
        missing = [pool.name for pool in self._pools.values() if not pool.catch_up()]
        missing += self._start_unstarted()
        return f"no thread for: {', '.join(missing)}" if missing else None

    def stuck(self) -> str | None:
        """A text on the jobs that have waited for a thread longer than `STUCK`; None without such jobs."""
        now = time.monotonic()
        waiting = [pool.name for pool in self._pools.values() if pool.longest_wait(now) > STUCK]
        return f"jobs wait for a thread: {', '.join(waiting)}" if waiting else None

    def _start_unstarted(self) -> list[str]:
        """Returns the names of the threads that the system still refuses."""
        self._unstarted = [(name, work) for name, work in self._unstarted if not _started(work, name)]
        return [name for name, _ in self._unstarted]


class _Pool:
    """At most `size` threads, and the jobs that wait for them."""

    def __init__(self, size: float, name: str) -> None:
        self._size, self.name = size, name
        self._jobs: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: deque[float] = deque()  # since when (monotonic) each job waits for a thread
        self._unfinished = 0  # jobs, waiting or running
        self._threads = 0

    def submit(self, job: Work) -> None:
        with self._lock:
            self._unfinished += 1
            self._waiting.append(time.monotonic())
        self._jobs.put(job)
        self.catch_up()

    def catch_up(self) -> bool:
        """Start a thread if there are more jobs than threads. Returns False if the system refuses it."""
        with self._lock:
            is_enough = self._unfinished <= self._threads or self._threads == self._size
        return is_enough or self.start()

    def start_first(self) -> None:
        if not self._threads:
            self.start()

    def start(self) -> bool:
        """Start one more thread. Returns False if the system refuses it."""
        self._threads += 1
        if _started(self._work, f"{self.name}-{self._threads}"):
            return True
        self._threads -= 1
        return False

    def longest_wait(self, now: float) -> float:
        """The age, in seconds, of the oldest job that no thread has taken yet."""
        with self._lock:
            return now - self._waiting[0] if self._waiting else 0.0

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            with self._lock:
                self._waiting.popleft()
            job()
            del job  # it may hold a token
            with self._lock:
                self._unfinished -= 1


def _started(work: Work, name: str) -> bool:
    """Start a daemon thread that does `work`. Returns False if the system refuses it."""
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except (RuntimeError, MemoryError):  # "can't start new thread": pthread_create(3) has failed
        return False
    return True
