"""Writes the metrics of one pass (`once --metrics-file`)."""

import logging
from collections.abc import Callable, Sequence

from refresher.core.state import State, TokenPolicy
from refresher.outputs import atomic
from refresher.outputs.permissions import Permissions
from refresher.ports import Clock

ENDING = ".prom"  # the collector reads no other files
_log = logging.getLogger("refresher")


def write(
    path: str,
    view: Sequence[tuple[TokenPolicy, State]],
    clock: Clock,
    every: float,
    succeeded: Callable[[State], bool],
) -> bool:
    """Replace the file at `path`. Returns whether that worked; if not, it is logged."""
    from refresher.metrics import textfile  # noqa: PLC0415 -- after the pass, and only if wanted

    content = textfile.metrics_of_pass(view, clock, every, succeeded).encode(errors="backslashreplace")
    try:
        with atomic.replaced(path, content, Permissions(0o644)):
            return True
    except OSError as error:
        _log.error("the metrics file %s cannot be written: %s", path, error.strerror or error)
    return False
