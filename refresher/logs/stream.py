"""A standard error that never blocks: one thread writes what all other threads print or log.

A reader may stall: a pipe that nobody reads, Ctrl-S on a terminal, a log driver or a disk that hangs. Then
only the writing thread stalls. Lines beyond `LIMIT` are dropped and counted. When the reader takes lines
again, one line in the place of the dropped ones reports how many are missing.

The thread calls write(2) on the descriptor itself, in blocking mode. `O_NONBLOCK` would change the open file
description, which the shell and other processes share. A buffered stream has a lock; if the thread hung while
it held that lock, the interpreter would abort when it flushes standard error at its end.
"""

import contextlib
import errno
import io
import os
import select
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import TextIO

LIMIT = 2000  # lines that wait for the reader, about 2 MB
RESUME = LIMIT // 2  # drop on until so few lines wait: one large gap instead of many small ones
BATCH = 64  # lines per write(2): one call for each line would switch threads for each
LAST_WAIT = 0.7  # seconds that the process waits for a reader at its end; a whole stop takes less than 5 s


class _Gap:
    """Stands in the queue for dropped lines."""

    __slots__ = ("lines",)

    def __init__(self, lines: int) -> None:
        self.lines = lines


class BackgroundStream(io.TextIOBase):
    """Replaces `stream`, which must have a descriptor. Only `end` waits for the reader.

    `dropped`: the number of lines dropped so far, because nobody read them or a write failed (a full disk, a
    reader that has gone). `gap`: returns the line that reports a number of missing lines.
    """

    def __init__(self, stream: TextIO) -> None:
        self.dropped = 0
        self.gap: Callable[[int], str] = lambda lines: f"refresher: {missing(lines)}\n"
        self._stream, self._descriptor = stream, stream.fileno()
        self._changed = threading.Condition()  # its lock is reentrant: a signal handler may print as well
        self._waiting: deque[Callable[[], str] | str | _Gap] = deque()
        self._incomplete = ""  # the line that is being printed, until its end comes
        self._thread: threading.Thread | None = None
        self._is_torn = self._has_ended = False
        self._writing_since: float | None = None  # monotonic; None while nothing is being written
        self._held_back = 0  # 1: the gap of a failed write waits for the next line; 0: nothing is held back

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a variable
        return self._stream.encoding

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        """Does nothing: complete lines are already queued."""

    def write(self, text: str) -> int:
        if self._has_ended:
            return len(text)
        with self._changed:
            *lines, self._incomplete = (self._incomplete + text).split("\n")
            for line in lines:
                self.submit(f"{line}\n")
        return len(text)

    def submit(self, line: Callable[[], str] | str) -> None:
        """Queue a line, or a function that returns it on the writing thread. Returns at once."""
        if self._has_ended:  # a thread that the interpreter has ended may have held the lock
            return
        with self._changed:
            last = self._waiting[-1] if self._waiting else None
            if len(self._waiting) < (RESUME if isinstance(last, _Gap) else LIMIT):
                self._waiting.append(line)
            else:
                self.dropped += 1
                if isinstance(last, _Gap):
                    last.lines += 1
                else:
                    self._waiting.append(_Gap(1))
            self._start()
            self._changed.notify_all()

    def end(self) -> None:
        """Wait until everything is written, at most `LAST_WAIT`. If a write has already waited that long, do
        not wait at all. Lines printed later are lost."""
        with self._changed:
            if self._incomplete:
                self.submit(self._incomplete)
            self._held_back = 0  # one last try
            if self._waiting:
                self._start()
            self._changed.notify_all()
            while self._thread is None and self._has_news() and self._is_ready():
                self._turn()
            since = self._writing_since
            has_stalled = since is not None and time.monotonic() - since > LAST_WAIT
            self._changed.wait_for(self._is_at_rest, 0 if has_stalled else LAST_WAIT)
            self._has_ended = True

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._work, name="log", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError):  # the system refuses another thread; the next line tries again
            return
        self._thread = thread

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_news)
            self._turn()

    def _has_news(self) -> bool:
        return len(self._waiting) > self._held_back

    def _is_at_rest(self) -> bool:
        return self._writing_since is None and not self._has_news()

    def _is_ready(self) -> bool:
        """Whether a write would not block."""
        return bool(select.select((), (self._descriptor,), (), 0)[1])

    def _turn(self) -> None:
        """Write the next lines of the queue. Lines that cannot be written become a gap before the rest."""
        with self._changed:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._writing_since = time.monotonic()
        written = self._write(map(self._text, batch))
        with self._changed:
            self._writing_since, self._held_back = None, 0
            lost = batch[written:]
            if lost:
                self.dropped += sum(not isinstance(item, _Gap) for item in lost)
                self._waiting.appendleft(
                    _Gap(sum(item.lines if isinstance(item, _Gap) else 1 for item in lost))
                )
                self._held_back = 1
            self._changed.notify_all()

    def _text(self, waiting: Callable[[], str] | str | _Gap) -> str:
        if isinstance(waiting, _Gap):
            return self.gap(waiting.lines)
        return waiting if isinstance(waiting, str) else waiting()

    def _write(self, texts: Iterable[str]) -> int:
        """Write these lines and return how many were written whole. A line that was cut off is ended before
        the next one begins."""
        pieces = [text.encode(self.encoding, "backslashreplace") for text in texts]
        mend = b"\n" if self._is_torn else b""
        rest = memoryview(mend + b"".join(pieces))
        with contextlib.suppress(OSError):  # there is nowhere else to report it
            while rest:
                rest = rest[self._write_some(rest) :]
        ends = [0, *accumulate(map(len, pieces))]
        done = ends[-1] - len(rest)  # -1: not even the end of the cut-off line
        whole = max(0, bisect_right(ends, done) - 1)
        self._is_torn = done != ends[whole]
        return whole

    def _write_some(self, octets: memoryview) -> int:
        try:
            written = os.write(self._descriptor, octets)
        except BlockingIOError:  # another process made the shared descriptor non-blocking
            select.select((), (self._descriptor,), ())
            return 0
        if written == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return written


def missing(lines: int) -> str:
    """The text of the line that stands in the place of missing lines."""
    if lines == 1:
        return "1 line is missing here: nobody read it, or it could not be written"
    return f"{lines} lines are missing here: nobody read them, or they could not be written"
