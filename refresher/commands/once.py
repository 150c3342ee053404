"""`refresher once`: make one pass, for cron, timers and init containers."""

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

FLUSH_TIMEOUT = 5.0  # seconds that the end of a pass waits for its Events to be written
HURRIED_FLUSH_TIMEOUT = 1.0  # seconds, after a signal: the engine used up to four of the five seconds

EXAMPLE = """\
  */10 * * * *  /opt/inlive-token-refresher/bin/refresher once --every 11m --config /etc/inlive/refresher.yaml

cron searches only /usr/bin and /bin: write the full path, as `command -v refresher` prints it.
A token is minted when it is due; with --every, also when it would come due before the next call.
A pass without a failure prints nothing, so cron sends no mail; --log-level info logs each step."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--every",
        metavar="DURATION",
        help="time between two calls; mint now each token that would come due before the next call",
    )
    flags.add_flags(parser, [group for group in flags.GROUPS if group != "listen"])


def run(arguments: argparse.Namespace) -> int:
    found = cli_options.loaded(arguments, command="once", needs=(KEY, OUTPUTS))
    settings = found.settings
    if settings.leader_election is not None:
        problem = "is for `run` only; to run one pass at a time, use a CronJob with concurrencyPolicy: Forbid"
        raise ConfigurationError((Problem("leader_election", problem),))
    every = cli_options.duration("--every", arguments.every) if arguments.every else 0.0
    problems = problems_of_period(every, settings.tokens) if every else ()
    if problems:
        raise ConfigurationError(problems)
    runtime = wiring.installation(settings._replace(serve=None), [LogObserver(retries=False)], horizon=every)
    # cron mails everything that is printed.
    cli_options.configure_log(found.log, runtime.secrets.blot_out, level="warning")

    def stop(_number: int, _frame: FrameType | None) -> None:
        runtime.mailbox.post(Message(None, Stopping()))

    signals.take_over({signal.SIGTERM: stop, signal.SIGINT: stop})
    runtime.engine.settle()
    states = [state for _, state in runtime.engine.view()]
    for recorder in runtime.events:
        recorder.flush(HURRIED_FLUSH_TIMEOUT if any(state.stopping for state in states) else FLUSH_TIMEOUT)
    return exit_codes.of_states(states, runtime.clock.now())
