"""The flags of the declarations and their environment variables: told to argparse, and collected as given.

Values are not judged here or by argparse, so that all mistakes are told at once, with exit code 78.
"""

import argparse
import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, NamedTuple

from refresher.config import kinds
from refresher.config.declarations import (
    FileOutputSettings,
    IssuerSettings,
    LeaderElectionSettings,
    SecretOutputSettings,
    Settings,
    TokenSettings,
)
from refresher.config.options import Option, options_of
from refresher.config.serving import ServeSettings
from refresher.errors import Mistake

PREFIX = "REFRESHER_"
_LEVELS = ("debug", "info", "warning", "error")
OWNER_VARIABLE = "REFRESHER_OWNER"  # the name of this installation; it has no flag
GROUPS = ("config", "key", "token", "format", "output", "issuer", "listen", "serve", "election", "log")
CONFIG = Option(
    "File with the configuration: YAML, or JSON when named .json. Flags and variables beat it.",
    kind=kinds.FILE,
    flag="--config",
    group="config",
)
SECTIONS = (
    TokenSettings,
    FileOutputSettings,
    SecretOutputSettings,
    IssuerSettings,
    Settings,
    LeaderElectionSettings,
    ServeSettings,
)


class LogSettings(NamedTuple):
    """How a command logs, to standard error. No file says that."""

    format: Annotated[
        str,
        Option(
            "How log lines look: auto is text on a terminal and in systemd's journal, JSON otherwise.",
            kinds.choice("log format", ("auto", "text", "json"), "auto|text|json", fold=str.lower),
            example="text",
            flag="--log-format",
            group="log",
        ),
    ] = "auto"
    level: Annotated[
        str | None,
        Option(
            "The lowest level that is logged.",
            kinds.choice("log level", _LEVELS, "|".join(_LEVELS), fold=str.lower),
            example="info",
            flag="--log-level",
            flag_note="Default: info; of `refresher once`: warning.",
            group="log",
        ),
    ] = None


class Given(NamedTuple):
    """A text from the command line or the environment, not judged yet."""

    section: type | None  # None for --config
    option: Option
    text: str
    where: str  # "--lifetime" or "REFRESHER_LIFETIME"


def declared_flags() -> list[tuple[type | None, Option]]:
    """Every option that has a flag, with the settings type it belongs to; None for ``--config``.

    A flag that a file and a Secret share is the file's here.
    """
    declared: dict[str | None, tuple[type | None, Option]] = {CONFIG.flag: (None, CONFIG)}
    for section in (*SECTIONS, LogSettings):
        for option in options_of(section).values():
            if option.flag:
                declared.setdefault(option.flag, (section, option))
    return list(declared.values())


def destination(option: Option) -> str:
    """The option's attribute in parsed arguments. ``--name`` leaves ``name`` to commands' own arguments."""
    name = str(option.flag)[2:].replace("-", "_")
    return "token_name" if name == "name" else name


def add_flags(parser: argparse.ArgumentParser, groups: Iterable[str] = GROUPS) -> None:
    """Declare the flags of `groups`, some of GROUPS, to `parser`. What is not given is None."""
    chosen = set(groups)
    parser_group = parser.add_argument_group(
        "configuration", "Flag beats [VARIABLE] beats file beats default."
    )
    for _, option in declared_flags():
        if option.group in chosen:
            parser_group.add_argument(
                str(option.flag),
                dest=destination(option),
                metavar=option.kind.metavar,
                action="append" if option.repeated else "store",
                help=_help(option).replace("%", "%%"),
            )


def _help(option: Option) -> str:
    often = " May be given several times; in the variable they are separated by a colon."
    told = option.doc + (often if option.repeated else "")
    if not option.required and option.default is not None:
        told += f" Default: {option.shown_default}."
    note = f" {option.flag_note}" if option.flag_note else ""
    return f"{told}{note} [{option.variable}]"


def collect(arguments: Mapping[str, object], environ: Mapping[str, str]) -> list[Given]:
    """What flags say, and variables where there is no flag. An empty variable is as good as none."""
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


def doubtful_variables(environ: Mapping[str, str]) -> tuple[Mistake, ...]:
    """A warning for each variable that was probably meant for us and has no effect.

    Not for every unknown one: a Kubernetes Service called ``refresher`` gives the pods of its namespace
    REFRESHER_SERVICE_HOST, REFRESHER_PORT_9464_TCP and so on
    (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
    """
    known = {option.variable for _, option in declared_flags()} | {OWNER_VARIABLE}
    unknown = (name for name in environ if name.startswith(PREFIX) and name not in known)
    warnings = (_warning(name, known) for name in sorted(unknown) if not re.search(_SERVICE_LINK, name))
    return tuple(warning for warning in warnings if warning)


_SERVICE_LINK = r"_SERVICE_(HOST|PORT)(_|$)|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$"
_KEY_ITSELF = {"KEY", "API_KEY", "APPLICATION_KEY", "APP_KEY", "SECRET_KEY"}


def _warning(name: str, known: Collection[str]) -> Mistake | None:
    if name.removeprefix(PREFIX) in _KEY_ITSELF:
        problem = "has no effect; the application key is read from the file that REFRESHER_KEY_FILE names"
        return Mistake(name, problem)
    from refresher.config.wording import LONGEST_NAME, nearest, plain  # noqa: PLC0415 - see there

    near = nearest(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known], likeness=0.75)
    return (
        Mistake(plain(name, LONGEST_NAME), f"has no effect; did you mean {PREFIX}{near}?") if near else None
    )
