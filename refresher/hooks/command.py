"""Runs a command: without a shell, without our key and tokens, for a limited time, with limited output."""

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from refresher.clock import SystemClock
from refresher.config.flags import PREFIX
from refresher.core.disclosure import printable
from refresher.core.hooks import RUN_TIMEOUT
from refresher.errors import HookError
from refresher.hooks import Subject, check_runs_again, processes

LARGEST_OUTPUT = 1024 * 1024  # bytes; a command that prints more is killed
LONGEST_SHOWN = 500  # characters of the output in a message
ORPHAN = 2 * RUN_TIMEOUT  # seconds after which a zombie is no command that is waited for
_BLOCK = 64 * 1024
# What a service manager gives to us alone
_OURS = (
    "CREDENTIALS_DIRECTORY",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)


class Command:
    """`hooks.Action`: a command in a process group of its own."""

    def __init__(self, arguments: tuple[str, ...], subject: Subject, redact: Callable[[str], str]) -> None:
        """Finds the command, once. Raises HookError if it does not exist or is not executable."""
        self._path, self._arguments = _found(arguments[0]), arguments
        self._redact = redact
        self._names = {"TOKEN_REFRESHER_TOKEN_NAME": subject.token, "TOKEN_REFRESHER_OUTPUT": subject.output}
        self._running: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def check(self, *, offline: bool) -> str:  # noqa: ARG002
        """See `hooks.Action`. Does not run it."""
        return f"would run {self._path}"

    def run(self, seconds: float) -> str:
        """See `hooks.Action`. If it takes too long or prints too much, its process group is killed."""
        check_runs_again(self._is_stopped)
        deadline = time.monotonic() + seconds
        try:
            process = subprocess.Popen(  # noqa: S603 -- the operator's own command, without a shell
                self._arguments,
                executable=self._path,
                cwd="/",
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise HookError(f"{self._path} cannot be started: {error.strerror}") from error
        self._running = process
        is_over = False
        try:
            if self._is_stopped:  # before `_running` was set
                _kill(process)
            end = _watch(process, deadline)
            is_over = not end.problem
        except OSError as error:
            raise HookError(f"{self._path} cannot be watched: {error.strerror} (needs Linux 5.3)") from error
        finally:
            self._running = None
            if not is_over:
                _kill(process)
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]  # it is a pipe
            _reap_orphans()
        return self._judged(end, process.returncode)

    def stop(self) -> None:
        """See `hooks.Action`."""
        self._is_stopped = True
        if process := self._running:
            _kill(process)

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(PREFIX) and name not in _OURS
        }
        return inherited | self._names

    def _judged(self, end: "_End", code: int) -> str:
        if not end.problem and code == 0:
            return f"ran {self._path}"
        problem = end.problem or (
            f"ended with exit status {code}" if code > 0 else f"was killed by {_name(-code)}"
        )
        printed = self._shown(end.output)
        raise HookError(f"{self._path} {problem}" + (f"; it printed: {printed}" if printed else ""))

    def _shown(self, output: bytes) -> str:
        """The beginning of the output, without secrets. The last word is left out if it may be cut, because a
        piece of a secret is not found."""
        text = output[:_BLOCK].decode("utf-8", "replace")
        if len(output) > _BLOCK:
            text = text.rpartition(" ")[0]
        safe = printable(self._redact(text).strip())
        return safe if len(safe) <= LONGEST_SHOWN else f"{safe[:LONGEST_SHOWN]}…"


class _End(NamedTuple):
    """How a run ended. `problem`: why it has to be killed; empty if it ended by itself."""

    output: bytes
    problem: str = ""


def _found(command: str) -> str:
    """The path of an executable file."""
    if os.path.isabs(command):
        if os.path.isfile(command) and os.access(command, os.X_OK):
            return command
        reason = "is not an executable file" if os.path.exists(command) else "does not exist"
        raise HookError(f"the command {command} {reason}; give the path of an executable file")
    found = shutil.which(command)
    if found is None:
        path = os.environ.get("PATH", os.defpath)
        raise HookError(f"the command {command} is not in PATH ({path}); give its absolute path")
    return os.path.abspath(found)


def _watch(process: "subprocess.Popen[bytes]", deadline: float) -> _End:
    """Read the output until the command itself ends. A process that it leaves behind may keep the pipe open.

    Leaves the command unreaped: until then no other process gets its number."""
    output, pipe = bytearray(), process.stdout.fileno()  # type: ignore[union-attr]  # it is a pipe
    os.set_blocking(pipe, False)
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left)}
                if pipe in ready and not _take(pipe, output):
                    selector.unregister(pipe)
                if len(output) > LARGEST_OUTPUT:
                    return _End(bytes(output), f"printed more than {LARGEST_OUTPUT} bytes: killed")
                if ended in ready and pipe not in ready:
                    return _End(bytes(output))
    finally:
        os.close(ended)
    return _End(bytes(output), "did not end in time: killed")


def _take(pipe: int, output: bytearray) -> bool:
    """Read what is there. Returns False at the end."""
    with suppress(BlockingIOError):
        block = os.read(pipe, _BLOCK)
        output += block
        return bool(block)
    return True


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended, or has become another user's
        os.killpg(process.pid, signal.SIGKILL)


def _name(number: int) -> str:
    return signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"


def _reap_orphans() -> None:
    """As PID 1 of a container, reap what commands left behind: nobody else does. Younger zombies may be
    commands that other threads wait for."""
    if os.getpid() != 1:
        return
    now = SystemClock().now().boot
    for number in processes.numbers():
        found = processes.find(number)
        if found and found.is_zombie and found.parent == 1 and now - found.began > ORPHAN:
            with suppress(ChildProcessError):
                os.waitpid(number, os.WNOHANG)
