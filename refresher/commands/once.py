"""`refresher once`: make one pass, for cron, timers and init containers."""

import argparse
import os
import signal
from types import FrameType

from refresher import cli_options, exit_codes, signals, wiring
from refresher.commands import textfile
from refresher.config import flags
from refresher.config.loader import KEY, OUTPUTS
from refresher.config.quoting import shown
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
    parser.add_argument(
        "--metrics-file",
        metavar="PATH",
        help="write the metrics of this pass to PATH (NAME.prom), for node_exporter's textfile collector",
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
    problems += _problems_of_metrics_file(arguments.metrics_file)
    if problems:
        raise ConfigurationError(problems)
    runtime = wiring.installation(settings._replace(serve=None), [LogObserver(retries=False)], horizon=every)
    # cron mails everything that is printed.
    cli_options.configure_log(found.log, runtime.secrets.blot_out, level="warning")

    def stop(_number: int, _frame: FrameType | None) -> None:
        runtime.mailbox.post_first(Message(None, Stopping()))

    signals.take_over({signal.SIGTERM: stop, signal.SIGINT: stop})
    runtime.engine.settle()
    view = list(runtime.engine.view())
    states = [state for _, state in view]
    for recorder in runtime.events:
        recorder.flush(HURRIED_FLUSH_TIMEOUT if any(state.stopping for state in states) else FLUSH_TIMEOUT)
    now = runtime.clock.now()
    code = exit_codes.of_states(states, now)
    if arguments.metrics_file and not textfile.write(arguments.metrics_file, view, now, every):
        return exit_codes.gravest([code, exit_codes.CANT_CREATE])
    return code


def _problems_of_metrics_file(path: str | None) -> tuple[Problem, ...]:
    if path is None or (path.endswith(textfile.ENDING) and os.path.basename(path) != textfile.ENDING):
        return ()
    accepted = (
        f"accepted: a path that ends in {textfile.ENDING}, such as /var/lib/node-exporter/inlive-token.prom"
    )
    return (Problem("--metrics-file", f"{shown(path)} is no file that node_exporter reads; {accepted}"),)
