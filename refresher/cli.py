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
from refresher.config.quoting import did_you_mean, plain, shown
from refresher.errors import ConfigurationError, RefresherError, UnreachableDaemonError

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


class Parser(argparse.ArgumentParser):
    """One that shows no more of a wrong value than any other message does."""

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            hint = did_you_mean(str(value), action.choices) or ";"
            accepted = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(action, f"{shown(value)} is unknown{hint} accepted: {accepted}")


class Command(Protocol):
    """What a module in `refresher.commands` offers."""

    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
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
    command = next((word for word in argv if not word.startswith("-")), "")
    parser = build_parser(only=command)
    gc.freeze()  # what is imported stays, and need not be looked at again
    gc.enable()
    try:
        arguments, unknown = parser.parse_known_args(argv)
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(map(_named, unknown))} (values are not shown)")
        return cast("int", arguments.run(arguments))
    except SystemExit as end:  # argparse's own end: --help, --version, wrong use
        return exit_codes.USAGE if end.code else exit_codes.DONE
    except ConfigurationError as error:
        _complain(str(mistake) for mistake in error.problems)
        return exit_codes.CONFIGURATION
    except RefresherError as error:
        _complain([str(error)])
        return exit_codes.TRY_AGAIN if isinstance(error, UnreachableDaemonError) else exit_codes.CONFIGURATION


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line, or with the options of one command `only`: that one's module is
    the only one imported then."""
    parser = Parser(
        prog="refresher",
        description="Keeps short-lived Inlive access tokens fresh: one process holds the application key, "
        "no consumer is ever without a valid token.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"inlive-token-refresher {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if only in (None, name):
            module = cast("Command", import_module(f"refresher.commands.{name}"))
            chosen = commands.add_parser(
                name,
                help=summary,
                description=f"{summary[0].upper()}{summary[1:]}.",
                epilog=f"example:\n{module.EXAMPLE}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
            )
            module.add_arguments(chosen)
            chosen.set_defaults(run=module.run)
        else:
            commands.add_parser(name, help=summary, add_help=False)
    return parser


def _named(word: str) -> str:
    """The name of a flag that there is none of, without its value: that is the key itself at times."""
    if word.startswith("--"):
        name, equals, _ = word.partition("=")
        name = f"--{plain(name[2:])}"
        return f"{name}=…" if equals else name
    return f"{word[:2]}…" if word.startswith("-") else "…"


def _complain(mistakes: Iterable[str]) -> None:
    for mistake in mistakes:
        print(f"refresher: {mistake}", file=sys.stderr)


def _drop_output() -> None:
    """What standard output still holds is dropped: Python would try it once more at its end, fail, and make
    exit code 120 of ours."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
