"""The worker threads, and the queue for their results."""

import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from refresher.workers import STUCK, Mailbox, Workers
from tests import needs

PATIENCE = 20.0  # seconds: far more than anything here takes


def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition. Fail if it does not become true in time."""
    deadline, pause = time.monotonic() + PATIENCE, threading.Event()
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        pause.wait(0.005)


class Jobs:
    """Jobs that wait until `let_go`. `threads`: the names of the threads that do them."""

    def __init__(self) -> None:
        self._gate = threading.Event()
        self._lock = threading.Lock()
        self.begun = self.done = self.most_at_once = 0
        self.threads: set[str] = set()

    def __call__(self) -> None:
        with self._lock:
            self.begun += 1
            self.most_at_once = max(self.most_at_once, self.begun - self.done)
            self.threads.add(threading.current_thread().name)
        self._gate.wait()
        with self._lock:
            self.done += 1

    def let_go(self) -> None:
        self._gate.set()


@pytest.fixture
def waiting():
    """Jobs that end with the test at the latest, so that no thread keeps working."""
    jobs = Jobs()
    yield jobs
    jobs.let_go()


def done(workers: Workers) -> str:
    """Submit a job and wait for it. Returns the name of the thread that did it."""
    name: list[str] = []
    finished = threading.Event()

    def job() -> None:
        name.append(threading.current_thread().name)
        finished.set()

    workers.submit(job, "pool")
    assert finished.wait(PATIENCE), "the job was not done"
    return name[0]


# --- The workers.


def test_a_pool_never_exceeds_its_size_and_does_every_job(waiting):
    workers = Workers({"pool": 3})
    for _ in range(20):
        workers.submit(waiting, "pool")
    until(lambda: waiting.begun == 3)
    waiting.let_go()
    until(lambda: waiting.done == 20)
    assert waiting.most_at_once == 3
    assert waiting.threads == {"pool-1", "pool-2", "pool-3"}


def test_only_as_many_threads_are_started_as_needed(waiting):
    workers = Workers({"pool": 16})
    for _ in range(4):
        workers.submit(waiting, "pool")
    until(lambda: waiting.begun == 4)
    assert len(waiting.threads) == 4


def test_an_idle_thread_is_reused():
    workers = Workers({"pool": 16})
    # Two, because the next job may arrive before the thread of the last job waits again.
    assert len({done(workers) for _ in range(200)}) <= 2


def test_hanging_jobs_do_not_delay_others_while_there_are_threads(waiting):
    workers = Workers({"pool": 4})
    for _ in range(3):
        workers.submit(waiting, "pool")
    until(lambda: waiting.begun == 3)
    for _ in range(20):
        assert done(workers) not in waiting.threads


def test_jobs_wait_for_a_thread_when_all_are_busy(waiting):
    workers, next_one = Workers({"pool": 2}), threading.Event()
    workers.submit(waiting, "pool")
    workers.submit(waiting, "pool")
    until(lambda: waiting.begun == 2)
    workers.submit(next_one.set, "pool")
    assert not next_one.is_set()
    waiting.let_go()
    assert next_one.wait(PATIENCE)


def test_jobs_begin_in_the_order_of_their_submission(waiting):
    workers, begun = Workers({"pool": 1}), []
    workers.submit(waiting, "pool")
    for number in range(50):
        workers.submit(lambda number=number: begun.append(number), "pool")
    waiting.let_go()
    until(lambda: len(begun) == 50)
    assert begun == list(range(50))


def test_a_finished_job_is_not_kept_in_memory():
    class Job:
        def __call__(self) -> None:
            pass

    job = Job()
    forgotten = weakref.ref(job)
    workers = Workers({"pool": 1})
    workers.submit(job, "pool")
    del job
    until(lambda: gc.collect() >= 0 and forgotten() is None)


def test_a_hanging_job_does_not_delay_the_end_of_the_process():
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import threading\n"
            "from refresher.workers import Workers\n"
            "begun = threading.Event()\n"
            "def hang():\n"
            "    begun.set()\n"
            "    threading.Event().wait()\n"
            "Workers({'pool': 4}).submit(hang, 'pool')\n"
            "begun.wait()\n"
            "print('hanging')\n",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "hanging\n", "")


# --- The mailbox.


def test_messages_are_taken_in_the_order_of_posting():
    mailbox = Mailbox[int]()
    for number in range(5):
        mailbox.post(number)
    assert [mailbox.take(0.0) for _ in range(6)] == [0, 1, 2, 3, 4, None]


@pytest.mark.parametrize("timeout", [0.0, -5.0, 0.001])
def test_an_empty_mailbox_returns_none_after_the_timeout(timeout):
    assert Mailbox[int]().take(timeout) is None


def test_an_urgent_message_overtakes_all_others_and_none_is_lost():
    mailbox = Mailbox[str]()
    for message in ("a", "b"):
        mailbox.post(message)
    mailbox.post_first("stop")
    taken = [mailbox.take(0) for _ in range(5)]
    assert taken[0] == "stop"
    assert [message for message in taken[1:] if message is not None] == ["a", "b"]


def test_an_urgent_message_wakes_who_waits():
    mailbox, taken = Mailbox[str](), []
    waiting = threading.Thread(target=lambda: taken.append(mailbox.take(PATIENCE)))
    waiting.start()
    mailbox.post_first("stop")
    waiting.join()
    assert taken == ["stop"]


def test_a_waiting_thread_gets_a_message_when_it_is_posted():
    mailbox = Mailbox[str]()
    workers = Workers({"pool": 1})
    workers.submit(lambda: mailbox.post("hello"), "pool")
    assert mailbox.take(PATIENCE) == "hello"


def test_no_message_is_lost_or_duplicated_when_many_threads_post():
    mailbox, workers = Mailbox[tuple[int, int]](), Workers({"pool": 8})
    for poster in range(8):
        workers.submit(
            lambda poster=poster: [mailbox.post((poster, number)) for number in range(500)], "pool"
        )
    messages = [mailbox.take(PATIENCE) for _ in range(8 * 500)]
    assert sorted(messages) == [(poster, number) for poster in range(8) for number in range(500)]
    assert mailbox.take(0.0) is None


@pytest.fixture
def on_signal():
    """Installs signal handlers for the length of a test."""
    before = {}

    def install(number: int, act: Callable[[], None]) -> None:
        before[number] = signal.signal(number, lambda *_: act())

    yield install
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_post_from_a_signal_handler_wakes_the_waiting_thread(on_signal):
    mailbox = Mailbox[str]()
    on_signal(signal.SIGUSR1, lambda: mailbox.post("refresh"))
    main, workers = threading.main_thread().ident, Workers({"pool": 1})
    workers.submit(lambda: signal.pthread_kill(main, signal.SIGUSR1), "pool")
    assert mailbox.take(PATIENCE) == "refresh"


def test_a_signal_handler_may_post_while_its_thread_posts_and_takes(on_signal):
    mailbox, posted = Mailbox[str](), []

    def act() -> None:
        posted.append(True)
        mailbox.post("signal")

    on_signal(signal.SIGVTALRM, act)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0002, 0.0002)
    taken, rounds = [], 0
    while len(posted) < 50:
        rounds += 1
        mailbox.post("own")
        taken.append(mailbox.take(0.0))
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    while (message := mailbox.take(0.0)) is not None:
        taken.append(message)
    assert (taken.count("own"), taken.count("signal")) == (rounds, len(posted))


def test_hanging_jobs_in_one_pool_do_not_delay_another_pool(waiting):
    workers = Workers({"secret": 2, "file": 2})
    for _ in range(10):
        workers.submit(waiting, "secret")
    until(lambda: waiting.begun == 2)
    finished = threading.Event()
    workers.submit(finished.set, "file")
    assert finished.wait(PATIENCE)
    assert (waiting.begun, waiting.done) == (2, 0)


# --- Threads that the system refuses.

REFUSING = """
import os, resource, sys, threading
from refresher.workers import Workers

