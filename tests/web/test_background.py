"""Slow computations run on one thread, one after the other."""

import queue
import subprocess
import sys
import threading
from concurrent.futures import Future
from functools import partial

import pytest

from refresher.web.background import Background

DEADLINE = 10.0


class Slow:
    """Jobs that end when the test allows it."""

    def __init__(self) -> None:
        self.begun: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.may_end = threading.Semaphore(0)

    def job(self, name: str) -> str:
        self.begun.put(name)
        assert self.may_end.acquire(timeout=DEADLINE)
        return f"{name} on {threading.current_thread().name}"


def test_jobs_run_one_after_the_other_and_each_has_its_result() -> None:
    slow, background = Slow(), Background[str]()
    futures = {name: background.submit(partial(slow.job, name)) for name in ("a", "b", "c")}
    assert slow.begun.get(timeout=DEADLINE) == "a"
    assert slow.begun.empty()
    slow.may_end.release(3)
    for name, future in futures.items():
        assert future.result(DEADLINE) == f"{name} on endpoints-background"


def test_a_cancelled_job_does_not_run() -> None:
    slow, background = Slow(), Background[str]()
    first, unwanted, last = (background.submit(partial(slow.job, name)) for name in ("a", "b", "c"))
    slow.begun.get(timeout=DEADLINE)
    assert unwanted.cancel()
    assert not first.cancel()  # too late
    slow.may_end.release(3)
    assert last.result(DEADLINE).startswith("c")
    assert slow.begun.get(timeout=DEADLINE) == "c"


def test_the_job_after_a_failed_one_has_its_result() -> None:
    def fail() -> str:
        raise ValueError("the inner text")

    background = Background[str]()
    failed, after = background.submit(fail), background.submit(lambda: "after")
    with pytest.raises(ValueError, match="the inner text"):
        failed.result(DEADLINE)
    assert after.result(DEADLINE) == "after"


def test_without_jobs_there_is_no_thread() -> None:
    background, threads = Background[threading.Thread](), []
    for _ in range(2):
        threads.append(background.submit(threading.current_thread).result(DEADLINE))
        threads[-1].join(DEADLINE)
        assert not threads[-1].is_alive()
    assert threads[0] is not threads[1]


def test_a_job_submitted_while_the_thread_ends_runs() -> None:
    """Submits each job as soon as the previous one is done, thousands of times."""
    background, count = Background[int](), 0
    future: Future[int] | None = None
    for number in range(3000):
        future = background.submit(partial(int, number))
        count += future.result(DEADLINE) == number
    assert count == 3000


NO_THREADS = """
import os, resource, sys, threading
from refresher.web.background import Background

background = Background()
if os.geteuid() == 0:  # the limit does not apply to root
    os.setuid(65534)
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
print(background.submit(lambda: threading.current_thread().name).result(10))
resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
print(background.submit(lambda: threading.current_thread().name).result(10))
"""


def test_if_no_thread_starts_the_caller_runs_the_job() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_THREADS], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == ["MainThread", "endpoints-background"]
