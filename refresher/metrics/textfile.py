"""Metrics in a file, for the textfile collector of node_exporter, after one pass of `refresher once`.

Every series has the label token, because the collector refuses a series that two files have.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from refresher.core.state import State, TokenPolicy
from refresher.metrics.counters import Counters
from refresher.metrics.exposition import Metrics
from refresher.metrics.series import PREFIX, escaped
from refresher.ports import Clock

# Of the daemon's metrics. The others describe a process, or count from its start. The due time is left out: a
# daemon mints at that time, `once` with its next call.
KEPT = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "token_expiry_timestamp_seconds",
        "token_issued_timestamp_seconds",
        "key_accepted",
        "output_token_expiry_timestamp_seconds",
    )
)
LAST_RUN = f"{PREFIX}once_last_run_timestamp_seconds", "When the last pass of `once` ended."
SUCCESS = (
    f"{PREFIX}once_success",
    "1: the last pass of `once` did all that it should. 0: its log says what failed.",
)
EVERY = f"{PREFIX}once_every_seconds", "The time between two calls, from --every. Absent without it."

_NAME = re.compile(r"(?:# (?:HELP|TYPE) )?(\w+)")


def metrics_of_pass(
    view: Sequence[tuple[TokenPolicy, State]], clock: Clock, every: float, succeeded: Callable[[State], bool]
) -> str:
    """The content of the file. `every`: seconds between two calls; 0 if unknown. `succeeded`: whether the
    pass did all that it should for a token."""
    now = clock.now()
    text = Metrics(lambda: view, lambda: now, clock, Counters(), version="").exposition("")[0].decode()
    kept = [line for line in text.splitlines() if (name := _NAME.match(line)) and name[1] in KEPT]
    ended = {policy.name: f"{now.wall:.3f}" for policy, _ in view}
    success = {policy.name: f"{succeeded(state):d}" for policy, state in view}
    kept += [*_gauge(LAST_RUN, ended), *_gauge(SUCCESS, success)]
    if every:
        kept += _gauge(EVERY, dict.fromkeys(ended, f"{every:g}"))
    return "".join(f"{line}\n" for line in kept)


def _gauge(metric: tuple[str, str], values: dict[str, str]) -> Iterator[str]:
    """The lines of a gauge. `values`: by token."""
    name, help_text = metric
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} gauge"
    yield from (f'{name}{{token="{escaped(token)}"}} {value}' for token, value in values.items())
