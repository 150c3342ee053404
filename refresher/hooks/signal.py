"""Sends a signal to a process that a pid file or a name identifies."""

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from refresher.clock import SystemClock
from refresher.config.hooks import PidFileSignal, ProcessSignal
from refresher.config.quoting import shown_path
from refresher.errors import HookError
from refresher.hooks import processes

LONGEST_PID_FILE = 64  # bytes; the beginning of a longer file may be a part of a number
LARGEST_PID = 2**22  # PID_MAX_LIMIT of Linux, see proc(5); larger numbers do not even fit into a system call
SLACK = 5.0  # seconds; a daemon may write its pid file a moment before /proc says that it began
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Signal:
    """`hooks.Action`: a signal. Processes are found anew for each run, because they may be restarted."""

    def __init__(self, target: PidFileSignal | ProcessSignal) -> None:
        self._target = target
        self._number = signal.Signals[f"SIG{target.signal}"]

    def check(self, *, offline: bool) -> str:  # noqa: ARG002
        """See `hooks.Action`: sends signal 0, which only asks whether we may."""
        return f"would send {self._sent(0)}"

    def run(self, seconds: float) -> str:  # noqa: ARG002 -- nothing here waits
        """See `hooks.Action`."""
        return f"sent {self._sent(self._number)}"

    def stop(self) -> None:
        """Nothing to kill: a signal takes no time."""

    def _sent(self, number: int) -> str:
        if isinstance(self._target, PidFileSignal):
            pid = _of_pid_file(self._target.pid_file, number)
            return f"{self._number.name} to process {pid}, from {self._target.pid_file}"
        pids = ", ".join(map(str, _of_name(self._target.process, number)))
        return f"{self._number.name} to process {pids}, {self._target.process}"


def _of_pid_file(path: str, number: int) -> int:
    """Send signal `number` to the process that the file names, and return its number."""
    pid, age = _read(path)
    if pid in (0, 1, os.getpid()):
        whose = {0: "no process", 1: "the init process; use {process: NAME} if that is meant"}
        raise HookError(f"{path} names process {pid}: {whose.get(pid, 'the refresher itself')}")
    with _opened(pid) as process:
        if process is None:
            raise HookError(f"{path} is stale: process {pid} does not run; start the consumer")
        found = processes.find(pid)
        if found is None:
            hidden = "is not visible in /proc (hidepid; systemd: ProtectProc=default shows it)"
            raise HookError(f"process {pid}, from {path}, {hidden}, so it cannot be checked")
        if found.is_zombie:
            raise HookError(f"{path} is stale: process {pid} has ended; start the consumer")
        late = age - (SystemClock().now().boot - found.began)
        if late > SLACK:
            who = f"process {pid} ({processes.name_of(pid)})"
            raise HookError(
                f"{path} is stale: {who} began {late:.0f} s after the file was written, so it is another "
                "program; restart the consumer"
            )
        try:
            signal.pidfd_send_signal(process, number)
        except ProcessLookupError as error:
            raise HookError(f"{path} is stale: process {pid} has ended; start the consumer") from error
        except PermissionError as error:
            raise HookError(f"process {pid}, from {path}, {_NOT_PERMITTED}") from error
    return pid


_NOT_PERMITTED = "belongs to another user: run the refresher as that user, or give it CAP_KILL"


def _read(path: str) -> tuple[int, float]:
    """The number in the file, and the age of the file in seconds."""
    try:
        file = os.open(path, _READ)
        try:
            found = os.fstat(file)
            _require_trusted(path, found)
            content = os.read(file, LONGEST_PID_FILE + 1)
        finally:
            os.close(file)
    except OSError as error:
        problem = f"{shown_path(path)} cannot be read: {error.strerror}; is the consumer running?"
        raise HookError(problem) from error
    text = content.strip()
    is_number = len(content) <= LONGEST_PID_FILE and text.isdigit()  # bytes: ASCII digits only
    if not (is_number and int(text) <= LARGEST_PID):
        raise HookError(f"{path} does not hold the number of a process")
    return int(text), SystemClock().now().wall - found.st_mtime


def _require_trusted(path: str, found: os.stat_result) -> None:
    """Whoever can write the file chooses the process that gets our signal."""
    if not stat.S_ISREG(found.st_mode):
        raise HookError(f"{path} is no regular file")
    if found.st_uid not in (0, os.geteuid()):
        raise HookError(
            f"{path} belongs to user {found.st_uid}: only root and the refresher's user are trusted"
        )
    if found.st_mode & 0o022:
        raise HookError(
            f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: others may write it; `chmod go-w` it"
        )


def _of_name(name: str, number: int) -> list[int]:
    """Send signal `number` to each process of this name whose parent has another one: to a server, not to its
    workers. Returns their numbers."""
    named = {pid for pid in processes.numbers() if processes.name_of(pid) == name} - {os.getpid()}
    sent, denied = [], []
    for pid in sorted(named):
        with _opened(pid) as process:
            found = processes.find(pid)
            if process is None or found is None or found.is_zombie or found.parent in named:
                continue
            if processes.name_of(pid) != name:  # the number is another process's by now
                continue
            try:
                signal.pidfd_send_signal(process, number)
            except ProcessLookupError:
                continue
            except PermissionError:
                denied.append(pid)
                continue
            sent.append(pid)
    if sent:
        return sent
    if denied:
        raise HookError(f"process {denied[0]}, {name}, {_NOT_PERMITTED}")
    raise HookError(
        f"no process has the name {name}: start the consumer, or share its process namespace "
        "(shareProcessNamespace: true)"
    )


@contextmanager
def _opened(pid: int) -> Iterator[int | None]:
    """A descriptor of the process, which no other process can get; None if it does not run."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    except OSError as error:
        raise HookError(f"process {pid} cannot be reached: {error.strerror} (needs Linux 5.3)") from error
    try:
        yield process
    finally:
        os.close(process)
