"""The metrics that have a series for each token or output, as lines of the exposition formats.

These lines are the same in Prometheus' text format 0.0.4 and in OpenMetrics 1.0. The descriptions and the end
differ: prometheus_client writes them (`exposition`). Ten thousand tokens have more than seventy thousand
lines, so this module computes them one after the other, while the ones before are sent. Counters omit series
that are still 0, except the successful writes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from refresher.core import status
from refresher.core.instant import Instant
from refresher.core.model import TokenFacts
from refresher.core.state import State, TokenPolicy
from refresher.core.values import distinct
from refresher.metrics.counters import FAILURE, SUCCESS, Counters

PREFIX = "token_refresher_"
PART = 256  # tokens: their lines take a few milliseconds
JOINED = 2  # parts whose lines are sent together once they are known: each piece costs the server 0.05 ms

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


View = Sequence[tuple[TokenPolicy, State]]


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


class Part:
    """Up to PART tokens at the moment of the scrape, as one list for each kind of value.

    `names`, `states`: of the tokens. `labels`: their names as labels. `facts`: of their current tokens.
    `outputs`: of all their outputs the name as a label, the state, and the number of the token. The others
    are wall times as text: when the current token expires, when the schedule replaces it, when the next
    attempt is planned.
    """

    def __init__(self, view: View, counters: Counters, now: Instant) -> None:
        self.counters, self.now = counters, now
        self.names = [policy.name for policy, _ in view]
        self.states = [state for _, state in view]
        self.labels = [f'token="{name}"' for name in _all_escaped(self.names)]
        held = [(output, at) for at, state in enumerate(self.states) for output in state.outputs]
        names = _all_escaped([output.name for output, _ in held])
        self.outputs = [
            (f'output="{name}"', output, at) for name, (output, at) in zip(names, held, strict=True)
        ]
        self.facts = [status.current(state, now) for state in self.states]
        self.expiries = [None if facts is None else self.expiry(facts) for facts in self.facts]
        dues = [status.refresh_due(state, policy, now) for policy, state in view]
        self.dues = [None if due is None else self.wall(due) for due in dues]
        self.planned = list(map(self._planned, view, dues, self.dues))

    def wall(self, boot: float) -> str:
        """The wall time of this boot second."""
        return f"{self.now.wall + boot - self.now.boot:.3f}"

    def expiry(self, facts: TokenFacts) -> str:
        """When this token expires."""
        return f"{self.now.wall + facts.remaining(self.now):.3f}"

    def _planned(self, of: tuple[TokenPolicy, State], due: float | None, shown: str | None) -> str | None:
        """When the next attempt is planned. `shown`: `due` as text; most often both are the same time."""
        policy, state = of
        planned = status.next_attempt(state, policy, self.now, due)
        if planned is None:
            return None
        return shown if planned[1] == due else self.wall(planned[1])


# The lines of a metric, each from its first label on.
Lines = Iterable[str]


def _expiries(part: Part) -> Lines:
    return _timestamps(part.labels, part.expiries)


def _issued(part: Part) -> Lines:
    pairs = zip(part.labels, part.facts, strict=True)
    return [f"{label}}} {facts.issued.wall:.3f}\n" for label, facts in pairs if facts]


def _shortfalls(part: Part) -> Lines:
    return [
        f"{label}}} {facts.requested - facts.lifetime:.3f}\n"
        for label, facts in zip(part.labels, part.facts, strict=True)
        if facts is not None and facts.requested != facts.lifetime
    ]


def _due(part: Part) -> Lines:
    return _timestamps(part.labels, part.dues)


def _planned(part: Part) -> Lines:
    return _timestamps(part.labels, part.planned)


def _timestamps(labels: list[str], times: list[str | None]) -> Lines:
    return [f"{label}}} {time}\n" for label, time in zip(labels, times, strict=True) if time]


def _failing(part: Part) -> Lines:
    for label, state in zip(part.labels, part.states, strict=True):
        since = status.failing_since(state)
        if since is not None:
            yield f"{label}}} {part.wall(since)}\n"


def _keys(part: Part) -> Lines:
    for label, state in zip(part.labels, part.states, strict=True):
        newest = state.newest
        if newest is not None:
            yield f"{label}}} {0 if newest.is_refused else 1}\n"


def _output_expiries(part: Part) -> Lines:
    for label, output, at in part.outputs:
        facts = output.facts
        if facts is not None:
            expiry = part.expiries[at] if facts is part.facts[at] else part.expiry(facts)
            yield f"{label},{part.labels[at]}}} {expiry}\n"


def _refreshes(part: Part) -> Lines:
    for name, label in zip(part.names, part.labels, strict=True):
        for (reason, result), count in part.counters.refreshes(name).items():
            yield f'reason="{reason}",result="{result}",{label}}} {count}\n'


def _writes(part: Part) -> Lines:
    """The successful writes of an output are there from the start, also at 0, so that a query can find an
    output without a token: ``…writes_total unless on (token, output) …output_token_expiry…``."""
    for label, output, at in part.outputs:
        counts = part.counters.output_writes(part.names[at])
        succeeded = counts.get((output.name, SUCCESS), 0)
        yield f'{label},result="{SUCCESS}",{part.labels[at]}}} {succeeded}\n'
        failed = counts.get((output.name, FAILURE))
        if failed is not None:
            yield f'{label},result="{FAILURE}",{part.labels[at]}}} {failed}\n'


def _hook_runs(part: Part) -> Lines:
    for name, label in zip(part.names, part.labels, strict=True):
        for (output, result), count in part.counters.hook_runs(name).items():
            yield f'output="{escaped(output)}",result="{result}",{label}}} {count}\n'


METRICS: Mapping[Description, Callable[[Part], Lines]] = {
    EXPIRY: _expiries,
    ISSUED: _issued,
    SHORTFALL: _shortfalls,
    REFRESH_DUE: _due,
    NEXT_REFRESH: _planned,
    FAILING_SINCE: _failing,
    KEY_ACCEPTED: _keys,
    OUTPUT_EXPIRY: _output_expiries,
    REFRESHES: _refreshes,
    WRITES: _writes,
    HOOK_RUNS: _hook_runs,
}


class Scrape:
    """What all series are computed from: a snapshot of the tokens, the counters, and the moment."""

    def __init__(self, view: Iterable[tuple[TokenPolicy, State]], counters: Counters, now: Instant) -> None:
        self.counters, self.now = counters, now
        self._view = tuple(view)
        self._unsent: list[dict[Description, str]] = []

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self._view)

    def lines(self, metric: Description) -> Iterator[str]:
        """The lines of this metric, in pieces that take a few milliseconds each. The first call computes the
        lines of all metrics. Only once for each metric, and one metric at a time."""
        start = f"{metric.name}{{"
        for text in filter(None, self._texts(metric)):
            yield start + text[:-1].replace("\n", f"\n{start}") + "\n"

    def _texts(self, metric: Description) -> Iterator[str]:
        known = tuple(self._unsent)
        for first in range(0, len(known), JOINED):
            yield "".join([texts.pop(metric) for texts in known[first : first + JOINED]])
        for first in range(PART * len(known), len(self._view), PART):
            part = Part(self._view[first : first + PART], self.counters, self.now)
            texts = {each: "".join(lines_of(part)) for each, lines_of in METRICS.items()}
            self._unsent.append(texts)
            yield texts.pop(metric)


def families(taken: Scrape) -> Iterator[tuple[Description, Iterator[str]]]:
    """Each metric and its lines, in pieces (`Scrape.lines`)."""
    return ((metric, taken.lines(metric)) for metric in METRICS)


def escaped(name: str) -> str:
    """`name` as the value of a label. Bytes of a path that are not UTF-8 are escaped."""
    return name if _is_plain(name) else name.encode(errors="backslashreplace").decode().translate(_ESCAPES)


def _all_escaped(names: list[str]) -> list[str]:
    return names if _is_plain("".join(names)) else list(map(escaped, names))


def _is_plain(name: str) -> bool:  # nearly always
    return name.isascii() and name.isprintable() and "\\" not in name and '"' not in name
