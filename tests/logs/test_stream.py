"""A stream that never blocks, on real pipes, terminals and files whose readers stall and come back."""

import contextlib
import os
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from refresher.logs.stream import LIMIT, BackgroundStream
from tests.commands.daemon import eventually
from tests.threads import no_threads

MISSING = re.compile(r"refresher: (\d+) lines? (?:is|are) missing here: ")
MANY = 5 * LIMIT  # lines of `LINE`, which is far more than a pipe or a terminal takes without a reader
LINE = "line {} " + 100 * "x"


class Pipe:
    """A pipe with a stream at its near end. Only `read` reads at the far end."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.file = open(self.writer, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        self.stream = BackgroundStream(self.file)
        self.taken: list[str] = []

    def read(self, until: Callable[[str], bool]) -> None:
        """Read lines, up to the first for which `until` is true."""
        with open(self.reader, encoding="utf-8", closefd=False) as reading:
            for line in reading:
                self.taken.append(line.rstrip("\n"))
                if until(line):
                    break


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.reader)  # which ends a write that hangs
    rests(made.stream)
    os.close(made.writer)


def rests(stream: BackgroundStream) -> None:
    """Wait until its thread has finished with the descriptor, which another file may get."""
    if stream._thread is not None:
        eventually(stream._is_at_rest, "the writing thread rests")


def printed(stream: BackgroundStream, count: int) -> None:
    for number in range(count):
        print(LINE.format(number), file=stream)


def accounted(taken: list[str]) -> int:
    """How many lines were read or reported as missing, each in its place."""
    count = 0
    for line in taken:
        missing = MISSING.match(line)
        if missing:
            count += int(missing[1])
        else:
            assert line == LINE.format(count)
            count += 1
    return count


# --- A reader that reads every line


def test_a_healthy_reader_gets_every_line_including_the_last(pipe):
    reader = threading.Thread(target=pipe.read, args=[lambda line: f"line {MANY - 1} " in line])
    reader.start()
    for number in range(MANY):
        eventually(lambda: len(pipe.stream._waiting) < LIMIT, "there is room")
        print(LINE.format(number), file=pipe.stream)
    pipe.stream.end()
    reader.join()
    assert pipe.taken == [LINE.format(number) for number in range(MANY)]
    assert pipe.stream.dropped == 0


def test_lines_that_several_threads_print_in_pieces_stay_whole(pipe):
    def shout(word: str) -> None:
        for _ in range(100):
            pipe.stream.write(f"{word}\n{word}\n")

    threads = [threading.Thread(target=shout, args=[50 * each]) for each in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.stream.write("the ")
    pipe.stream.write("end\nno line feed")
    pipe.stream.end()
    os.set_blocking(pipe.reader, False)
    pipe.read(lambda line: line == "no line feed")
    assert set(pipe.taken) == {"the end", "no line feed", *(50 * each for each in "abc")}


def test_characters_outside_the_encoding_are_escaped(tmp_path):
    with open(tmp_path / "log", "w", encoding="ascii") as file:
        stream = BackgroundStream(file)
        print("é \udcff", file=stream)
        stream.end()
    assert (tmp_path / "log").read_text() == "\\xe9 \\udcff\n"


# --- A reader that stalls


def test_neither_a_print_nor_the_end_waits_for_a_stalled_reader(pipe):
    printed(pipe.stream, MANY)
    assert pipe.stream.dropped > MANY - 2 * LIMIT
    pipe.stream.end()
    print("after the end", file=pipe.stream)


def test_no_print_waits_for_a_stopped_terminal():
    """Ctrl-S has the same effect as this call."""
    ours, theirs = os.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    with open(theirs, "w", encoding="utf-8") as file:
        stream = BackgroundStream(file)
        printed(stream, MANY)
        assert stream.dropped > MANY - 2 * LIMIT
        stream.end()
        os.close(ours)
        rests(stream)


def test_a_reader_that_comes_back_reads_how_many_lines_are_missing_and_where(pipe):
    printed(pipe.stream, MANY)
    pipe.read(lambda line: MISSING.match(line) is not None)
    assert accounted(pipe.taken) == MANY
    assert sum(MISSING.match(line) is not None for line in pipe.taken) == 1
    pipe.stream.submit("all is well again\n")
    pipe.read(lambda line: True)
    assert pipe.taken[-1] == "all is well again"


def test_a_slow_reader_sees_few_gaps_and_every_line_is_accounted_for(pipe):
    for number in range(MANY):
        print(LINE.format(number), file=pipe.stream)
        if number % 3 == 0:
            take_one(pipe)
    reader = threading.Thread(target=pipe.read, args=[lambda line: line == "the end\n"])
    reader.start()
    eventually(lambda: len(pipe.stream._waiting) < LIMIT // 2, "there is room")
    print("the end", file=pipe.stream)
    reader.join()
    assert accounted(pipe.taken[:-1]) == MANY
    assert 0 < sum(MISSING.match(line) is not None for line in pipe.taken) < 10


def take_one(pipe: Pipe) -> None:
    """Take one line, if there is one."""
    line = b""
    os.set_blocking(pipe.reader, False)
    try:
        while not line.endswith(b"\n"):
            line += os.read(pipe.reader, 1)
        pipe.taken.append(line.decode().rstrip("\n"))
    except BlockingIOError:
        assert line == b""
    finally:
        os.set_blocking(pipe.reader, True)


def test_a_line_that_the_writing_thread_makes_delays_no_other_thread(pipe):
    may_go_on, makers = threading.Event(), []

    def slow() -> str:
        may_go_on.wait()
        makers.append(threading.current_thread())
        return "slow\n"

    pipe.stream.submit(slow)
    print("quick", file=pipe.stream)
    may_go_on.set()
    pipe.read(lambda line: line == "quick\n")
    assert pipe.taken == ["slow", "quick"]
    assert makers != [threading.main_thread()]


# --- A descriptor that does not accept every write


class Disk:
    """A disk that is full and then has room; a stream whose descriptor leads to a file on it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115
        self.stream = BackgroundStream(self._file)

    def has_room(self) -> None:
        with open(self._path, "wb") as roomy:
            os.dup2(roomy.fileno(), self._file.fileno())

    def lines(self) -> list[str]:
        self.stream.end()
        self._file.close()
        return self._path.read_text().splitlines()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full, a disk that is always full")
    return Disk(tmp_path / "log")


