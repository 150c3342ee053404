"""Completion for zsh: a function for its `compinit`."""

from release.command_line import Argument, Command, CommandLine

SCRIPT = """\
#compdef refresher
# Completion of refresher for zsh. Generated from its command line.
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
{cases}
            esac ;;
    esac
}}
if [[ $funcstack[1] == _refresher ]]; then
    _refresher "$@"
else
    compdef _refresher refresher
fi
"""


def script(line: CommandLine) -> str:
    """The file for share/zsh/site-functions."""
    commands = (_quoted(f"{each.name}:{_plain(each.summary, ':')}") for each in line.commands)
    return SCRIPT.format(
        flags=" ".join(specification(each) for each in line.flags),
        commands=" ".join(commands),
        cases="\n".join(_case(each) for each in line.commands),
    )


def _case(command: Command) -> str:
    lines = " \\\n".join(f"                    {specification(each)}" for each in command.arguments)
    return f"                {command.name}) _arguments \\\n{lines} ;;"


def specification(argument: Argument) -> str:
    """As `_arguments` takes it (zshcompsys(1))."""
    told, value = _plain(argument.summary, ":[]"), _plain(argument.value, ":[]")
    action = "_files" if argument.is_file else f"({' '.join(argument.choices)})" if argument.choices else " "
    if not argument.names:
        return _quoted(f":{_plain(argument.summary, ':')}:{action}")
    takes = f":{value}:{action}" if argument.value else ""
    equals = "=" if argument.value else ""
    often = "*" if argument.repeated else ""
    if len(argument.names) == 1:
        return _quoted(f"{often}{argument.names[0]}{equals}[{told}]{takes}")
    alike = ",".join(f"{name}{equals}" for name in argument.names)
    instead = _quoted(f"({' '.join(argument.names)})")
    return f"{instead}{{{alike}}}{_quoted(f'[{told}]{takes}')}"


def _plain(text: str, special: str) -> str:
    """`text` with what means something there in front of a backslash."""
    return "".join(f"\\{character}" if character in f"\\{special}" else character for character in text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
