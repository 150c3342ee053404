"""`refresher refresh`: have one token replaced now, by placing a request at its outputs."""

import argparse
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from refresher import assembly, cli_options, exit_codes
from refresher.clock import SystemClock
from refresher.config import flags
from refresher.config.declarations import Settings, TokenSettings
from refresher.config.durations import format_duration
from refresher.config.loader import OUTPUTS
from refresher.core import schedule
from refresher.core.model import TokenFacts
from refresher.core.rfc3339 import to_second
from refresher.errors import ConfigurationError, OutputError, Problem
from refresher.ports import Clock, Output

POLL = 0.5  # seconds; an inspection of a Secret is a request to the API server
MOMENT = 0.001  # seconds: a request is later than the token that it replaces
CLOCKS_APART = 300.0  # seconds by which the clock of the token's writer may be ahead of ours

EXAMPLE = """\
  refresher refresh studio --config /etc/inlive/refresher.yaml
  refresher refresh --to-file /var/run/inlive/access-token
  refresher refresh --to-secret studio/inlive-access-token --no-wait

Needs no key, only permission to write where the token is published. It leaves a request there, and the
running daemon mints; without a daemon the next pass of `once` does. Without this command:
  touch /var/run/inlive/.access-token.refresh
  kubectl annotate secret NAME --overwrite token-refresher.inlive.app/refresh="$(date -u +%FT%TZ)"

A daemon sees a request within 30 s, and obeys one a minute for each token at most. The old token stays valid
until its own end: after a leak, revoke it at the issuer.
Exit code 75 if an output still holds the old token when the time is up, 73 if no request could be placed."""


class Request(NamedTuple):
    """A request that was placed at an output. `before`: the token there; None if it held none."""

    token: str
    output: Output
    before: TokenFacts | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [NAME] [OPTION]..."
    parser.add_argument(
        "token", nargs="?", metavar="NAME", help="token to replace; required if the configuration has several"
    )
    parser.add_argument("--all", action="store_true", help="replace every token of the configuration")
    parser.add_argument(
        "--timeout", metavar="DURATION", default="2m", help="the longest time to wait. Default: 2m"
    )
    parser.add_argument("--no-wait", action="store_true", help="place the request and return at once")
    flags.add_flags(parser, ("config", "format", "output"))


def run(arguments: argparse.Namespace) -> int:
    settings = cli_options.loaded(arguments, command="refresh", needs=(OUTPUTS,)).settings
    timeout = cli_options.duration("--timeout", arguments.timeout)
    chosen = settings._replace(tokens=_chosen(settings, arguments))
    clock = SystemClock()
    requests: list[Request] = []
    is_incomplete = False
    for published in assembly.published_tokens(chosen):
        placed = list(_placed(published, clock))
        is_incomplete = is_incomplete or not placed
        requests.extend(placed)
    code = exit_codes.CANT_CREATE if is_incomplete else exit_codes.DONE
    if arguments.no_wait:
        return code
    return exit_codes.gravest((code, _awaited(requests, timeout, clock)))


def _chosen(settings: Settings, arguments: argparse.Namespace) -> tuple[TokenSettings, ...]:
    """Raises ConfigurationError."""
    if arguments.all and arguments.token is not None:
        raise ConfigurationError((Problem("--all", "replaces every token; leave out NAME, or --all"),))
    return settings.tokens if arguments.all else (cli_options.chosen_token(settings, arguments.token),)


def _placed(published: assembly.Published, clock: Clock) -> Iterator[Request]:
    """Place a request at every output of a token. Prints each result."""
    name, now = published.policy.name, clock.now()
    held: dict[str, TokenFacts | None] = {}
    for output in published.outputs:
        try:
            held[output.name] = output.inspect(now).facts
        except OutputError as error:
            _complain(f"{output.name} {error}")
    at = _time_of_request((facts for facts in held.values() if facts), now.wall)
    for output in published.outputs:
        if output.name not in held:
            continue
        try:
            output.request_refresh(at)
        except OutputError as error:
            _complain(f"{output.name} {error}")
            continue
        print(f"{name}: requested a new token at {output.name}{_pause(held[output.name], clock)}", flush=True)
        yield Request(name, output, held[output.name])


def _time_of_request(held: Iterator[TokenFacts], now_wall: float) -> float:
    """Now, or just after the newest token was issued: the clock of its writer may be ahead of ours."""
    issued = [facts.issued.wall + MOMENT for facts in held]
    return max((now_wall, *(wall for wall in issued if wall - now_wall < CLOCKS_APART)))


def _pause(facts: TokenFacts | None, clock: Clock) -> str:
    if facts is None:
        return ""
    pause = schedule.soonest_requested(facts.lifetime) - facts.issued.age(clock.now())
    return f"; the present one is new, so it stays for {format_duration(round(pause))}" if pause >= 1 else ""


def _awaited(requests: list[Request], timeout: float, clock: Clock) -> int:
    """Wait until every output holds a new token. Prints each, and returns the exit code."""
    deadline = clock.now().boot + timeout
    waiting = requests
    while True:
        waiting = [request for request in waiting if not _is_fulfilled(request, clock)]
        left = deadline - clock.now().boot
        if not waiting or left <= 0:
            break
        time.sleep(min(POLL, left))
    for request in waiting:
        _complain(
            f"timed out after {format_duration(timeout)}: {request.output.name} holds no new token; "
            "check that a refresher runs with it, can mint (`refresher status`), and has the right time. The "
            "request stays: `run` or `once` obeys it later"
        )
    return exit_codes.TRY_AGAIN if waiting else exit_codes.DONE


def _is_fulfilled(request: Request, clock: Clock) -> bool:
    now = clock.now()
    try:
        facts = request.output.inspect(now).facts
    except OutputError:  # out of sight for a moment; the time-out reports it
        return False
    if facts is None or (request.before is not None and facts.fingerprint == request.before.fingerprint):
        return False
    until = to_second(facts.expiry.wall)
    print(f"{request.token}: {request.output.name} holds a new token, valid until {until}", flush=True)
    return True


def _complain(problem: str) -> None:
    print(f"refresher: {problem}", file=sys.stderr)
