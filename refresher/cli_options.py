"""The first steps of every command: read the configuration, set up the log, redact secrets."""

import argparse
import os
import sys
from collections.abc import Callable, Collection

from refresher.config.declarations import Settings, TokenSettings
from refresher.config.durations import parse_duration
from refresher.config.flags import LogSettings
from refresher.config.loader import Loaded, load
from refresher.config.quoting import did_you_mean, shown
from refresher.errors import ConfigurationError, Problem
from refresher.logs import setup


def loaded(arguments: argparse.Namespace, *, command: str, needs: Collection[str]) -> Loaded:
    """The configuration of this call. Prints warnings about it on standard error.

    Raises ConfigurationError with every problem.
    """
    found = load(vars(arguments), os.environ, os.getcwd(), needs=needs, command=command)
    for warning in found.warnings:
        print(f"refresher: warning: {warning}", file=sys.stderr)
    return found


def duration(where: str, text: str) -> float:
    """The duration `text` of the flag `where`, in seconds. Raises ConfigurationError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigurationError((Problem(where, str(error)),)) from error


def configure_log(
    settings: LogSettings, redact: Callable[[str], str], level: str = "info"
) -> Callable[[], int]:
    """Set up the log. `level` applies unless `settings` name one. `redact` removes the secrets from a text.
    Returns a function that returns the number of lines dropped so far."""
    return setup.configure(settings.format, settings.level or level, sys.stderr, redact)


def chosen_token(settings: Settings, name: str | None) -> TokenSettings:
    """The token with this name; without a name the only one. Raises ConfigurationError."""
    names = [token.name for token in settings.tokens]
    if name is None and len(names) == 1:
        return settings.tokens[0]
    for token in settings.tokens:
        if token.name == name:
            return token
    problem = "is missing, and the configuration has several tokens;"
    if name is not None:
        problem = f"{shown(name)} is not in the configuration{did_you_mean(name, names) or ';'}"
    raise ConfigurationError((Problem("NAME", f"{problem} accepted: {', '.join(names)}"),))
