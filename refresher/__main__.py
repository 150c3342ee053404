"""``python -m refresher`` and the console script ``refresher``."""

import os
import sys

from refresher import hardening, signals


def main() -> None:
    """Run the command line and leave with its exit code."""
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
    sys.exit(code)


def _run(command: str) -> int:
    _open_descriptors()
    signals.watch(command)
    hardening.keep_secrets_in()
    _prepare_streams()
    from refresher.cli import main as run_command_line  # noqa: PLC0415 -- it takes a while

    return run_command_line(sys.argv[1:])


def _signal_of(error: BaseException | None) -> int | None:
    """Which signal `error` stands for. Python 3.11 raises a RuntimeError for whatever is raised in
    __set_name__: during an import."""
    import signal  # noqa: PLC0415

    if isinstance(error, RuntimeError):
        error = error.__cause__
    if isinstance(error, signals.Terminated):
        return signal.SIGTERM
    return signal.SIGINT if isinstance(error, KeyboardInterrupt) else None


def _open_descriptors() -> None:
    """See that the first three are open: one that our caller closed would be given to the next file that we
    open, a token's perhaps."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _prepare_streams() -> None:
    """Standard streams that are there and take every character, as the name of a file may hold bytes that are
    no character in any encoding. Standard error keeps nobody waiting."""
    import atexit  # noqa: PLC0415 -- signals have handlers first
    import io  # noqa: PLC0415

    from refresher.logs.stream import BackgroundStream  # noqa: PLC0415

    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 -- as long as the process
    sys.stderr = BackgroundStream(sys.stderr or open(2, "w", closefd=False))  # noqa: SIM115
    atexit.register(sys.stderr.end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
