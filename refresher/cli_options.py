"""What commands do before their own work: read the configuration, set up the log, keep secrets in."""

import argparse
import os
import sys
from collections.abc import Callable, Collection

from refresher.config.durations import parse_duration
from refresher.config.loader import Loaded, load
from refresher.errors import ConfigurationError, Problem
from refresher.observers import log

OWNER_VARIABLE = "REFRESHER_OWNER"  # what this installation is called in Secrets and records
LOG_VARIABLES = ("REFRESHER_LOG_FORMAT", "REFRESHER_LOG_LEVEL")


def add_log_flags(parser: argparse.ArgumentParser, level: str = "info") -> None:
    """Declare how to log: from `level` on, if nothing else is given."""
    parser.set_defaults(default_log_level=level)
    group = parser.add_argument_group("logging", "To standard error.")
    group.add_argument(
        "--log-format",
        choices=("auto", "text", "json"),
        help="Default: auto, which is text on a terminal and in systemd's journal, JSON otherwise. "
        "[REFRESHER_LOG_FORMAT]",
    )
    group.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help=f"Default: {level}. [REFRESHER_LOG_LEVEL]",
    )


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
        other_variables=(*LOG_VARIABLES, OWNER_VARIABLE),
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


def configure_log(arguments: argparse.Namespace, redact: Callable[[str], str]) -> Callable[[], int]:
    """Log as flags or variables say; `redact` takes the secrets out of each text. What is returned counts the
    lines that were dropped so far."""
    return log.configure(
        arguments.log_format or os.environ.get("REFRESHER_LOG_FORMAT") or "auto",
        arguments.log_level or os.environ.get("REFRESHER_LOG_LEVEL") or arguments.default_log_level,
        sys.stderr,
        redact,
    )
