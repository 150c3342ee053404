"""An argparse parser that raises every problem as a UsageError.

It shows no message of argparse about a value: the value may be the application key in the wrong place.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

from refresher.config.quoting import did_you_mean, plain, shown
from refresher.errors import Problem, UsageError

# The beginning of an argparse message about a flag → the message shown instead.
_REPHRASED = {
    "expected one argument": "needs a value: {flag}={value}",
    "ignored explicit argument": "takes no value",
    "not allowed with argument": "{message}",
}


class Parser(argparse.ArgumentParser):
    """The parser of the whole command line, or of one command.

    `commands`: the parser of each command by name; empty in a command's parser. `whole` returns the parser of
    the whole command line with the arguments of every command; it imports all their modules.
    """

    commands: Mapping[str, "Parser"] = {}
    whole: Callable[[], "Parser"]

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            formatter_class=_Formatter,
            allow_abbrev=False,
            exit_on_error=False,
            **settings,
        )

    @property
    def actions(self) -> list[argparse.Action]:
        """The flags and positional arguments in the order of the help, without COMMAND."""
        return [action for action in self._actions if action.nargs != argparse.PARSER]

    @property
    def flags(self) -> list[str]:
        return [name for action in self.actions for name in action.option_strings]

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Raises UsageError, also for unknown arguments, so the returned list is always empty."""
        if self.get_default("command") is not None:
            return self._before_command(list(sys.argv[1:] if args is None else args), namespace)
        return self._parse(args, namespace), []

    def _before_command(
        self, words: list[str], namespace: argparse.Namespace | None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the words before ``--``. Those after it are another program's, whatever they look like."""
        end = words.index("--") if "--" in words else len(words)
        found = self._parse(words[:end], namespace)
        found.command = words[end + 1 :]
        if not found.command:
            self._refuse(Problem("COMMAND", f"is missing; write it after --, as in {self.prog} … -- COMMAND"))
        return found, []

    def _parse(self, args: Sequence[str] | None, namespace: argparse.Namespace | None) -> argparse.Namespace:
        try:
            found, unknown = super().parse_known_args(args, namespace)
        except argparse.ArgumentError as error:
            if error.argument_name is None:  # since Python 3.12, instead of calling `error`
                self.error(error.message)
            self._refuse(self._misused(error))
        if unknown:
            self._refuse(*self._unknown(unknown))
        return found

    def error(self, message: str) -> NoReturn:
        """argparse calls this when required arguments are missing; the message ends with their names."""
        self._refuse(Problem(message.rpartition(": ")[2], "is missing"))

    def _refuse(self, *problems: Problem) -> NoReturn:
        raise UsageError(f"{self.format_usage().strip()} (see {self.prog} --help)", problems)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            raise _UnknownValueError(action, str(value))

    def _misused(self, error: argparse.ArgumentError) -> Problem:
        """The problem in the use of a known argument."""
        name = str(error.argument_name)
        if isinstance(error, _UnknownValueError):
            return Problem(name, error.message)
        for beginning, replacement in _REPHRASED.items():
            if error.message.startswith(beginning):
                flag = name.rpartition("/")[2]
                (action,) = [known for known in self.actions if flag in known.option_strings]
                value = action.metavar or "|".join(action.choices or ())
                return Problem(name, replacement.format(flag=flag, value=value, message=error.message))
        return Problem(name, "is used wrongly")

    def _unknown(self, words: list[str]) -> Iterator[Problem]:
        """The problems in unknown `words`. A word after an unknown flag counts as the flag's value."""
        for previous, word in pairwise(["", *words]):
            if word.startswith("-"):
                yield self._unknown_flag(word.partition("=")[0])
            elif not previous.startswith("-") or "=" in previous:
                yield Problem("…", f"{self.prog} takes no such argument (not shown: it may be the key)")

    def _unknown_flag(self, flag: str) -> Problem:
        name = plain(flag)
        if not flag.startswith("--"):  # -kKEY: show only -k
            name = plain(flag[:2]) + "…" * (len(flag) > 2)
        owners = [command for command, parser in self.whole().commands.items() if flag in parser.flags]
        if owners and self.commands:
            return Problem(name, f"comes after the command, as in {self.prog} {owners[0]} {flag}")
        elsewhere = f", but of {', '.join(owners)}" if owners else ""
        return Problem(name, f"is not a flag of {self.prog}{elsewhere}{did_you_mean(flag, self.flags)}")


class _UnknownValueError(argparse.ArgumentError):
    """A value that is not among the choices."""

    def __init__(self, action: argparse.Action, value: str) -> None:
        choices = [str(choice) for choice in action.choices or ()]
        hint = did_you_mean(value, [*choices, "--help"]) or ";"
        super().__init__(action, f"{shown(value)} is unknown{hint} accepted: {', '.join(choices)}")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse's formatter, with room for the longest command name: argparse forgets their indentation."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 4 + len("completion")
