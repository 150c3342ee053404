"""Completion scripts for bash, zsh and fish, generated from the parser. They do not call the program."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from refresher.core import formats
from refresher.parser import Parser

_BASH = """\
# Completion of refresher for bash, made by `refresher completion bash`.
_refresher() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command= words=
    COMPREPLY=()
    if [[ $word == '=' ]]; then
        word=
    elif [[ $before == '=' ]]; then # bash splits --flag=VALUE into three words
        before=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    if ((COMP_CWORD > 1)); then
        command=${{COMP_WORDS[1]}}
    fi
    case $before in
{values}
        *)
            case $command in
{words}
            esac ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
complete -F _refresher refresher
"""
_BASH_FILES = 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return'

_ZSH = """\
#compdef refresher
# Completion of refresher for zsh, made by `refresher completion zsh`.
_refresher() {{
    local context state state_descr line
    typeset -A opt_args
    _arguments -C {flags} '1: :->command' '*:: :->words'
    case $state in
        command)
            local -a commands
            commands=({commands})
            _describe -t commands command commands ;;
        words)
            case $words[1] in
{words}
            esac ;;
    esac
}}
if [[ $funcstack[1] == _refresher ]]; then
    _refresher "$@"
else
    compdef _refresher refresher
fi
"""


class Argument(NamedTuple):
    """A flag or a positional argument. `names`: empty for a positional one. `value`: the placeholder of its
    value, empty for a flag without a value. `choices`: all accepted values, empty if unknown."""

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    help: str

    @property
    def summary(self) -> str:
        """The first sentence of the help, without the full stop."""
        return self.help.partition(". ")[0].partition(" [REFRESHER_")[0].removesuffix(".")


def arguments(parser: Parser) -> list[Argument]:
    """The flags and positional arguments of one command, or of the whole command line."""
    found = []
    for action in parser.actions:
        metavar = str(action.metavar or "")
        choices_in_metavar = (
            formats.NAMES if metavar == "FORMAT" else metavar.split("|") if "|" in metavar else ()
        )
        choices = tuple(action.choices or choices_in_metavar)
        value = "" if action.nargs == 0 else str(action.metavar or "|".join(choices))
        text = (action.help or "").replace("%%", "%")
        found.append(Argument(tuple(action.option_strings), value, choices, text))
    return found


def summary(command: Parser) -> str:
    """The description of a command, without the full stop."""
    return str(command.description).removesuffix(".")


def bash(parser: Parser) -> str:
    """The script for bash 4, to install in share/bash-completion/completions or to source."""
    values: dict[str, list[str]] = {}  # code that offers values → the flags that take them
    for command in parser.commands.values():
        for argument in filter(lambda candidate: candidate.names and candidate.value, arguments(command)):
            offer = _BASH_FILES if argument.value == "FILE" else f"words='{' '.join(argument.choices)}'"
            values.setdefault(offer, []).extend(argument.names)
    words = {"''": (*parser.flags, *parser.commands)}
    for name, command in parser.commands.items():
        words[name] = (*command.flags, *(choice for word in _words(command) for choice in word.choices))
    return _BASH.format(
        values="\n".join(
            f"        {'|'.join(dict.fromkeys(flags))}) {offer} ;;" for offer, flags in values.items()
        ),
        words="\n".join(
            f"                {name}) words='{' '.join(offers)}' ;;" for name, offers in words.items()
        ),
    )


def _words(command: Parser) -> Iterator[Argument]:
    return (argument for argument in arguments(command) if not argument.names)


def zsh(parser: Parser) -> str:
    """The script for zsh, to install in share/zsh/site-functions or to source after compinit."""
    commands = (f"{name}:{_escaped(summary(command), ':')}" for name, command in parser.commands.items())
    words = (
        f"                {name}) _arguments {_quoted(_zsh(command))} ;;"
        for name, command in parser.commands.items()
    )
    return _ZSH.format(flags=_quoted(_zsh(parser)), commands=_quoted(commands), words="\n".join(words))


def _zsh(parser: Parser) -> Iterator[str]:
    """A specification of each argument for `_arguments` (zshcompsys(1))."""
    for argument in arguments(parser):
        choices = f"({' '.join(argument.choices)})" if argument.choices else " "
        action = "_files" if argument.value == "FILE" else choices
        value = f":{_escaped(argument.value, ':')}:{action}" if argument.value else ""
        for name in argument.names:
            yield f"*{name}{'=' * bool(value)}[{_escaped(argument.summary, ':[]')}]{value}"
        if not argument.names:
            yield f":{_escaped(argument.summary, ':')}:{action}"


def _escaped(text: str, special: str) -> str:
    return "".join(f"\\{character}" if character in f"\\{special}" else character for character in text)


def _quoted(texts: Iterable[str]) -> str:
    return " ".join("'" + text.replace("'", "'\\''") + "'" for text in texts)


def fish(parser: Parser) -> str:
    """The script for fish, to install in share/fish/vendor_completions.d or to source."""
    lines = [
        "# Completion of refresher for fish, made by `refresher completion fish`.",
        "complete -c refresher -f",
    ]
    lines += _fish(parser, "__fish_use_subcommand")
    for name, command in parser.commands.items():
        lines.append(
            f"complete -c refresher -n __fish_use_subcommand -a {name} -d {_fish_quoted(summary(command))}"
        )
        lines += _fish(command, f"'__fish_seen_subcommand_from {name}'")
    return "\n".join([*lines, ""])


def _fish(parser: Parser, condition: str) -> Iterator[str]:
    for argument in arguments(parser):
        parts = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in argument.names]
        if argument.names and argument.value:
            parts.append("-r -F" if argument.value == "FILE" else "-x")
        if argument.choices:
            parts.append(f"-a {_fish_quoted(' '.join(argument.choices))}")
        if parts:
            description = _fish_quoted(argument.summary)
            yield f"complete -c refresher -n {condition} {' '.join(parts)} -d {description}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: Mapping[str, Callable[[Parser], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
