"""`refresher wait`: block a start script or a native sidecar until its tokens are valid."""

import argparse
import sys
import time
from collections.abc import Iterator

from refresher import assembly, cli_options, exit_codes
from refresher.clock import SystemClock
from refresher.config import flags
from refresher.config.durations import format_duration
from refresher.config.loader import OUTPUTS
from refresher.ports import Clock
from refresher.status.outputs import status_of_outputs

POLL = 0.2  # seconds; an inspection costs some tens of microseconds

EXAMPLE = """\
  refresher wait --to-file /var/run/inlive/access-token --timeout 30s && exec my-application

Needs no key. Exit code 75 if an output still holds no valid token when the time is up."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", metavar="DURATION", default="1m", help="the longest time to wait. Default: 1m"
    )
    flags.add_flags(parser, ("config", "format", "output"))


def run(arguments: argparse.Namespace) -> int:
    settings = cli_options.loaded(arguments, command="wait", needs=(OUTPUTS,)).settings
    timeout = cli_options.duration("--timeout", arguments.timeout)
    clock = SystemClock()
    tokens = assembly.published_tokens(settings)
    deadline = clock.now().boot + timeout
    while reasons := [reason for published in tokens for reason in _reasons(published, clock)]:
        left = deadline - clock.now().boot
        if left <= 0:
            for reason in reasons:
                print(f"refresher: timed out after {format_duration(timeout)}: {reason}", file=sys.stderr)
            return exit_codes.TRY_AGAIN
        time.sleep(min(POLL, left))
    return exit_codes.DONE


def _reasons(published: assembly.Published, clock: Clock) -> Iterator[str]:
    """Why consumers cannot start yet: the problem of each output without a valid token, and what to do."""
    for output in status_of_outputs(*published, clock).outputs:
        if not output.valid and (problem := output.problem):
            yield f"{output.name}: {problem.message}; {problem.advice}"
