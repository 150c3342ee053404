"""`refresher wait`: block a start script or a native sidecar until its tokens are valid."""

import argparse
import sys
import time

from refresher import assembly, cli_options, exit_codes
from refresher.clock import SystemClock
from refresher.config import flags
from refresher.config.durations import format_duration
from refresher.config.loader import OUTPUTS
from refresher.core.adoption import believed
from refresher.errors import OutputError
from refresher.ports import Clock, Output

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
    outputs = [output for token in assembly.published_tokens(settings) for output in token.outputs]
    deadline = clock.now().boot + timeout
    while reasons := [reason for output in outputs if (reason := why_not_ready(output, clock))]:
        left = deadline - clock.now().boot
        if left <= 0:
            for reason in reasons:
                print(f"refresher: timed out after {format_duration(timeout)}: {reason}", file=sys.stderr)
            return exit_codes.TRY_AGAIN
        time.sleep(min(POLL, left))
    return exit_codes.DONE


def why_not_ready(output: Output, clock: Clock) -> str | None:
    """Why a consumer cannot start yet, or None if `output` holds a valid token."""
    try:
        holding = believed(output.inspect(clock.now()), clock.now())
    except OutputError as error:
        return str(error)
    if holding.remaining(clock.now()) > 0:
        return None
    return f"{output.name} {'holds an expired token' if holding.facts else 'holds no token'}"
