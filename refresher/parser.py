"""The command line as argparse reads it, with every mistake as a UsageError.

No text of argparse's own about a value is shown: any may be the application key in the wrong place.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

from refresher.config.quoting import did_you_mean, plain, shown
from refresher.errors import Problem, UsageError

# How argparse's messages about a flag begin, and what is shown instead.
_REPHRASED = {
    "expected one argument": "needs a value: {flag}={value}",
    "ignored explicit argument": "takes no value",
    "not allowed with argument": "{message}",
}


class Parser(argparse.ArgumentParser):
    """The parser of the whole command line, or of one command.

    `commands`: the commands by name, of the parser of the whole command line. `whole` returns that one, with
    the arguments of every command: it imports them all.
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
        """Its flags and words, in the order of the help; not the command."""
        return [each for each in self._actions if each.nargs != argparse.PARSER]

    @property
    def flags(self) -> list[str]:
        return [name for each in self.actions for name in each.option_strings]

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Raises UsageError, for what is unknown as well: the list is empty."""
        try:
            found, unknown = super().parse_known_args(args, namespace)
        except argparse.ArgumentError as error:
            if error.argument_name is None:  # from Python 3.12 on, instead of calling `error`
                self.error(error.message)
            self._refuse(self._misused(error))
        if unknown:
            self._refuse(*self._unknown(unknown))
        return found, []

    def error(self, message: str) -> NoReturn:
        """argparse calls it when required arguments are missing; their names end the message."""
        self._refuse(Problem(message.rpartition(": ")[2], "is missing"))

    def _refuse(self, *mistakes: Problem) -> NoReturn:
        raise UsageError(f"{self.format_usage().strip()} (see {self.prog} --help)", mistakes)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            raise _UnknownValueError(action, str(value))

    def _misused(self, error: argparse.ArgumentError) -> Problem:
        """A flag or word that there is, used wrongly."""
        name = str(error.argument_name)
        if isinstance(error, _UnknownValueError):
            return Problem(name, error.message)
        for beginning_of_it, ours in _REPHRASED.items():
            if error.message.startswith(beginning_of_it):
                flag = name.rpartition("/")[2]
                (action,) = [each for each in self.actions if flag in each.option_strings]
                value = action.metavar or "|".join(action.choices or ())
                return Problem(name, ours.format(flag=flag, value=value, message=error.message))
        return Problem(name, "is used wrongly")

    def _unknown(self, words: list[str]) -> Iterator[Problem]:
        """Flags that there are not, and words too many. A word behind such a flag is taken for its value."""
        for before, word in pairwise(["", *words]):
            if word.startswith("-"):
                yield self._unknown_flag(word.partition("=")[0])
            elif not before.startswith("-") or "=" in before:
                yield Problem("…", f"is a word too many for {self.prog} (not shown, as it may be the key)")

    def _unknown_flag(self, flag: str) -> Problem:
        name = plain(flag)
        if not flag.startswith("--"):  # -k and the key in one word
            name = plain(flag[:2]) + "…" * (len(flag) > 2)
        others = [each for each, other in self.whole().commands.items() if flag in other.flags]
        if others and self.commands:
            return Problem(name, f"comes after the command, as in {self.prog} {others[0]} {flag}")
        elsewhere = f", but of {', '.join(others)}" if others else ""
        return Problem(name, f"is no flag of {self.prog}{elsewhere}{did_you_mean(flag, self.flags)}")


class _UnknownValueError(argparse.ArgumentError):
    """A value that is none of the choices."""

    def __init__(self, action: argparse.Action, value: str) -> None:
        choices = [str(each) for each in action.choices or ()]
        hint = did_you_mean(value, [*choices, "--help"]) or ";"
        super().__init__(action, f"{shown(value)} is unknown{hint} accepted: {', '.join(choices)}")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse's, with room for the longest name of a command: it forgets that commands are indented."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 4 + len("completion")
