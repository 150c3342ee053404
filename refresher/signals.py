"""Handles signals from the start of the process until a command handles them itself.

In a container this process is PID 1. The kernel discards a signal to PID 1 that has no handler. So `begin`
comes before all slow work, and this module imports only modules that are built into Python. SIGTERM raises
`Terminated`, as SIGINT raises KeyboardInterrupt, so that clean-up code runs.

A Python handler runs only between two Python instructions: never while the resolver or a hung file system
blocks the main thread. So a second thread ends the process after `GRACE`.
"""

import _signal  # type: ignore[import-not-found]  # `signal` itself imports enums, which takes 9 ms
import _thread
import os
import time

TYPE_CHECKING = False  # importing `typing` takes 5 ms; type checkers know this name too
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    Handler = Callable[[int, FrameType | None], None]

GRACE = 4.0  # seconds for clean-up: any command ends within five (docs/reliability.md, promise 7)

# A stopped command ends with 128 + the number of the signal, as in shells, except these: stopping is the
# normal end of the first two, and an interrupted `once` should be tried again.
_STOPPED = {"run": os.EX_OK, "controller": os.EX_OK, "emulator": os.EX_OK, "once": os.EX_TEMPFAIL}
_SERVED_LATER = dict.fromkeys(("run", "controller"), (_signal.SIGUSR1, _signal.SIGHUP))

_before: dict[int, "Handler | int | None"] = {}  # what `begin` replaced
_early: list[int] = []  # signals that arrived before the command could handle them
_wakeup: list[int] = []  # the writing end of the pipe that reports signals to the thread


class Terminated(BaseException):
    """SIGTERM arrived, and the command does not handle it itself."""


def begin(command: str) -> None:
    """Install handlers for signals that would be lost, or fatal before `command` can handle them."""
    _before[_signal.SIGTERM] = _signal.signal(_signal.SIGTERM, _terminate)
    for number in _SERVED_LATER.get(command, ()):
        _signal.signal(number, _remember)


def watch(command: str) -> None:
    """End the process `GRACE` seconds after SIGTERM or SIGINT, even if the main thread runs no Python.

    Call this after the standard streams are open, so that the pipe does not get their numbers. It does
    nothing if the system has no free descriptor or thread.
    """
    try:
        reader, writer = os.pipe()
        _thread.start_new_thread(_end_after_grace, (reader, command))
    except (OSError, RuntimeError):
        return
    os.set_blocking(writer, False)
    _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _wakeup.append(writer)


def take_over(handlers: "Mapping[int, Handler]") -> None:
    """Install the command's own handlers, and call them for the signals that have already arrived."""
    _signal.set_wakeup_fd(-1)
    while _wakeup:
        os.close(_wakeup.pop())  # ends the thread
    for number, handler in handlers.items():
        _signal.signal(number, handler)
    while _early:
        number = _early.pop(0)
        handlers[number](number, None)


def hand_over() -> None:
    """Prepare for another program that takes the place of this one: no signal is handled, and those that
    Python ignores have their default action again. A signal in the same moment ends the process; a handler
    that Python had no time to call would lose it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGPIPE, _signal.SIGXFSZ):
        is_ours = callable(_signal.getsignal(number)) or number in (_signal.SIGPIPE, _signal.SIGXFSZ)
        if is_ours:
            _signal.signal(number, _before.get(number) or _signal.SIG_DFL)
    _signal.set_wakeup_fd(-1)
    try:
        arrived = os.read(reader, 64)
    except BlockingIOError:
        return
    for number in arrived:
        os.kill(os.getpid(), number)


def end() -> None:
    """Ignore SIGTERM from now on: the rest takes no time and must not be interrupted."""
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)


def exit_code(command: str, number: int) -> int:
    """The exit code of a `command` that signal `number` stopped and that does not handle it itself."""
    return _STOPPED.get(command, 128 + number)


def _terminate(_number: int, _frame: "FrameType | None") -> None:
    end()  # a second SIGTERM would interrupt the clean-up
    raise Terminated


def _remember(number: int, _frame: "FrameType | None") -> None:
    _early.append(number)


def _end_after_grace(reader: int, command: str) -> None:
    while received := os.read(reader, 1):
        if received[0] in (_signal.SIGTERM, _signal.SIGINT):
            time.sleep(GRACE)
            os._exit(exit_code(command, received[0]))
    os.close(reader)
