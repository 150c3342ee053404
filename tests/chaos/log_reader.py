"""A reader of a daemon's log that pauses now and then, and a small pipe."""

import array
import fcntl
import termios
import threading
from typing import IO

from tests.commands.daemon import Daemon

ROOM = 4096  # bytes: the smallest capacity of a pipe, one page (F_SETPIPE_SZ in fcntl(2))
A_LINE = 1024  # bytes; few are longer
CLOSED_FOR = 0.05  # seconds between two checks that the daemon lives


class Gate:
    """Whether the log is read. A restarted daemon keeps the same gate."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._is_open.set()
        self._stream: IO[str] | None = None

    def shut(self) -> None:
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()

    def guard(self, stream: IO[str]) -> None:
        fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, ROOM)
        self._stream = stream

    def await_open(self) -> bool:
        """Wait a moment for the gate to open. Returns False if it is still shut."""
        return self._is_open.wait(CLOSED_FOR)

    def held_back(self) -> bool:
        """Whether the pipe has no room for another line."""
        if self._stream is None or self._stream.closed:
            return False
        waiting = array.array("i", [0])
        fcntl.ioctl(self._stream, termios.FIONREAD, waiting)
        return waiting[0] > ROOM - A_LINE


class ReadDaemon(Daemon):
    """A daemon whose standard error is read only while the gate is open."""

    def __init__(self, gate: Gate, *words: object, **environ: str) -> None:
        self._gate = gate
        super().__init__(*words, **environ)

    def _read(self, stream: IO[str]) -> None:
        is_log = stream is self.process.stderr
        if is_log:
            self._gate.guard(stream)
        with stream:
            for line in stream:
                self._lines.append(line.rstrip("\n"))
                while is_log and not self._gate.await_open() and self.process.poll() is None:
                    pass
