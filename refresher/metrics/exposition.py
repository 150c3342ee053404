"""All metrics in the formats that Prometheus scrapes, computed at each scrape."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, chain

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
from refresher.core.status import ConfigurationStatus
from refresher.metrics.counters import BOUNDS, Counters
from refresher.metrics.series import PREFIX, Description, Scrape, families
from refresher.ports import Clock

_END = b"# EOF\n"  # the last line in OpenMetrics
_LINES = 400  # bytes of one token with one output in a `Scrape`, as tracemalloc counts them


class Metrics:
    """Our own metrics and those of the process (``process_*``).

    Nothing is kept between two scrapes: when a token goes, its series go too. Several threads may scrape at
    once. `view` and `last_turn` are the engine's. `log_lines_dropped` returns how many lines the log has
    dropped; None if it does not count them.

    prometheus_client negotiates the format and writes the few series of the process. We write the many
    series of tokens and outputs ourselves (`series`), in a tenth of the time, and in pieces: with ten
    thousand tokens, a scrape takes a fraction of a second instead of several seconds, and little memory.

    Unknown values are absent. An expiry of 0 would be the year 1970 on every dashboard, and NaN turns every
    sum into NaN and every comparison into false.
    """

    def __init__(  # noqa: PLR0913 -- the sources of the figures
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
        """All metrics and their content type. `accept`, a request's header, selects the format."""
        pieces, content_type, _ = self.pieces(accept)
        return b"".join(pieces), content_type

    def pieces(self, accept: str) -> tuple[Iterator[bytes], str, int]:
        """The metrics as of now in pieces of a few milliseconds each, their content type, and the bytes that
        the pieces keep in memory until the last one is computed."""
        accept = " ".join(accept.split())  # the content type repeats its version: no line breaks
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # raised for a version that is not numeric
            encode, content_type = choose_encoder("")
        taken = Scrape(self._view(), self._counters, self._clock.now())
        of_process = encode(self._registry)
        end = _END if of_process.endswith(_END) else b""
        pieces = chain([of_process.removesuffix(_END)], _of_tokens(taken, encode), filter(None, [end]))
        return pieces, content_type, len(taken) * _LINES

    def collect(self) -> Iterator[Metric]:
        """Every metric of the process, for prometheus_client."""
        yield InfoMetricFamily(f"{PREFIX}build", "The running version.", {"version": self._version})
        yield _gauge(
            "last_loop_timestamp_seconds",
            "When the scheduler last made a turn. More than a minute ago: it hangs, restart the process.",
            self._last_turn().wall,
        )
        yield _leader(self._counters)
        yield from _of_configuration(self._counters.configuration)
        yield from _of_issuer(self._counters)
        yield _counter(
            "crashes_total",
            "Internal errors (bugs) after which the refresher went on. The log has the traceback.",
            None,
            [("", self._counters.crashes)],
        )
        if self._log_lines_dropped is not None:
            yield _counter(
                "log_lines_dropped_total",
                "Log lines dropped because nobody read them or they could not be written.",
                None,
                [("", self._log_lines_dropped())],
            )


def _of_tokens(taken: Scrape, encode: Callable[[Collector], bytes]) -> Iterator[bytes]:
    for metric, texts in families(taken):
        head = encode(_Described(metric)).removesuffix(_END)
        for text in texts:
            yield head + text.encode()
            head = b""


class _Described(Collector):
    """A metric without series, for prometheus_client."""

    def __init__(self, metric: Description) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily if self._metric.kind == "counter" else GaugeMetricFamily
        yield family(self._metric.name, self._metric.help_text)


def _gauge(name: str, help_text: str, value: float | None) -> Metric:
    """A gauge without labels; without a value if it is unknown."""
    family = GaugeMetricFamily(PREFIX + name, help_text, labels=())
    if value is not None:
        family.add_metric((), round(value, 3))
    return family


def _leader(counters: Counters) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}leader",
        "1: this process holds the Lease, mints and writes. 0: it stands by. Absent without leader election.",
        labels=("lease",),
    )
    for status in counters.leases:
        family.add_metric((status.lease,), status.leads)
    return family


def _of_configuration(status: ConfigurationStatus | None) -> Iterator[Metric]:
    if status is None:
        return
    yield _gauge(
        "config_reload_success",
        "1: what the configuration file holds is in use. 0: it has mistakes (the log says which), and the "
        "former configuration stays in use. Absent without a file.",
        not status.problems,
    )
    yield _gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the configuration in use was taken from its file: at the start or by a reload.",
        status.loaded,
    )


def _counter(name: str, help_text: str, label: str | None, counts: Iterable[tuple[str, int]]) -> Metric:
    """A counter with all of its series, also those at 0, so that the first event is an increase."""
    family = CounterMetricFamily(PREFIX + name, help_text, labels=() if label is None else (label,))
    for of, count in counts:
        family.add_metric(() if label is None else (of,), count)
    return family


def _of_issuer(counters: Counters) -> Iterator[Metric]:
    yield _counter(
        "mint_requests_total",
        "HTTP requests to the issuer, by outcome. One attempt to mint makes up to three.",
        "outcome",
        ((outcome, counters.mint_requests(outcome)) for outcome in Outcome),
    )
    verifications = [(verdict, counters.verifications(verdict)) for verdict in Verdict]
    if any(count for _, count in verifications):  # otherwise issuer.verify may not be configured
        yield _counter(
            "verifications_total",
            "New tokens checked at the verify URL, by result. Only rejected tokens are not published.",
            "result",
            verifications,
        )
    durations = counters.durations
    bounds = [str(bound) for bound in BOUNDS] + ["+Inf"]
    yield HistogramMetricFamily(
        f"{PREFIX}mint_duration_seconds",
        "Duration of the HTTP requests to the issuer, including failed ones.",
        list(zip(bounds, accumulate(durations.counts), strict=True)),
        durations.total,
    )
    yield _gauge(
        "clock_skew_seconds",
        "How far this machine's clock is ahead of the issuer's, by its latest response with a Date. No "
        "expiry depends on it, but consumers may compare times.",
        counters.clock_skew,
    )
