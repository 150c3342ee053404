"""The command line as values: read off argparse's parsers, for whatever is generated from it."""

import argparse
from typing import NamedTuple

from refresher.cli import COMMANDS, build_parser
from refresher.core import formats

FILE, FORMAT = "FILE", "FORMAT"  # metavars that say what a value is


class Argument(NamedTuple):
    """A flag, or a word without one. `names`: empty for a word. `value`: what stands for its value in a
    usage, empty for a flag that takes none. `choices`: all that it takes, empty where they cannot be told.
    """

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    help: str
    repeated: bool
    optional: bool

    @property
    def is_file(self) -> bool:
        return self.value == FILE

    @property
    def summary(self) -> str:
        """Its first sentence, without the full stop."""
        return self.help.partition(". ")[0].partition(" [REFRESHER_")[0].removesuffix(".")


class Command(NamedTuple):
    """`epilog`: as the parser has it, an example of its use."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    epilog: str

    @property
    def flags(self) -> tuple[Argument, ...]:
        return tuple(each for each in self.arguments if each.names)

    @property
    def words(self) -> tuple[Argument, ...]:
        return tuple(each for each in self.arguments if not each.names)


class CommandLine(NamedTuple):
    """`flags`: those before a command. `epilog`: titled paragraphs."""

    description: str
    flags: tuple[Argument, ...]
    commands: tuple[Command, ...]
    epilog: str


def command_line() -> CommandLine:
    """The command line of this version."""
    parser = build_parser()
    (chosen,) = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    commands = [
        Command(name, summary, _arguments(chosen.choices[name]), chosen.choices[name].epilog or "")
        for name, summary in COMMANDS.items()
    ]
    return CommandLine(parser.description or "", _arguments(parser), tuple(commands), parser.epilog or "")


def _arguments(parser: argparse.ArgumentParser) -> tuple[Argument, ...]:
    actions = [each for each in parser._actions if not isinstance(each, argparse._SubParsersAction)]
    return tuple(_argument(each) for each in actions)


def _argument(action: argparse.Action) -> Argument:
    choices = tuple(action.choices or (formats.NAMES if action.metavar == FORMAT else ()))
    value = "" if action.nargs == 0 else str(action.metavar or "|".join(choices))
    told = (action.help or "").replace("%%", "%")
    repeated = isinstance(action, argparse._AppendAction)
    return Argument(tuple(action.option_strings), value, choices, told, repeated, action.nargs == "?")
