"""The metrics that have a series for each token or output, as lines of the exposition formats.

These lines are the same in Prometheus' text format 0.0.4 and in OpenMetrics 1.0. The descriptions and the end
differ: prometheus_client writes them (`exposition`). Ten thousand tokens have more than seventy thousand
lines, so this module computes them one after the other, while the ones before are sent. Counters omit series
that are still 0, except the successful writes.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from refresher.core import status
from refresher.core.instant import Instant
from refresher.core.model import TokenFacts
from refresher.core.state import State, TokenPolicy
from refresher.core.values import distinct
from refresher.metrics.counters import FAILURE, SUCCESS, Counters

PREFIX = "token_refresher_"
PART = 256  # tokens: their rows take a few milliseconds

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


class Row(NamedTuple):
    """One token at the moment of the scrape. `label`: its name as a label. `outputs`: the names of its
    outputs as labels, in the order of `State.outputs`. `facts`: of its current token. The rest are wall times
    as text: when that token expires, when the schedule replaces it, when the next attempt is planned."""

    name: str
    label: str
    outputs: list[str]
    state: State
    facts: TokenFacts | None
    expiry: str | None
    due: str | None
    planned: str | None


class Scrape:
    """What all series are computed from: a snapshot of the tokens, the counters, and the moment."""

    def __init__(self, view: Iterable[tuple[TokenPolicy, State]], counters: Counters, now: Instant) -> None:
        self.counters, self.now = counters, now
        self._view = tuple(view)
        self._known: list[list[Row]] = []

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self._view)

    def parts(self) -> Iterator[list[Row]]:
        """A row for each token, in lists of up to PART. The first caller computes them one by one, between
        which the server answers probes; only one caller at a time."""
        yield from self._known
        for first in range(PART * len(self._known), len(self._view), PART):
            part = [self._row(policy, state) for policy, state in self._view[first : first + PART]]
            self._known.append(part)
            yield part

    def wall(self, boot: float) -> float:
        """The wall time of this boot second."""
        return self.now.wall + boot - self.now.boot

    def expiry(self, facts: TokenFacts) -> str:
        """When this token expires."""
        return _seconds(self.now.wall + facts.remaining(self.now))

    def _row(self, policy: TokenPolicy, state: State) -> Row:
        now = self.now
        facts = status.current(state, now)
        due = status.refresh_due(state, policy, now)
        planned = status.next_attempt(state, policy, now, due)
        return Row(
            policy.name,
            f'token="{escaped(policy.name)}"',
            [f'output="{escaped(output.name)}"' for output in state.outputs],
            state,
            facts,
            None if facts is None else self.expiry(facts),
            None if due is None else _seconds(self.wall(due)),
            None if planned is None else _seconds(self.wall(planned[1])),
        )


Rows = list[Row]
Lines = Iterable[str]


def _expiries(name: str, rows: Rows, _of: Scrape) -> Lines:
    return [f"{name}{{{row.label}}} {row.expiry}\n" for row in rows if row.expiry]


def _issued(name: str, rows: Rows, _of: Scrape) -> Lines:
    return [f"{name}{{{row.label}}} {row.facts.issued.wall:.3f}\n" for row in rows if row.facts]


def _shortfalls(name: str, rows: Rows, _of: Scrape) -> Lines:
    for row in rows:
        facts = row.facts
        if facts is not None and facts.requested != facts.lifetime:
            yield f"{name}{{{row.label}}} {_seconds(facts.requested - facts.lifetime)}\n"


def _due(name: str, rows: Rows, _of: Scrape) -> Lines:
    return [f"{name}{{{row.label}}} {row.due}\n" for row in rows if row.due]


def _planned(name: str, rows: Rows, _of: Scrape) -> Lines:
    return [f"{name}{{{row.label}}} {row.planned}\n" for row in rows if row.planned]


def _failing(name: str, rows: Rows, of: Scrape) -> Lines:
    for row in rows:
        since = status.failing_since(row.state)
        if since is not None:
            yield f"{name}{{{row.label}}} {_seconds(of.wall(since))}\n"


def _keys(name: str, rows: Rows, _of: Scrape) -> Lines:
    for row in rows:
        newest = row.state.newest
        if newest is not None:
            yield f"{name}{{{row.label}}} {0 if newest.is_refused else 1}\n"


def _output_expiries(name: str, rows: Rows, of: Scrape) -> Lines:
    for row in rows:
        for label, output in zip(row.outputs, row.state.outputs, strict=True):
            facts = output.facts
            if facts is not None:
                expiry = row.expiry if facts is row.facts else of.expiry(facts)
                yield f"{name}{{{label},{row.label}}} {expiry}\n"


def _refreshes(name: str, rows: Rows, of: Scrape) -> Lines:
    for row in rows:
        for (reason, result), count in of.counters.refreshes(row.name).items():
            yield f'{name}{{reason="{reason}",result="{result}",{row.label}}} {count}\n'


def _writes(name: str, rows: Rows, of: Scrape) -> Lines:
    """The successful writes of an output are there from the start, also at 0, so that a query can find an
    output without a token: ``…writes_total unless on (token, output) …output_token_expiry…``."""
    for row in rows:
        counts = of.counters.output_writes(row.name)
        for label, output in zip(row.outputs, row.state.outputs, strict=True):
            succeeded = counts.get((output.name, SUCCESS), 0)
            yield f'{name}{{{label},result="{SUCCESS}",{row.label}}} {succeeded}\n'
            failed = counts.get((output.name, FAILURE))
            if failed is not None:
                yield f'{name}{{{label},result="{FAILURE}",{row.label}}} {failed}\n'


def _hook_runs(name: str, rows: Rows, of: Scrape) -> Lines:
    for row in rows:
        for (output, result), count in of.counters.hook_runs(row.name).items():
            yield f'{name}{{output="{escaped(output)}",result="{result}",{row.label}}} {count}\n'


METRICS: tuple[tuple[Description, Callable[[str, Rows, Scrape], Lines]], ...] = (
    (EXPIRY, _expiries),
    (ISSUED, _issued),
    (SHORTFALL, _shortfalls),
    (REFRESH_DUE, _due),
    (NEXT_REFRESH, _planned),
    (FAILING_SINCE, _failing),
    (KEY_ACCEPTED, _keys),
    (OUTPUT_EXPIRY, _output_expiries),
    (REFRESHES, _refreshes),
    (WRITES, _writes),
    (HOOK_RUNS, _hook_runs),
)


def families(taken: Scrape) -> Iterator[tuple[Description, Iterator[str]]]:
    """Each metric and its lines, in pieces of up to PART tokens. A piece may be empty."""
    for metric, lines in METRICS:
        yield metric, _pieces(metric, lines, taken)


def _pieces(metric: Description, lines: Callable[[str, Rows, Scrape], Lines], taken: Scrape) -> Iterator[str]:
    return ("".join(lines(metric.name, rows, taken)) for rows in taken.parts())


def _seconds(value: float) -> str:
    """A time or a duration, in milliseconds. The two clocks are read a moment apart; with more digits an
    unchanged expiry would seem to change."""
    return f"{value:.3f}"


def escaped(name: str) -> str:
    """`name` as the value of a label. Bytes of a path that are not UTF-8 are escaped."""
    if name.isascii() and name.isprintable() and "\\" not in name and '"' not in name:
        return name  # nearly always
    return name.encode(errors="backslashreplace").decode().translate(_ESCAPES)
