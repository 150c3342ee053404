"""`refresher exec`: become another program that finds a valid token in its environment, and no key."""

import argparse
import os
import re
import signal
import sys
from types import FrameType

from refresher import cli_options, exit_codes, hardening, signals, wiring
from refresher.config import flags
from refresher.config.loader import KEY, OUTPUTS
from refresher.config.quoting import shown
from refresher.core.events import Stopping
from refresher.core.model import SecretStr
from refresher.errors import ConfigurationError, Problem
from refresher.logs.observer import LogObserver
from refresher.outputs.memory import MemoryOutput
from refresher.ports import Message

NOT_EXECUTABLE, NOT_FOUND = 126, 127  # as in shells (POSIX, "Exit Status for Commands")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

EXAMPLE = """\
  refresher exec --key-file /etc/inlive/key -- ./nightly-report --rooms all
  refresher exec studio --config /etc/inlive/refresher.yaml --env TOKEN -- /opt/studio/nightly-report

Makes the pass of the command `once`, with or without outputs: it uses the token of an output, and mints
only if that is due. Then COMMAND takes the place of this process. The exit code is COMMAND's own,
127 if it does not exist, 126 if it cannot be executed. Without a token COMMAND does not start.

For short jobs only: an environment never changes, so COMMAND sees no later token. The token lives at least
for the rest of its lifetime after --refresh-at: 18 minutes of an hour, half an hour with --refresh-at 50%."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [NAME] [OPTION]... -- COMMAND [ARGUMENT]..."
    parser.set_defaults(command=[])  # the parser makes it what stands after --
    parser.add_argument(
        "token", nargs="?", metavar="NAME", help="token to use; required if the configuration has several"
    )
    parser.add_argument(
        "--env",
        metavar="VARIABLE",
        default="INLIVE_ACCESS_TOKEN",
        help="environment variable that holds the token. Default: INLIVE_ACCESS_TOKEN",
    )
    flags.add_flags(parser, ("config", "key", "token", "format", "output", "issuer", "log"))


def run(arguments: argparse.Namespace) -> int:
    variable = _checked_variable(arguments.env)
    needs = (KEY, OUTPUTS) if flags.concern_outputs(vars(arguments), os.environ) else (KEY,)
    found = cli_options.loaded(arguments, command="exec", needs=needs)
    token_settings = cli_options.chosen_token(found.settings, arguments.token)
    settings = found.settings._replace(tokens=(token_settings,), leader_election=None, serve=None)
    if settings.issuer_of(token_settings).exclusive and not token_settings.outputs:
        problem = "is exclusive: a new token would end the one in use; name the outputs that have it"
        raise ConfigurationError((Problem(f"the issuer of {token_settings.name}", problem),))
    memory = MemoryOutput(token_settings.name)
    runtime = wiring.installation(
        settings, [LogObserver(retries=False)], served={token_settings.name: memory}
    )
    cli_options.configure_log(found.log, runtime.secrets.blot_out, level="warning")
    stopped_by: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped_by.append(number)
        runtime.mailbox.post_first(Message(None, Stopping()))

    signals.take_over({signal.SIGTERM: stop, signal.SIGINT: stop})
    runtime.engine.settle()
    if stopped_by:
        return signals.exit_code("exec", stopped_by[0])
    now = runtime.clock.now()
    if memory.token is None or memory.token.facts.remaining(now) <= 0:
        states = [state for _, state in runtime.engine.view()]
        return exit_codes.of_states(states, now) or exit_codes.TRY_AGAIN
    _restore()
    if stopped_by:  # a signal since
        return signals.exit_code("exec", stopped_by[0])
    return _become(arguments.command, {variable: memory.token.access})


def _restore() -> None:
    """Make this process like the one that our caller started."""
    sys.stdout.flush()
    if end := getattr(sys.stderr, "end", None):
        end()
    hardening.undo()
    signals.hand_over()


def _become(command: list[str], secrets: dict[str, SecretStr]) -> int:
    """Replace this process by `command`. Returns only if that fails, with the exit code.

    COMMAND inherits the environment without our variables, the standard streams and the descriptors that our
    caller left open. All other descriptors close by themselves (PEP 446).
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(flags.PREFIX)}
    environment |= hardening.before.variables
    environment |= {name: secret.reveal() for name, secret in secrets.items()}
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 -- what the user asks for
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        message = f"refresher: {shown(command[0])} cannot be executed: {error.strerror}\n"
        os.write(2, message.encode(errors="backslashreplace"))  # `sys.stderr` has ended
        return code


def _checked_variable(name: str) -> str:
    """Raises ConfigurationError."""
    if not _VARIABLE.fullmatch(name):
        problem = f"{shown(name)} is not a name; accepted: letters, digits and _, not a digit first"
    elif name.startswith(flags.PREFIX):
        problem = f"{shown(name)} is a variable of the refresher; accepted: any name without {flags.PREFIX}"
    else:
        return name
    raise ConfigurationError((Problem("--env", problem),))
