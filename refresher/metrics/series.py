"""The metrics that have a series for each token or output, as lines of the exposition formats.

These lines are the same in Prometheus' text format 0.0.4 and in OpenMetrics 1.0. The descriptions and the end
differ: prometheus_client writes them (`exposition`). Ten thousand tokens have more than seventy thousand
lines, so this module creates no object for each series.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from refresher.core import status
from refresher.core.instant import Instant
from refresher.core.state import State, TokenPolicy
from refresher.core.values import distinct
from refresher.metrics.counters import FAILURE, SUCCESS, Counters

PREFIX = "token_refresher_"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@distinct
class Description(NamedTuple):
    """A metric without its series. `name` includes our prefix."""

    kind: Literal["gauge", "counter"]
    name: str
    help_text: str


EXPIRY = Description(
    "gauge",
    f"{PREFIX}token_expiry_timestamp_seconds",
    "When the current token expires. Absent while there is no token.",
)
ISSUED = Description(
    "gauge",
    f"{PREFIX}token_issued_timestamp_seconds",
    "When the current token was requested. Absent while there is no token.",
)
SHORTFALL = Description(
    "gauge",
    f"{PREFIX}token_lifetime_shortfall_seconds",
    "By how much the current token's expected lifetime is shorter than requested, because the token says so "
    "or an earlier token expired early. Absent while it lives as long as requested.",
)
NEXT_REFRESH = Description(
    "gauge",
    f"{PREFIX}next_refresh_timestamp_seconds",
    "When the next attempt to mint is planned; now, if it is due. Absent without a key.",
)
REFRESH_DUE = Description(
    "gauge",
    f"{PREFIX}refresh_due_timestamp_seconds",
    "When the schedule replaces the current token. Retries do not move it: in the past, a refresh is "
    "overdue. Absent without a token.",
)
FAILING_SINCE = Description(
    "gauge",
    f"{PREFIX}refresh_failing_since_timestamp_seconds",
    "When the first of the failed attempts in a row ended. Absent while no attempt fails.",
)
KEY_ACCEPTED = Description(
    "gauge",
    f"{PREFIX}key_accepted",
    "0: the issuer refuses the key in the key file, put a valid key there. 1: it has not refused the key. "
    "Absent until a key was read.",
)
OUTPUT_EXPIRY = Description(
    "gauge",
    f"{PREFIX}output_token_expiry_timestamp_seconds",
    "When the token in this output expires. In the past: consumers have no valid token. Absent while the "
    "output holds no token whose expiry is known.",
)
REFRESHES = Description(
    "counter",
    f"{PREFIX}refreshes_total",
    "Tokens minted (success) and failed attempts (failure: the log says why), by reason. Adopting a token "
    "from an output does not count. A series begins with its first event.",
)
WRITES = Description(
    "counter",
    f"{PREFIX}output_writes_total",
    "Writes of this output. After a failed write it keeps its value, and is written again within 30 s. The "
    "series of failures begins with the first failure.",
)
HOOK_RUNS = Description(
    "counter",
    f"{PREFIX}hook_runs_total",
    "Runs of the hook of this output (after). A failed run is repeated after a minute at most; until it "
    "succeeds, the consumer may use the former token. A series begins with its first run.",
)


METRICS = (
    EXPIRY,
    ISSUED,
    SHORTFALL,
    REFRESH_DUE,
    NEXT_REFRESH,
    FAILING_SINCE,
    KEY_ACCEPTED,
    OUTPUT_EXPIRY,
    REFRESHES,
    WRITES,
    HOOK_RUNS,
)


class TokenSeries:
    """Every metric of tokens and outputs at one moment: `lines` by description, in order.

    Counters omit series that are still 0. Only the successful writes of an output are there from the start,
    so that a query can find an output without a token:
    ``…output_writes_total unless on (token, output) …output_token_expiry_timestamp_seconds``.
    """

    def __init__(self, view: Iterable[tuple[TokenPolicy, State]], counters: Counters, now: Instant) -> None:
        self.lines: dict[Description, list[str]] = {metric: [] for metric in METRICS}
        self._now = now
        for policy, state in view:
            token = f'token="{_escaped(policy.name)}"'
            self._add_token(token, policy, state)
            self._add_outputs(token, state, counters.output_writes(policy.name))
            for (reason, result), count in counters.refreshes(policy.name).items():
                self._count(REFRESHES, f'reason="{reason}",result="{result}",{token}', count)
            for (output, result), count in counters.hook_runs(policy.name).items():
                self._count(HOOK_RUNS, f'output="{_escaped(output)}",result="{result}",{token}', count)

    def _add_token(self, token: str, policy: TokenPolicy, state: State) -> None:
        now = self._now
        facts = status.current(state, now)
        if facts is not None:
            self._seconds(EXPIRY, token, now.wall + facts.remaining(now))
            self._seconds(ISSUED, token, facts.issued.wall)
            if facts.requested != facts.lifetime:
                self._seconds(SHORTFALL, token, facts.requested - facts.lifetime)
        planned = status.next_attempt(state, policy, now)
        if planned is not None:
            self._at(NEXT_REFRESH, token, planned[1])
        self._at(REFRESH_DUE, token, status.refresh_due(state, policy, now))
        self._at(FAILING_SINCE, token, status.failing_since(state))
        if state.newest is not None:
            self._count(KEY_ACCEPTED, token, not state.newest.is_refused)

    def _add_outputs(self, token: str, state: State, writes: dict[tuple[str, str], int]) -> None:
        now = self._now
        for output in state.outputs:
            name = f'output="{_escaped(output.name)}"'
            if output.facts is not None:
                self._seconds(OUTPUT_EXPIRY, f"{name},{token}", now.wall + output.facts.remaining(now))
            succeeded = writes.get((output.name, SUCCESS), 0)
            self._count(WRITES, f'{name},result="{SUCCESS}",{token}', succeeded)
            failed = writes.get((output.name, FAILURE))
            if failed is not None:
                self._count(WRITES, f'{name},result="{FAILURE}",{token}', failed)

    def _at(self, metric: Description, labels: str, boot: float | None) -> None:
        """A time, given in boot seconds; nothing for None."""
        if boot is not None:
            self._seconds(metric, labels, self._now.wall + boot - self._now.boot)

    def _seconds(self, metric: Description, labels: str, value: float) -> None:
        """A time or a duration, in milliseconds. The two clocks are read a moment apart; with more digits an
        unchanged expiry would seem to change."""
        self.lines[metric].append(f"{metric.name}{{{labels}}} {value:.3f}\n")

    def _count(self, metric: Description, labels: str, value: int) -> None:
        """A count, or a truth value as 1 or 0."""
        self.lines[metric].append(f"{metric.name}{{{labels}}} {value:d}\n")


def _escaped(name: str) -> str:
    """`name` as the value of a label. Bytes of a path that are not UTF-8 are escaped."""
    return name.encode(errors="backslashreplace").decode().translate(_ESCAPES)
