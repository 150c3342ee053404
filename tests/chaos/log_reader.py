"""A reader of a daemon's log who looks away now and then, and a pipe that holds little."""

import array
import fcntl
import termios
import threading
from typing import IO

from tests.commands.daemon import Daemon

ROOM = 4096  # bytes: the least that a pipe can hold, a page (F_SETPIPE_SZ in fcntl(2))
A_LINE = 1024  # bytes; few are longer
CLOSED_FOR = 0.05  # seconds until it is looked whether the daemon still lives


class Gate:
    """Whether the log is read. It is the same one for a daemon that is started again."""

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
        """False when it is still shut after a moment."""
        return self._is_open.wait(CLOSED_FOR)

    def held_back(self) -> bool:
        """Whether there is so much in the pipe that a line more has no room."""
        if self._stream is None or self._stream.closed:
            return False
        waiting = array.array("i", [0])
        fcntl.ioctl(self._stream, termios.FIONREAD, waiting)
        return waiting[0] > ROOM - A_LINE


class ReadDaemon(Daemon):
    """A daemon whose standard error is read while the gate is open."""

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
