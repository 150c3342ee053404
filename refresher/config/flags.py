"""Flags and environment variables: added to argparse, and collected as given.

Neither this module nor argparse checks values. The loader reports all problems at once, with exit code 78.
"""

import argparse
import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, NamedTuple

from refresher.config import addresses, value_types
from refresher.config.declarations import SECTIONS
from refresher.config.options import Option, options_of
from refresher.errors import Problem

PREFIX = "REFRESHER_"
_LEVELS = ("debug", "info", "warning", "error")
OWNER_VARIABLE = "REFRESHER_OWNER"  # the name of this installation; it has no flag
GROUPS = ("config", "key", "token", "format", "output", "issuer", "listen", "serve", "election", "log")
CONFIG = Option(
    "File with the configuration: YAML, or JSON when named .json. Flags and variables beat it.",
    addresses.FILE,
    flag="--config",
    group="config",
)


class LogSettings(NamedTuple):
    """How a command logs, to standard error. Only flags and variables set this, not the file."""

    format: Annotated[
        str,
        Option(
            "How log lines look: auto is text on a terminal and in systemd's journal, JSON otherwise.",
            value_types.choice("log format", ("auto", "text", "json"), "auto|text|json", fold=str.lower),
            example="text",
            flag="--log-format",
            group="log",
        ),
    ] = "auto"
    level: Annotated[
        str | None,
        Option(
            "The lowest level to log.",
            value_types.choice("log level", _LEVELS, "|".join(_LEVELS), fold=str.lower),
            example="info",
            flag="--log-level",
            flag_note="Default: info; of `refresher once`: warning.",
            group="log",
        ),
    ] = None


class Given(NamedTuple):
    """A text from the command line or the environment, not checked yet."""

    section: type | None  # None for --config
    option: Option
    text: str
    where: str  # "--lifetime" or "REFRESHER_LIFETIME"


def declared_flags() -> list[tuple[type | None, Option]]:
    """Every option with a flag, and its section; None for ``--config``.

    Of sections that share a flag the first one counts, with the group of any and the notes of all.
    """
    declared: dict[str | None, tuple[type | None, Option]] = {CONFIG.flag: (None, CONFIG)}
    for section in (*SECTIONS, LogSettings):
        for option in options_of(section).values():
            if option.flag:
                first, known = declared.setdefault(option.flag, (section, option))
                if known is not option:
                    note = f"{known.flag_note} {option.flag_note}".strip()
                    known = known._replace(flag_note=note, group=known.group or option.group)
                    declared[option.flag] = first, known
    return list(declared.values())


def destination(option: Option) -> str:
    """The option's attribute in parsed arguments. Commands have a ``name`` of their own."""
    name = str(option.flag)[2:].replace("-", "_")
    return "token_name" if name == "name" else name


def add_flags(parser: argparse.ArgumentParser, groups: Iterable[str] = GROUPS) -> None:
    """Add the flags of `groups`, some of GROUPS, to `parser`. A flag that is not given is None."""
    chosen = set(groups)
    parser_group = parser.add_argument_group(
        "configuration", "Flag beats [VARIABLE] beats file beats default."
    )
    for _, option in declared_flags():
        if option.group in chosen:
            parser_group.add_argument(
                str(option.flag),
                dest=destination(option),
                metavar=option.value_type.metavar,
                action="append" if option.repeated else "store",
                help=_help(option).replace("%", "%%"),
            )


def _help(option: Option) -> str:
    text = option.doc
    if option.repeated:
        text += " May be repeated; the variable separates several by a colon."
    if not option.required and option.default is not None:
        text += f" Default: {option.shown_default}."
    note = f" {option.flag_note}" if option.flag_note else ""
    return f"{text}{note} [{option.variable}]"


def variables_beyond(groups: Collection[str], environ: Mapping[str, str]) -> list[str]:
    """The variables that are set although their options are in none of these `groups`."""
    options = [option for _, option in declared_flags() if option.group not in groups]
    return [option.variable for option in options if environ.get(option.variable)]


def collect(arguments: Mapping[str, object], environ: Mapping[str, str]) -> list[Given]:
    """The values of flags, and of variables without their flag. An empty variable does not count."""
    found: list[Given] = []
    for section, option in declared_flags():
        argument, where = arguments.get(destination(option)), str(option.flag)
        if argument is None:
            argument, where = environ.get(option.variable) or None, option.variable
            if argument is not None and option.repeated:
                argument = [text for text in argument.split(os.pathsep) if text]
        if argument is not None:
            texts = argument if isinstance(argument, list) else [argument]
            found += [Given(section, option, str(text), where) for text in texts]
    return found


def concern_outputs(arguments: Mapping[str, object], environ: Mapping[str, str]) -> bool:
    """Whether flags or variables name or describe an output."""
    return any(given.option.group in ("format", "output") for given in collect(arguments, environ))


def doubtful_variables(environ: Mapping[str, str]) -> tuple[Problem, ...]:
    """A warning for each variable that has no effect and was probably meant for us.

    Most unknown ones were not: a Kubernetes Service called ``refresher`` gives the pods of its namespace
    REFRESHER_SERVICE_HOST, REFRESHER_PORT_9464_TCP and so on
    (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
    """
    known = {option.variable for _, option in declared_flags()} | {OWNER_VARIABLE}
    unknown = (name for name in environ if name.startswith(PREFIX) and name not in known)
    warnings = (_warning(name, known) for name in sorted(unknown) if not re.search(_SERVICE_LINK, name))
    return tuple(warning for warning in warnings if warning)


_SERVICE_LINK = r"_SERVICE_(HOST|PORT)(_|$)|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$"
_KEY_ITSELF = {"KEY", "API_KEY", "APPLICATION_KEY", "APP_KEY", "SECRET_KEY"}


def _warning(name: str, known: Collection[str]) -> Problem | None:
    if name.removeprefix(PREFIX) in _KEY_ITSELF:
        text = "has no effect; the key is read from the file that REFRESHER_KEY_FILE names"
        return Problem(name, text)
    from refresher.config.quoting import LONGEST_NAME, nearest, plain  # noqa: PLC0415 - only for mistakes

    near = nearest(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known], likeness=0.75)
    return (
        Problem(plain(name, LONGEST_NAME), f"has no effect; did you mean {PREFIX}{near}?") if near else None
    )
