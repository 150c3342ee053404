"""Signals, from the first moment of the process until a command handles them itself.

The kernel discards a signal without a handler if it is sent to PID 1, which in a container is this process.
So `begin` comes before everything that takes time, and this module imports only what is built into Python.
SIGTERM then raises `Terminated`, just as SIGINT raises KeyboardInterrupt: clean-up happens on the way out.

A handler written in Python runs only between two instructions of Python, though: never while the resolver or
a hung file system holds the main thread. For that there is a thread, which ends the process after `GRACE`.
"""

import _signal  # type: ignore[import-not-found]  # `signal` itself imports enums, which takes 9 ms
import _thread
import os
import time

TYPE_CHECKING = False  # `typing` takes 5 ms; type checkers take this name for the same
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    Handler = Callable[[int, FrameType | None], None]

GRACE = 4.0  # seconds for clean-up: any command ends within five (design §3)

# A command that is stopped ends with 128 + the number of the signal, as shells have it, except these: to be
# stopped is how the first two end, and a pass that was cut short is to be tried again.
_STOPPED = {"run": os.EX_OK, "emulator": os.EX_OK, "once": os.EX_TEMPFAIL}
_SERVED_LATER = {"run": (_signal.SIGUSR1, _signal.SIGHUP)}

_early: list[int] = []  # signals that came before the command could serve them
_wakeup: list[int] = []  # the end of the pipe through which the thread hears of a signal


class Terminated(BaseException):
    """SIGTERM came, and the command does not handle it itself."""


def begin(command: str) -> None:
    """Have a handler for what would otherwise be lost or, before `command` is ready for it, fatal."""
    _signal.signal(_signal.SIGTERM, _terminate)
    for number in _SERVED_LATER.get(command, ()):
        _signal.signal(number, _remember)


def watch(command: str) -> None:
    """End the process `GRACE` seconds after SIGTERM or SIGINT even if no Python runs in the main thread.

    Call this once the standard streams are open: the pipe must not take their numbers. Without a free
    descriptor or thread there is no such watch, and everything else goes on.
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
    """Leave these signals to the command. Its handlers are called first for those that have come already."""
    _signal.set_wakeup_fd(-1)
    while _wakeup:
        os.close(_wakeup.pop())  # which ends the thread
    for number, handler in handlers.items():
        _signal.signal(number, handler)
    while _early:
        number = _early.pop(0)
        handlers[number](number, None)


def end() -> None:
    """What is left to do takes no time, and a signal is not to break it off."""
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)


def exit_code(command: str, number: int) -> int:
    """The exit code of a `command` that was stopped by signal `number` and did not handle that itself."""
    return _STOPPED.get(command, 128 + number)


def _terminate(_number: int, _frame: "FrameType | None") -> None:
    end()  # a second one would break off the clean-up
    raise Terminated


def _remember(number: int, _frame: "FrameType | None") -> None:
    _early.append(number)


def _end_after_grace(reader: int, command: str) -> None:
    while heard := os.read(reader, 1):
        if heard[0] in (_signal.SIGTERM, _signal.SIGINT):
            time.sleep(GRACE)
            os._exit(exit_code(command, heard[0]))
    os.close(reader)
