"""The manual page, refresher(1), in the macros of man(7)."""

from collections.abc import Iterator

from refresher.completion import Argument, arguments
from refresher.parser import Parser

TITLES = {"start here": "EXAMPLES", "exit codes": "EXIT STATUS"}  # the names in man-pages(7)
ENVIRONMENT = (
    "Each configuration flag has an environment variable; its description ends with the name in brackets. "
    "A flag overrides the variable, the variable overrides the configuration file, "
    "and the file overrides the default."
)


def page(parser: Parser, version: str) -> str:
    """The text of the file in share/man/man1."""
    return "\n".join([*_lines(parser, version), ""])


def _lines(parser: Parser, version: str) -> Iterator[str]:
    yield f'.TH REFRESHER 1 "" "inlive\\-token\\-refresher {_text(version)}" "User Commands"'
    yield from (".nh", ".ad l")  # no hyphenation: a variable's name must be copyable
    yield from (".SH NAME", "refresher \\- keep short\\-lived Inlive access tokens fresh")
    yield from (".SH SYNOPSIS", ".B refresher", ".I COMMAND", ".RI [ OPTION ]...")
    yield from (".SH DESCRIPTION", _text(parser.description or ""))
    yield ".SH OPTIONS"
    for flag in arguments(parser):
        yield from _option(flag)
    yield ".SH COMMANDS"
    for name, command in parser.commands.items():
        yield from _command(name, command)
    for paragraph in (parser.epilog or "").strip().split("\n\n"):
        title, _, body = paragraph.partition(":\n")
        yield f".SH {TITLES.get(title, title.upper())}"
        yield from _verbatim(body)
    yield from (".SH ENVIRONMENT", _text(ENVIRONMENT))


def _command(name: str, command: Parser) -> Iterator[str]:
    yield f".SS {_text(name)}"
    yield _text(command.description or "")
    for argument in arguments(command):
        yield from _option(argument)
    title, _, body = (command.epilog or "").partition(":\n")
    yield from (".PP", f"{_text(title.capitalize())}:")
    yield from _verbatim(body)


def _option(argument: Argument) -> Iterator[str]:
    yield ".TP"
    value = rf"\fI{_text(argument.value)}\fR"
    if argument.names:
        names = (rf"\fB{_text(name)}\fR" for name in argument.names)
        yield ", ".join(f"{name} {value}" if argument.value else name for name in names)
    else:
        yield value
    yield _text(argument.help)


def _verbatim(text: str) -> Iterator[str]:
    yield from (".PP", ".nf")
    yield from (_text(line) for line in text.splitlines())
    yield ".fi"


def _text(text: str) -> str:
    """`text` for troff, literally: no escapes, no requests, and hyphens that can be copied into a shell."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