def test_lines_lost_on_a_full_disk_are_counted_and_reported_when_there_is_room_again(disk):
    printed(disk.stream, 10)
    eventually(lambda: disk.stream.dropped == 10, "ten lines could not be written")
    disk.stream.submit("x\n")
    eventually(lambda: disk.stream.dropped == 11, "nor could another one")
    disk.has_room()
    print("there is room", file=disk.stream)
    missing, line = disk.lines()
    assert MISSING.match(missing)[1] == "11"
    assert line == "there is room"
    assert disk.stream.dropped == 11


def test_the_end_tries_once_more_to_report_missing_lines(disk):
    printed(disk.stream, 10)
    eventually(lambda: disk.stream.dropped == 10, "ten lines could not be written")
    disk.has_room()
    (missing,) = disk.lines()
    assert MISSING.match(missing)[1] == "10"


TORN = """
import resource, sys
from refresher.logs.stream import BackgroundStream
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
file = open(sys.argv[1], "w")
stream = BackgroundStream(file)
stream.submit("".join(f"{number}: {30 * 'x'}\\n" for number in range(5)))  # 34 bytes each
while stream.dropped != 1: pass
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("whole", file=stream)
stream.end()
"""


def test_a_line_that_was_cut_off_does_not_run_into_the_next(tmp_path):
    path = tmp_path / "log"
    subprocess.run([sys.executable, "-c", TORN, path], check=True, timeout=60)
    *_, torn, missing, last = path.read_text().splitlines()
    assert torn == "2: " + 29 * "x"
    assert MISSING.match(missing)[1] == "1"
    assert last == "whole"


def test_a_descriptor_that_another_process_made_non_blocking_loses_nothing(pipe):
    os.set_blocking(pipe.writer, False)
    printed(pipe.stream, LIMIT)
    pipe.read(lambda line: f"line {LIMIT - 1} " in line)
    assert accounted(pipe.taken) == LIMIT
    assert pipe.stream.dropped == 0


def test_the_stream_leaves_the_shared_descriptor_blocking(pipe):
    shared = os.dup(pipe.writer)
    printed(pipe.stream, MANY)
    pipe.stream.end()
    assert os.get_blocking(shared)
    os.close(shared)


# --- Without a thread


def test_a_refused_thread_loses_no_line(pipe):
    with no_threads():
        printed(pipe.stream, 3)
    assert pipe.stream._thread is None
    printed(pipe.stream, 1)
    pipe.read(lambda line: len(pipe.taken) == 4)
    assert pipe.stream.dropped == 0


def test_without_a_thread_everything_is_written_at_the_end(pipe):
    with no_threads():
        printed(pipe.stream, 100)
        pipe.stream.end()
    pipe.read(lambda line: "line 99 " in line)
    assert accounted(pipe.taken) == 100


def test_without_a_thread_the_end_does_not_wait_for_a_stalled_reader(pipe):
    os.set_blocking(pipe.writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe.writer, 4096 * b"x"):
            pass
    os.set_blocking(pipe.writer, True)
    with no_threads():
        printed(pipe.stream, 100)
        pipe.stream.end()


# --- A process that prints


REENTRANT = """
import signal, sys
from refresher.logs.stream import BackgroundStream
sys.stderr = BackgroundStream(sys.stderr)
signal.signal(signal.SIGALRM, lambda *_: print("tick", file=sys.stderr))
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)  # a handler ends before the next one begins
for number in range(20000):
    print("tock", file=sys.stderr)
signal.setitimer(signal.ITIMER_REAL, 0)
print("done", flush=True)
"""


def test_a_signal_handler_may_print_during_a_print():
    ended = run(REENTRANT)
    assert (ended.stdout, ended.returncode) == ("done\n", 0)
    lines = {line for line in ended.stderr.splitlines() if not MISSING.match(line)}
    assert {"tick", "tock"} <= lines


def run(code: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams),
        text=True,
        check=False,
        timeout=60,
    )
