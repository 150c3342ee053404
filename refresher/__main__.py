"""``python -m refresher`` and the console script ``refresher``."""

import atexit
import io
import os
import resource
import sys

from refresher.cli import main as _main
from refresher.observers.log_stream import BackgroundStream


def main() -> None:
    """Run the command line and leave with its exit code."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the application key, or a token
    _prepare_streams()
    sys.exit(_main(sys.argv[1:]))


def _prepare_streams() -> None:
    """Standard streams that are there and take every character; standard error keeps nobody waiting.

    A descriptor that our caller closed would be given to the next file that we open, a token's perhaps; and
    the name of a file may hold bytes that are no character in any encoding.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 -- as long as the process
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    sys.stderr = BackgroundStream(sys.stderr)
    atexit.register(sys.stderr.end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
