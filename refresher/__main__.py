"""``python -m refresher`` and the console script ``refresher``."""

import os
import sys

from refresher import hardening, signals

TYPE_CHECKING = False  # as in `signals`
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Run the command line and exit with its exit code."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    signals.begin(command)
    try:
        code = _run(command)
        signals.end()
    except (KeyboardInterrupt, signals.Terminated, RuntimeError) as error:
        number = _signal_of(error)
        if number is None:
            raise
        code = signals.exit_code(command, number)
    _exit(code)


def _run(command: str) -> int:
    _open_descriptors()
    signals.watch(command)
    hardening.keep_secrets_in(for_good=command != "exec")
    _prepare_streams()
    from refresher.cli import main as run_command_line  # noqa: PLC0415 -- a slow import: signals first

    return run_command_line(sys.argv[1:])


def _exit(code: int) -> "NoReturn":
    """End the process after the exit functions of all modules, without destroying any object. The objects of
    ten thousand tokens take longer than the whole stop before."""
    import atexit  # noqa: PLC0415 -- after the signal handlers
    from contextlib import suppress  # noqa: PLC0415

    try:
        atexit._run_exitfuncs()  # noqa: SLF001 -- no public function runs them
        with suppress(OSError, ValueError):  # a reader that has gone, or a stream that was closed
            if sys.stdout is not None:
                sys.stdout.flush()
    finally:  # also if SIGINT interrupts them
        os._exit(code)


def _signal_of(error: BaseException | None) -> int | None:
    """The signal that `error` stands for, if any. Python 3.11 wraps an exception in __set_name__, during an
    import, into a RuntimeError."""
    import signal  # noqa: PLC0415

    if isinstance(error, RuntimeError):
        error = error.__cause__
    if isinstance(error, signals.Terminated):
        return signal.SIGTERM
    return signal.SIGINT if isinstance(error, KeyboardInterrupt) else None


def _open_descriptors() -> None:
    """Open descriptors 0 to 2 if our caller closed them. Otherwise the next file that we open, perhaps a
    token's, would become a standard stream."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _prepare_streams() -> None:
    """Make sure that the standard streams exist and accept every character: a file name may hold undecodable
    bytes. Writing to standard error never blocks."""
    import atexit  # noqa: PLC0415 -- after the signal handlers
    import io  # noqa: PLC0415

    from refresher.logs.stream import BackgroundStream  # noqa: PLC0415

    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 -- open until the process ends
    sys.stderr = BackgroundStream(sys.stderr or open(2, "w", closefd=False))  # noqa: SIM115
    atexit.register(sys.stderr.end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
