"""Completion for bash: a function that needs nothing but bash 4."""

from collections.abc import Iterator

from release.command_line import Argument, Command, CommandLine

SCRIPT = """\
# Completion of refresher for bash. Generated from its command line.
_refresher() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command= each
    if [[ $word == '=' ]]; then
        word=
    elif [[ $before == '=' ]]; then # --flag=VALUE is three words to bash
        before=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        if [[ $each != -* ]]; then
            command=$each
            break
        fi
    done
    COMPREPLY=()
    case $command:$before in
{values}
    esac
    case $command in
{words}
    esac
}}
complete -F _refresher refresher
"""
FILES = 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word")'


def script(line: CommandLine) -> str:
    """The file for share/bash-completion/completions."""
    words = [_case("''", _offer((*_names(line.flags), *(each.name for each in line.commands))))]
    words += [_case(each.name, _offer((*_names(each.flags), *_choices(each)))) for each in line.commands]
    values = [value for command in line.commands for value in _values(command)]
    return SCRIPT.format(values="\n".join(values), words="\n".join(words))


def _values(command: Command) -> Iterator[str]:
    """What may follow each flag that takes a value."""
    for flag in command.flags:
        if flag.value:
            pattern = "|".join(f"{command.name}:{name}" for name in flag.names)
            known = FILES if flag.is_file else _offer(flag.choices) if flag.choices else ":"
            yield _case(pattern, f"{known}; return")


def _case(pattern: str, body: str) -> str:
    return f"        {pattern}) {body} ;;"


def _offer(words: tuple[str, ...]) -> str:
    return f"mapfile -t COMPREPLY < <(compgen -W '{' '.join(words)}' -- \"$word\")"


def _names(flags: tuple[Argument, ...]) -> tuple[str, ...]:
    return tuple(name for flag in flags for name in flag.names)


def _choices(command: Command) -> tuple[str, ...]:
    return tuple(choice for word in command.words for choice in word.choices)
