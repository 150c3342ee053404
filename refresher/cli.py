"""The command line: which commands there are, and what is common to them. Each has a module of its own in
`refresher.commands`, imported only when it is asked for."""

import argparse
import gc
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Protocol, cast

from refresher import __version__, exit_codes
from refresher.errors import ConfigurationError, RefresherError, UnreachableDaemonError, UsageError
from refresher.parser import Parser

COMMANDS = {
    "run": "the daemon: keep every token fresh until stopped",
    "once": "one pass for cron: mint only what is due, write, exit",
    "mint": "print one fresh token",
    "check": "try out configuration, key, issuer and outputs, and say what to do about a failure",
    "status": "how every token and output stands; never a secret",
    "wait": "block until every output holds a valid token",
    "emulator": "an Inlive API on this machine, to develop and test against",
    "demo": "see it work: emulator, daemon and a consumer on this machine; ends by itself",
    "config": "about the configuration file: print its JSON Schema",
    "completion": "print the completion script for a shell",
}

EPILOG = """\
start here:
  refresher demo                                  see it work, without an account
  refresher run --key-file KEY --to-file TOKEN    keep TOKEN fresh
  refresher COMMAND --help                        options and an example of a command

exit codes:
  0 done, 2 wrong use of the command line, 73 an output cannot be written, 75 the issuer cannot be reached or
  asked us to wait, or the pass was cut short, 77 the key was refused, 78 configuration
"""


class Command(Protocol):
    """What a module in `refresher.commands` offers."""

    EXAMPLE: str

    def add_arguments(self, parser: Parser) -> None:
        """Declare the command's options."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit code. Raises RefresherError."""


def main(argv: Sequence[str]) -> int:
    """Run one command; its exit code. Mistakes are told on standard error, never as a traceback."""
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # `refresher status | head`: whoever reads has seen enough
        _drop_output()
        return exit_codes.DONE
    except OSError as error:  # adapters turn theirs into our own, so this is standard output's
        _drop_output()
        _complain([f"standard output cannot be written: {error.strerror or error}"])
        return exit_codes.CANT_CREATE
    return code


def _run(argv: Sequence[str]) -> int:
    gc.disable()  # imports make no garbage, and looking for it in them takes a twelfth of the start
    first = argv[0] if argv else ""
    parser = build_parser(only=first)
    gc.freeze()  # what is imported stays, and need not be looked at again
    gc.enable()
    try:
        # A flag before the command is one of the whole command line, and what follows it does not matter.
        arguments = parser.parse_args(argv[:1] if first.startswith("-") else argv)
        return cast("int", arguments.run(arguments))
    except SystemExit:  # argparse's own end: --help, --version
        return exit_codes.DONE
    except UsageError as error:
        print(error.usage, file=sys.stderr)
        _complain(map(str, error.problems))
        return exit_codes.USAGE
    except ConfigurationError as error:
        _complain(str(mistake) for mistake in error.problems)
        return exit_codes.CONFIGURATION
    except RefresherError as error:
        _complain([str(error)])
        return exit_codes.TRY_AGAIN if isinstance(error, UnreachableDaemonError) else exit_codes.CONFIGURATION


def build_parser(only: str | None = None) -> Parser:
    """The parser of the whole command line, or with the options of one command `only`: that one's module is
    the only one imported then."""
    parser = Parser(
        prog="refresher",
        usage="refresher COMMAND [OPTION]...",
        description="Keeps short-lived Inlive access tokens fresh: one process holds the application key, "
        "no consumer is ever without a valid token.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"inlive-token-refresher {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="refresher")
    for name, summary in COMMANDS.items():
        if only in (None, name):
            module = cast("Command", import_module(f"refresher.commands.{name}"))
            chosen = commands.add_parser(
                name,
                usage="%(prog)s [OPTION]...",
                help=summary,
                description=f"{summary[0].upper()}{summary[1:]}.",
                epilog=f"example:\n{module.EXAMPLE}",
            )
            chosen.whole = build_parser
            chosen.set_defaults(run=module.run)
            module.add_arguments(chosen)
        else:
            commands.add_parser(name, help=summary, add_help=False)
    parser.commands, parser.whole = commands.choices, build_parser

    def no_command(_arguments: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return exit_codes.USAGE  # a crontab that lost its command is no success

    parser.set_defaults(run=no_command)
    return parser


def _complain(mistakes: Iterable[str]) -> None:
    for mistake in mistakes:
        print(f"refresher: {mistake}", file=sys.stderr)


def _drop_output() -> None:
    """What standard output still holds is dropped: Python would try it once more at its end, fail, and make
    exit code 120 of ours."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
