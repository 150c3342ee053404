"""Completion for bash, zsh and fish: scripts made from the parser, which then need nothing of the program."""

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
    elif [[ $before == '=' ]]; then # --flag=VALUE is three words to bash
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
    """A flag, or a word. `names`: none for a word. `value`: what stands for its value in a usage, empty for a
    flag that takes none. `choices`: all values that it takes, empty where that is not known."""

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    help: str

    @property
    def summary(self) -> str:
        """Its first sentence, without the full stop."""
        return self.help.partition(". ")[0].partition(" [REFRESHER_")[0].removesuffix(".")


def arguments(parser: Parser) -> list[Argument]:
    """The flags and words of one command, or of the whole command line."""
    found = []
    for action in parser.actions:
        metavar = str(action.metavar or "")
        told_by_metavar = (
            formats.NAMES if metavar == "FORMAT" else metavar.split("|") if "|" in metavar else ()
        )
        choices = tuple(action.choices or told_by_metavar)
        value = "" if action.nargs == 0 else str(action.metavar or "|".join(choices))
        told = (action.help or "").replace("%%", "%")
        found.append(Argument(tuple(action.option_strings), value, choices, told))
    return found


def summary(command: Parser) -> str:
    """What a command does, without the full stop."""
    return str(command.description).removesuffix(".")


def bash(parser: Parser) -> str:
    """For share/bash-completion/completions, and to be sourced; bash 4."""
    values: dict[str, list[str]] = {}  # the flags before each kind of value
    for command in parser.commands.values():
        for argument in filter(lambda each: each.names and each.value, arguments(command)):
            offer = _BASH_FILES if argument.value == "FILE" else f"words='{' '.join(argument.choices)}'"
            values.setdefault(offer, []).extend(argument.names)
    words = {"''": (*parser.flags, *parser.commands)}
    for name, command in parser.commands.items():
        words[name] = (*command.flags, *(each for word in _words(command) for each in word.choices))
    return _BASH.format(
        values="\n".join(
            f"        {'|'.join(dict.fromkeys(flags))}) {offer} ;;" for offer, flags in values.items()
        ),
        words="\n".join(
            f"                {name}) words='{' '.join(offers)}' ;;" for name, offers in words.items()
        ),
    )


def _words(command: Parser) -> Iterator[Argument]:
    return (each for each in arguments(command) if not each.names)


def zsh(parser: Parser) -> str:
    """For share/zsh/site-functions, and to be sourced after compinit."""
    commands = (f"{name}:{_escaped(summary(each), ':')}" for name, each in parser.commands.items())
    words = (
        f"                {name}) _arguments {_quoted(_zsh(command))} ;;"
        for name, command in parser.commands.items()
    )
    return _ZSH.format(flags=_quoted(_zsh(parser)), commands=_quoted(commands), words="\n".join(words))


def _zsh(parser: Parser) -> Iterator[str]:
    """Each argument as `_arguments` takes it (zshcompsys(1))."""
    for each in arguments(parser):
        action = "_files" if each.value == "FILE" else f"({' '.join(each.choices)})" if each.choices else " "
        value = f":{_escaped(each.value, ':')}:{action}" if each.value else ""
        for name in each.names:
            yield f"*{name}{'=' * bool(value)}[{_escaped(each.summary, ':[]')}]{value}"
        if not each.names:
            yield f":{_escaped(each.summary, ':')}:{action}"


def _escaped(text: str, special: str) -> str:
    return "".join(f"\\{character}" if character in f"\\{special}" else character for character in text)


def _quoted(texts: Iterable[str]) -> str:
    return " ".join("'" + text.replace("'", "'\\''") + "'" for text in texts)


def fish(parser: Parser) -> str:
    """For share/fish/vendor_completions.d, and to be sourced."""
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
    for each in arguments(parser):
        parts = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in each.names]
        if each.names and each.value:
            parts.append("-r -F" if each.value == "FILE" else "-x")
        if each.choices:
            parts.append(f"-a {_fish_quoted(' '.join(each.choices))}")
        if parts:
            yield f"complete -c refresher -n {condition} {' '.join(parts)} -d {_fish_quoted(each.summary)}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: Mapping[str, Callable[[Parser], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
