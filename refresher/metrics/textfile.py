"""Metrics in a file, for the textfile collector of node_exporter, after one pass of `refresher once`.

Every series has the label token, because the collector refuses a series that two files have.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from refresher.core.instant import Instant
from refresher.core.state import State, TokenPolicy
from refresher.metrics.counters import Counters
from refresher.metrics.series import (
    EXPIRY,
    ISSUED,
    KEY_ACCEPTED,
    OUTPUT_EXPIRY,
    PREFIX,
    Description,
    Scrape,
    escaped,
    families,
)

# Of the daemon's metrics. The others describe a process, or count from its start. The due time is left out: a
# daemon mints at that time, `once` with its next call.
KEPT = frozenset({EXPIRY, ISSUED, KEY_ACCEPTED, OUTPUT_EXPIRY})
LAST_RUN = Description(
    "gauge", f"{PREFIX}once_last_run_timestamp_seconds", "When the last pass of `once` ended."
)
SUCCESS = Description(
    "gauge",
    f"{PREFIX}once_success",
    "1: the last pass of `once` did all that it should. 0: its log says what failed.",
)
EVERY = Description(
    "gauge",
    f"{PREFIX}once_every_seconds",
    "The time between two calls, from --every. Absent without it.",
)


def metrics_of_pass(
    view: Sequence[tuple[TokenPolicy, State]], now: Instant, every: float, succeeded: Callable[[State], bool]
) -> str:
    """The content of the file. `every`: seconds between two calls; 0 if unknown. `succeeded`: whether the
    pass did all that it should for a token."""
    taken = Scrape(view, Counters(), now)
    found = [(metric, lines) for metric, lines in families(taken) if metric in KEPT]
    found += [
        (LAST_RUN, _samples(LAST_RUN, ((policy.name, f"{now.wall:.3f}") for policy, _ in view))),
        (SUCCESS, _samples(SUCCESS, ((policy.name, f"{succeeded(state):d}") for policy, state in view))),
    ]
    if every:
        found.append((EVERY, _samples(EVERY, ((policy.name, f"{every:g}") for policy, _ in view))))
    return "".join(_family(metric, "".join(lines)) for metric, lines in found)


def _family(metric: Description, lines: str) -> str:
    if not lines:
        return ""
    return f"# HELP {metric.name} {metric.help_text}\n# TYPE {metric.name} {metric.kind}\n{lines}"


def _samples(metric: Description, values: Iterable[tuple[str, str]]) -> Iterator[str]:
    """`values`: by token."""
    return (f'{metric.name}{{token="{escaped(token)}"}} {value}\n' for token, value in values)
