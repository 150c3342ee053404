"""Writes the metrics of one pass (`once --metrics-file`)."""

import logging
import os
from collections.abc import Sequence

from refresher import exit_codes
from refresher.core.instant import Instant
from refresher.core.state import State, TokenPolicy
from refresher.outputs import atomic
from refresher.outputs.permissions import Permissions

ENDING = ".prom"  # the collector reads no other files
_log = logging.getLogger("refresher")


def write(path: str, view: Sequence[tuple[TokenPolicy, State]], now: Instant, every: float) -> bool:
    """Replace the file at `path`. `every`: seconds between two calls; 0 if unknown. Returns whether that
    worked; if not, it is logged."""
    from refresher.metrics import textfile  # noqa: PLC0415 -- after the pass, and only if wanted

    path = os.path.abspath(path)

    def succeeded(state: State) -> bool:
        return exit_codes.of_states([state], now) == exit_codes.DONE

    content = textfile.metrics_of_pass(view, now, every, succeeded).encode(errors="backslashreplace")
    try:
        with atomic.replaced(path, content, Permissions(0o644)):
            return True
    except OSError as error:
        _log.error("the metrics file %s cannot be written: %s", path, error.strerror or error)
    return False