most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
os.setgroups([]); os.setgid({uid}); os.setuid({uid})

def refuse(): resource.setrlimit(resource.RLIMIT_NPROC, (0, most))
def allow(): resource.setrlimit(resource.RLIMIT_NPROC, (most, most))

def threads(): return sorted(t.name for t in threading.enumerate() if t is not threading.main_thread())

done = threading.Semaphore(0)
def is_done(): return done.acquire(timeout={patience})

workers = Workers({{"issuer": 2, "file": 2}})
"""


def refusing(script: str) -> str:
    """The output of `script`, run as a user whose threads the kernel refuses from `refuse()` to `allow()`."""
    needs.root("to become a user whose number of processes is limited")
    ended = subprocess.run(
        [sys.executable, "-c", REFUSING.format(uid=54321, patience=PATIENCE) + script],
        capture_output=True,
        text=True,
        check=False,
        timeout=3 * PATIENCE,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_a_job_whose_thread_was_refused_is_done_when_a_thread_starts():
    """Such a job once stayed in the queue for ever, and a token was never minted again."""
    script = """
refuse()
workers.submit(done.release, "issuer")
print(workers.tend(), threads())
allow()
print(workers.tend(), is_done())
"""
    assert refusing(script) == "no thread for: issuer []\nNone True\n"


def test_a_prepared_thread_does_the_job_when_another_thread_is_refused():
    script = """
workers.prepare(["issuer", "file"])
print(threads())
refuse()
gate = threading.Event()
workers.submit(lambda: gate.wait({}), "issuer")
workers.submit(done.release, "issuer")
print(workers.tend())
gate.set()
print(is_done())
workers.submit(done.release, "file")
print(is_done(), threads())
""".replace("{}", str(PATIENCE))
    assert refusing(script) == (
        "['file-1', 'issuer-1']\nno thread for: issuer\nTrue\nTrue ['file-1', 'issuer-1']\n"
    )


def test_a_refused_thread_of_its_own_is_started_when_the_system_allows():
    script = """
refuse()
workers.run(done.release, "endpoints")
print(workers.tend())
allow()
print(workers.tend(), is_done())
"""
    assert refusing(script) == "no thread for: endpoints\nNone True\n"


def test_a_job_that_waits_long_is_stuck_and_a_running_one_is_not(waiting):
    workers = Workers({"pool": 1})
    workers.submit(waiting, "pool")
    until(lambda: waiting.begun == 1)
    pool = workers._pools["pool"]
    assert pool.longest_wait(time.monotonic() + 2 * STUCK) == 0.0
    workers.submit(waiting, "pool")
    assert pool.longest_wait(time.monotonic() + 2 * STUCK) >= 2 * STUCK
    assert workers.stuck() is None  # it has not waited yet
    waiting.let_go()
    until(lambda: waiting.done == 2)
    assert pool.longest_wait(time.monotonic() + 2 * STUCK) == 0.0
