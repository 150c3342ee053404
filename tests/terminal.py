"""A shell as somebody sits at it: what is typed goes in by a terminal, and what it shows comes out."""

import os
import pty
import select
import signal
import time
from types import TracebackType
from typing import Self

DEADLINE = 15.0  # seconds; far more than a shell takes


class Terminal:
    """`command` at a terminal of its own. A context manager: nothing is left of it in the end."""

    def __init__(self, *command: str, **environ: str) -> None:
        self._shown = b""
        self._process, self._descriptor = pty.fork()
        if self._process == 0:
            os.execve(command[0], command, {"PATH": os.environ["PATH"], "TERM": "dumb", **environ})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._descriptor)

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def shows(self, text: str) -> str:
        """Wait until it has shown `text` since it was last asked. Returns what came before."""
        until = time.monotonic() + DEADLINE
        while text.encode() not in self._shown:
            left = until - time.monotonic()
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, left))
            assert ready, f"not shown within {DEADLINE:g} s: {text!r}, but {self._shown!r}"
            self._shown += os.read(self._descriptor, 4096)
        before, _, self._shown = self._shown.partition(text.encode())
        return before.decode()
