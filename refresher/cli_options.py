"""What commands do before their own work: read the configuration, set up the log, keep secrets in."""

import argparse
import os
import sys
from collections.abc import Callable, Collection

from refresher.config.durations import parse_duration
from refresher.config.flags import LogSettings
from refresher.config.loader import Loaded, load
from refresher.errors import ConfigurationError, Problem
from refresher.logs import setup


def loaded(arguments: argparse.Namespace, *, command: str, needs: Collection[str]) -> Loaded:
    """The configuration of this call; warnings about it are told on standard error.

    Raises ConfigurationError with every mistake.
    """
    found = load(
        vars(arguments),
        os.environ,
        os.getcwd(),
        needs=needs,
        command=command,
    )
    for warning in found.warnings:
        print(f"refresher: warning: {warning}", file=sys.stderr)
    return found


def duration(where: str, text: str) -> float:
    """A duration given by a flag of a command, in seconds. Raises ConfigurationError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigurationError((Problem(where, str(error)),)) from error


def configure_log(
    settings: LogSettings, redact: Callable[[str], str], level: str = "info"
) -> Callable[[], int]:
    """Log as `settings` say, from `level` on unless they name another; `redact` takes the secrets out of each
    text. Returns a function that counts the lines dropped so far."""
    return setup.configure(settings.format, settings.level or level, sys.stderr, redact)
