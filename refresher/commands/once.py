"""`refresher once`: one pass, for cron, timers and init containers."""

import argparse
import signal
from types import FrameType

from refresher import cli_options, exit_codes, signals, wiring
from refresher.config import flags
from refresher.config.loader import KEY, OUTPUTS
from refresher.config.rules import problems_of_period
from refresher.core.events import Stopping
from refresher.errors import ConfigurationError, Problem
from refresher.logs.observer import LogObserver
from refresher.ports import Message

TOLD_WITHIN = 5.0  # seconds that the Events of this pass are waited for at its end
IN_A_HURRY = 1.0  # seconds for the same after a signal: the engine took up to four of the five that there are

EXAMPLE = """\
  */10 * * * *  /opt/inlive-token-refresher/bin/refresher once --every 11m --config /etc/inlive/refresher.yaml

cron looks for programs in /usr/bin and /bin only: write the full path, as `command -v refresher` prints it.
A token is minted when it is due, or with --every when it would come due before the next call. Nothing is
printed if all went well, so that cron sends no mail; --log-level info prints what was done."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--every",
        metavar="DURATION",
        help="how often this is called: what would come due before the next call is minted now",
    )
    flags.add_flags(parser, [group for group in flags.GROUPS if group != "listen"])


def run(arguments: argparse.Namespace) -> int:
    found = cli_options.loaded(arguments, command="once", needs=(KEY, OUTPUTS))
    settings = found.settings
    if settings.leader_election is not None:
        problem = (
            "is for `run`; one pass at a time is seen to by cron, or a CronJob's concurrencyPolicy: Forbid"
        )
        raise ConfigurationError((Problem("leader_election", problem),))
    every = cli_options.duration("--every", arguments.every) if arguments.every else 0.0
    mistakes = problems_of_period(every, settings.tokens) if every else ()
    if mistakes:
        raise ConfigurationError(mistakes)
    runtime = wiring.installation(settings, [LogObserver(retries=False)], horizon=every)
    # Cron sends by mail whatever is printed.
    cli_options.configure_log(found.log, runtime.secrets.blot_out, level="warning")

    def stop(_number: int, _frame: FrameType | None) -> None:
        runtime.mailbox.post(Message(None, Stopping()))

    signals.take_over({signal.SIGTERM: stop, signal.SIGINT: stop})
    runtime.engine.settle()
    states = [state for _, state in runtime.engine.view()]
    if runtime.events is not None:
        runtime.events.flush(IN_A_HURRY if any(state.stopping for state in states) else TOLD_WITHIN)
    return exit_codes.of_states(states, runtime.clock.now())
