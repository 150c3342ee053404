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
from prometheus_client.registry import Collector, CollectorRegistry

from refresher.core.instant import Instant
from refresher.core.model import Outcome, Verdict
from refresher.core.state import State, TokenPolicy
from refresher.observers.counters import BOUNDS, Counters
from refresher.observers.series import PREFIX, Description, TokenSeries
from refresher.ports import Clock

_END = b"# EOF\n"  # of an exposition in OpenMetrics


class Metrics:
    """What there is to scrape: our own metrics, and those of the process (``process_*``).

    Nothing is kept between two scrapes, and a token that goes takes its series along. Used by several threads
    at once. `view` and `last_turn` are the engine's. `log_lines_dropped`: how many lines the log has dropped,
    None if it does not count them.

    prometheus_client negotiates the format, and writes the few series of the process. The many of tokens and
    outputs (`TokenSeries`) are written by ourselves, which takes a tenth of the time: with ten thousand
    tokens that is the difference between a scrape of some seconds and one of a fraction of a second.

    What is not known is absent. An expiry of 0 would be the year 1970 to every dashboard, and NaN makes each
    sum it gets into NaN and each comparison false.
    """

    def __init__(  # noqa: PLR0913 -- where each figure comes from
        self,
        view: Callable[[], Iterable[tuple[TokenPolicy, State]]],
        last_turn: Callable[[], Instant],
        clock: Clock,
        counters: Counters,
        version: str,
        log_lines_dropped: Callable[[], int] | None = None,
    ) -> None:
        self._view, self._last_turn, self._clock = view, last_turn, clock
        self._counters, self._version = counters, version
        self._log_lines_dropped = log_lines_dropped
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
        parts: list[bytes] = []
        for metric, lines in TokenSeries(self._view(), self._counters, self._clock.now()).lines.items():
            if lines:
                parts.append(encode(_Described(metric)).removesuffix(_END))
                parts.append("".join(lines).encode())
        return b"".join([*parts, encode(self._registry)]), content_type

    def collect(self) -> Iterator[Metric]:
        """Every metric of the process, for prometheus_client."""
        yield InfoMetricFamily(f"{PREFIX}build", "The version that runs.", {"version": self._version})
        yield _gauge(
            "last_loop_timestamp_seconds",
            "When the scheduler last made a turn; more than a minute ago: it hangs, restart the process.",
            self._last_turn().wall,
        )
        yield _leader(self._counters)
        yield from _of_issuer(self._counters)
        if self._log_lines_dropped is not None:
            yield _counter(
                "log_lines_dropped_total",
                "Log lines that were dropped because nobody read them, or they could not be written.",
                None,
                [("", self._log_lines_dropped())],
            )


class _Described(Collector):
    """One metric without its series, for prometheus_client."""

    def __init__(self, metric: Description) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily if self._metric.kind == "counter" else GaugeMetricFamily
        yield family(self._metric.name, self._metric.means)


def _gauge(name: str, means: str, value: float | None) -> Metric:
    """A gauge without labels, and without a value if that is not known."""
    family = GaugeMetricFamily(PREFIX + name, means, labels=())
    if value is not None:
        family.add_metric((), round(value, 3))
    return family


def _leader(counters: Counters) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}leader",
        "1: this process holds the Lease, mints and writes. 0: it stands by. Absent without leader election.",
        labels=("lease",),
    )
    for each in counters.leases:
        family.add_metric((each.lease,), each.leads)
    return family


def _counter(name: str, means: str, label: str | None, counts: Iterable[tuple[str, int]]) -> Metric:
    """A counter with all of its series, also those at 0: so the first event is an increase."""
    family = CounterMetricFamily(PREFIX + name, means, labels=() if label is None else (label,))
    for of, count in counts:
        family.add_metric(() if label is None else (of,), count)
    return family


def _of_issuer(counters: Counters) -> Iterator[Metric]:
    yield _counter(
        "mint_requests_total",
        "HTTP requests to the issuer by outcome; one attempt to mint may make up to three.",
        "outcome",
        ((outcome, counters.mint_requests(outcome)) for outcome in Outcome),
    )
    verifications = [(verdict, counters.verifications(verdict)) for verdict in Verdict]
    if any(count for _, count in verifications):  # else issuer.verify is perhaps not configured
        yield _counter(
            "verifications_total",
            "New tokens that were tried out with issuer.verify, by result; only a rejected one is not "
            "published.",
            "result",
            verifications,
        )
    durations = counters.durations
    bounds = [str(bound) for bound in BOUNDS] + ["+Inf"]
    yield HistogramMetricFamily(
        f"{PREFIX}mint_duration_seconds",
        "How long HTTP requests to the issuer took, the failed ones included.",
        list(zip(bounds, accumulate(durations.counts), strict=True)),
        durations.total,
    )
    yield _gauge(
        "clock_skew_seconds",
        "How far this machine's clock is ahead of the issuer's, by its latest answer with a time; no expiry "
        "depends on it, but consumers may compare times.",
        counters.clock_skew,
    )
