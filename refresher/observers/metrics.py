"""The metrics, as Prometheus scrapes them (design §2): computed when they are asked for."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import CollectorRegistry

from refresher.core.condition import TokenCondition, condition
from refresher.core.instant import Instant
from refresher.core.model import Outcome, Reason, Verdict
from refresher.core.state import State, TokenPolicy
from refresher.observers.tally import BOUNDS, RESULTS, Tally
from refresher.ports import Clock

PREFIX = "token_refresher_"


class Metrics:
    """What there is to scrape: our own metrics, and those of the process (``process_*``).

    One collector over the states rather than an object for each series: nothing is kept between two scrapes,
    and a token that goes takes its series along. With ten thousand tokens (190,000 series) a scrape takes
    about a second, during which the engine goes on. `view` and `last_turn` are the engine's. Used by several
    threads at once.

    What is not known is left out. An expiry of 0 would be the year 1970 to every dashboard, and NaN makes
    each sum it gets into NaN and each comparison false. The token is told of all the same, by its counters,
    which begin at 0: an output without a token whose end is known is found by ``…output_writes_total unless
    on(token, output) …output_token_expiry_timestamp_seconds``.
    """

    def __init__(
        self,
        view: Callable[[], Iterable[tuple[TokenPolicy, State]]],
        last_turn: Callable[[], Instant],
        clock: Clock,
        tally: Tally,
        version: str,
    ) -> None:
        self._view, self._last_turn, self._clock = view, last_turn, clock
        self._tally, self._version = tally, version
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that suits the request's header `accept`, and their content type."""
        accept = " ".join(accept.split())  # its version comes back in the content type: no line break in that
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # what it raises for a version that is not made of numbers
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Every metric of our own, for prometheus_client."""
        now = self._clock.now()
        leadership = self._tally.leadership
        tokens = [condition(state, policy, now) for policy, state in self._view()]
        yield InfoMetricFamily(f"{PREFIX}build", "The version that runs.", {"version": self._version})
        yield _gauge(
            "last_loop_timestamp_seconds",
            "When the scheduler last made a turn; more than a minute ago: it hangs, restart the process.",
            (),
            [((), self._last_turn().wall)],
        )
        yield _gauge(
            "leader",
            "1: this process mints and writes. 0: it stands by. Absent where there is no election.",
            (),
            [((), leadership.leads if leadership else None)],
        )
        yield from _of_tokens(tokens)
        yield from _of_outputs(tokens)
        yield _refreshes(tokens, self._tally)
        yield _output_writes(tokens, self._tally)
        yield from _of_issuer(self._tally)


Labels = tuple[str, ...]


def _gauge(name: str, means: str, labels: Labels, values: Iterable[tuple[Labels, float | None]]) -> Metric:
    """A gauge with those of `values` that are known.

    To the millisecond: the two clocks are read a little apart, and an expiry that has not changed must not
    look as if it had.
    """
    family = GaugeMetricFamily(PREFIX + name, means, labels=labels)
    for of, value in values:
        if value is not None:
            family.add_metric(of, round(value, 3))
    return family


def _counter(name: str, means: str, labels: Labels, counts: Iterable[tuple[Labels, int]]) -> Metric:
    """A counter with all of its series, those at 0 too: the first event is an increase then."""
    family = CounterMetricFamily(PREFIX + name, means, labels=labels)
    for of, count in counts:
        family.add_metric(of, count)
    return family


def _of_tokens(tokens: list[TokenCondition]) -> Iterator[Metric]:
    yield _gauge(
        "token_expiry_timestamp_seconds",
        "When the current token expires; absent while there is none.",
        ("token",),
        (((each.name,), each.expires) for each in tokens),
    )
    yield _gauge(
        "token_issued_timestamp_seconds",
        "When the current token was asked for; absent while there is none.",
        ("token",),
        (((each.name,), each.issued) for each in tokens),
    )
    yield _gauge(
        "token_lifetime_shortfall_seconds",
        "How much shorter the current token is believed to live than was asked for, by what it says itself "
        "or by when one before it was seen to expire; absent while there is none.",
        ("token",),
        (((each.name,), each.shortfall) for each in tokens),
    )
    yield _gauge(
        "next_refresh_timestamp_seconds",
        "When the next attempt to mint is planned, or, once it is due, now; absent without a key.",
        ("token",),
        (((each.name,), each.next_refresh) for each in tokens),
    )
    yield _gauge(
        "key_accepted",
        "0: the issuer refuses the key that the key file holds, put a valid one there. 1: it has not refused "
        "it. Absent until a key was read.",
        ("token",),
        (((each.name,), each.key_accepted) for each in tokens),
    )


def _of_outputs(tokens: list[TokenCondition]) -> Iterator[Metric]:
    yield _gauge(
        "output_token_expiry_timestamp_seconds",
        "When the token that consumers find in this output expires; in the past: they are without a valid "
        "one. Absent while the output holds none whose end is known.",
        ("token", "output"),
        (((each.name, _label(output.name)), output.expires) for each in tokens for output in each.outputs),
    )


def _refreshes(tokens: list[TokenCondition], tally: Tally) -> Metric:
    return _counter(
        "refreshes_total",
        "Tokens obtained (success) and attempts that ended without one (failure: the log says why), by what "
        "made it necessary; reason adopted: found valid in an output and taken over without a mint.",
        ("token", "reason", "result"),
        (
            ((token.name, reason, result), tally.refreshes(token.name, reason, result))
            for token in tokens
            for reason in Reason
            for result in RESULTS
        ),
    )


def _output_writes(tokens: list[TokenCondition], tally: Tally) -> Metric:
    return _counter(
        "output_writes_total",
        "Writes of this output. After a failure it still holds what it held, and is tried again within 30 s.",
        ("token", "output", "result"),
        (
            ((token.name, _label(output.name), result), tally.output_writes(token.name, output.name, result))
            for token in tokens
            for output in token.outputs
            for result in RESULTS
        ),
    )


def _of_issuer(tally: Tally) -> Iterator[Metric]:
    yield _counter(
        "mint_requests_total",
        "HTTP requests to the issuer by what they came to; one attempt to mint may make up to three.",
        ("outcome",),
        (((outcome,), tally.mint_requests(outcome)) for outcome in Outcome),
    )
    yield _counter(
        "verifications_total",
        "New tokens that were tried out with issuer.verify, by result; only a rejected one is not published.",
        ("result",),
        (((verdict,), tally.verifications(verdict)) for verdict in Verdict),
    )
    durations = tally.durations
    bounds = [str(bound) for bound in BOUNDS] + ["+Inf"]
    yield HistogramMetricFamily(
        f"{PREFIX}mint_duration_seconds",
        "How long HTTP requests to the issuer took, the failed ones included.",
        list(zip(bounds, accumulate(durations.counts), strict=True)),
        durations.total,
    )
    yield _gauge(
        "clock_skew_seconds",
        "How far this machine's clock is ahead of the issuer's, by its latest answer that told the time; no "
        "expiry depends on it, but consumers may compare times.",
        (),
        [((), tally.clock_skew)],
    )


def _label(name: str) -> str:
    """`name` as a label's value. Paths are bytes; what of one is no UTF-8 cannot be exposed as it is."""
    return name.encode(errors="backslashreplace").decode()
