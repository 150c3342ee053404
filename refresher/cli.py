"""The command line: the commands and what they share. Each command has a module in `refresher.commands`; only
the module of the given command is imported."""

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
    "run": "run the daemon: keep every token fresh until stopped",
    "controller": "serve the AccessToken objects of a Kubernetes cluster",
    "once": "make one pass, for cron: mint the tokens that are due, write them, exit",
    "mint": "print one fresh token",
    "exec": "become another program, with a fresh token in its environment and no key",
    "refresh": "have one token replaced now, by the daemon or the next `once`; needs no key",
    "check": "test configuration, key, issuer and outputs, and report how to fix each failure",
    "status": "show the state of every token and output, but no secret",
    "wait": "block until every output holds a valid token",
    "emulator": "run an Inlive API, and other kinds of issuers, on this machine, to develop and test against",
    "demo": "watch it work: an emulator, the daemon and a consumer on this machine, for half a minute",
    "config": "print the configuration in effect, or the JSON Schema of its file",
    "completion": "print the completion script for a shell",
}

EPILOG = """\
start here:
  refresher demo                                  watch it work, without an account
  refresher run --key-file KEY --to-file TOKEN    keep the token in file TOKEN fresh
  refresher COMMAND --help                        options and examples of a command

exit codes:
   0  done
   2  wrong command line
  73  an output cannot be written
  75  try again later: the issuer cannot be reached or asked to wait, the pass was cut short,
      or an output holds no valid or no new token
  77  the issuer refused the key
  78  wrong configuration
      `exec` ends with the exit code of its command
"""


class Command(Protocol):
    """The interface of each module in `refresher.commands`."""

    EXAMPLE: str

    def add_arguments(self, parser: Parser) -> None:
        """Declare the command's options."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Run the command and return its exit code. Raises RefresherError."""


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code. Reports problems on standard error, without a traceback."""
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # `refresher status | head`: the reader has seen enough
        _drop_output()
        return exit_codes.DONE
    except OSError as error:  # adapters convert their own, so this one is about standard output
        _drop_output()
        _complain([f"standard output cannot be written: {error.strerror or error}"])
        return exit_codes.CANT_CREATE
    return code


def _run(argv: Sequence[str]) -> int:
    gc.disable()  # imports make no garbage, and searching them for it takes a twelfth of the start
    first = argv[0] if argv else ""
    parser = build_parser(only=first)
    gc.freeze()  # imported objects stay: the collector need not inspect them again
    gc.enable()
    try:
        # A flag before the command (--help, --version) belongs to the program: the rest does not matter.
        arguments = parser.parse_args(argv[:1] if first.startswith("-") else argv)
        return cast("int", arguments.run(arguments))
    except SystemExit:  # from argparse, after --help and --version
        return exit_codes.DONE
    except UsageError as error:
        print(error.usage, file=sys.stderr)
        _complain(map(str, error.problems))
        return exit_codes.USAGE
    except ConfigurationError as error:
        _complain(str(problem) for problem in error.problems)
        return exit_codes.CONFIGURATION
    except RefresherError as error:
        _complain([str(error)])
        return exit_codes.TRY_AGAIN if isinstance(error, UnreachableDaemonError) else exit_codes.CONFIGURATION


def build_parser(only: str | None = None) -> Parser:
    """The parser of the whole command line. With `only`, it has the options of that command alone and imports
    only its module."""
    parser = Parser(
        prog="refresher",
        usage="refresher COMMAND [OPTION]...",
        description="Keeps short-lived Inlive access tokens fresh. Only one process holds the application "
        "key, and consumers always have a valid token.",
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
                epilog=f"examples:\n{module.EXAMPLE}",
            )
            chosen.whole = build_parser
            chosen.set_defaults(run=module.run)
            module.add_arguments(chosen)
        else:
            commands.add_parser(name, help=summary, add_help=False)
    parser.commands, parser.whole = commands.choices, build_parser

    def no_command(_arguments: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return exit_codes.USAGE  # a crontab line without its command must fail

    parser.set_defaults(run=no_command)
    return parser


def _complain(problems: Iterable[str]) -> None:
    for problem in problems:
        print(f"refresher: {problem}", file=sys.stderr)


def _drop_output() -> None:
    """Drop the buffer of standard output. Otherwise Python writes it again at exit, fails, and replaces our
    exit code with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
