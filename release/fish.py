"""Completion for fish."""

from collections.abc import Iterator

from release.command_line import Argument, CommandLine

HEAD = "# Completion of refresher for fish. Generated from its command line."


def script(line: CommandLine) -> str:
    """The file for share/fish/vendor_completions.d."""
    return "\n".join([HEAD, *_lines(line), ""])


def _lines(line: CommandLine) -> Iterator[str]:
    yield "complete -c refresher -f"
    none_yet = "__fish_use_subcommand"
    for flag in line.flags:
        yield f"complete -c refresher -n {none_yet} {_specification(flag)}"
    for command in line.commands:
        yield f"complete -c refresher -n {none_yet} -a {command.name} -d {_quoted(command.summary)}"
        condition = _quoted(f"__fish_seen_subcommand_from {command.name}")
        for argument in command.arguments:
            if argument.names or argument.choices:
                yield f"complete -c refresher -n {condition} {_specification(argument)}"


def _specification(argument: Argument) -> str:
    parts = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in argument.names]
    if argument.is_file:
        parts.append("-r -F")
    elif argument.value and argument.names:
        parts.append("-x")
    if argument.choices:
        parts.append(f"-a {_quoted(' '.join(argument.choices))}")
    return " ".join([*parts, f"-d {_quoted(argument.summary)}"])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
