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
from refresher.core.model import Outcome, Reason
from refresher.core.state import State, TokenPolicy
from refresher.observers.tally import BOUNDS, RESULTS, Tally
from refresher.ports import Clock

PREFIX = "token_refresher_"


class Metrics:
    """What there is to scrape: our own metrics, and those of the process (``process_*``).

    One collector over the states rather than an object a series: with ten thousand tokens nothing is kept
    between two scrapes, and a token that goes takes its series along. `view` and `last_turn` are the
    engine's. Used by several threads at once.

    What cannot be known yet is left out: an expiry of 0 would be 1970 to every dashboard, and NaN silences
    each comparison and sum it gets into. Such a token is still told of by its counters, which begin at 0, so
    that an output that never held anything is found by ``…_output_writes_total unless on(token, output)
    …_output_token_expiry_timestamp_seconds``.
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
        """The metrics in the format that suits the request header `accept`, and their content type."""
        accept = " ".join(accept.split())  # a folded header must not fold ours: its version is repeated there
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # what it raises for a version that is not made of numbers
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Every family of metrics, for prometheus_client."""
        now = self._clock.now()
        conditions = [condition(state, policy, now) for policy, state in self._view()]
        yield InfoMetricFamily(f"{PREFIX}build", "The version that runs.", {"version": self._version})
        yield GaugeMetricFamily(
            f"{PREFIX}last_loop_timestamp_seconds",
            "When the scheduler last made a turn. Never more than 30 s ago, or it hangs: restart it.",
            self._last_turn().wall,
        )
        yield from _of_tokens(conditions)
        yield from _of_outputs(conditions)
        yield from _counted_of_tokens(conditions, self._tally)
        yield from _counted_of_issuer(self._tally)


def _gauge(
    name: str, means: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float | None]]
) -> Metric:
    """A gauge for each of `values` that is known."""
    from prometheus_client.core import Sample
    family = Metric(PREFIX + name, means, "gauge")
    family.samples = (Sample(family.name, dict(zip(labels, of)), v) for of, v in values if v is not None)
    return family


def _of_tokens(tokens: list[TokenCondition]) -> Iterator[Metric]:
    yield _gauge(
        "token_expiry_timestamp_seconds",
        "When the token in hand expires.",
        ("token",),
        (((each.name,), each.expires) for each in tokens),
    )
    yield _gauge(
        "token_issued_timestamp_seconds",
        "When the token in hand was asked for.",
        ("token",),
        (((each.name,), each.issued) for each in tokens),
    )
    yield _gauge(
        "next_refresh_timestamp_seconds",
        "When the next mint is planned",
        ("token",),
        (((each.name,), each.next_refresh) for each in tokens),
    )
    yield _gauge(
        "key_accepted",
        "0 ",
        ("token",),
        (((each.name,), each.key_accepted) for each in tokens),
    )


def _of_outputs(tokens: list[TokenCondition]) -> Iterator[Metric]:
    yield _gauge(
        "output_token_expiry_timestamp_seconds",
        "When",
        ("token", "output"),
        (((each.name, output.name), output.expires) for each in tokens for output in each.outputs),
    )


def _counted_of_tokens(tokens: list[TokenCondition], tally: Tally) -> Iterator[Metric]:
    from prometheus_client.core import Sample
    f = Metric(f"{PREFIX}refreshes", "R", "counter")
    f.samples = (Sample(PREFIX+"refreshes_total", {"token": t.name, "reason": r, "result": x}, tally.refreshes(t.name, r, x)) for t in tokens for r in Reason for x in RESULTS)
    yield f
    f = Metric(f"{PREFIX}output_writes", "R", "counter")
    f.samples = (Sample(PREFIX+"output_writes_total", {"token": t.name, "output": o.name, "result": x}, tally.output_writes(t.name, o.name, x)) for t in tokens for o in t.outputs for x in RESULTS)
    yield f

def _counted_of_issuer(tally: Tally) -> Iterator[Metric]:
    requests = CounterMetricFamily(f"{PREFIX}mint_requests", "R", labels=("outcome",))
    for outcome in Outcome:
        requests.add_metric((outcome,), tally.mint_requests(outcome))
    yield requests
    durations = tally.durations
    yield HistogramMetricFamily(f"{PREFIX}mint_duration_seconds", "h", list(zip([*map(str, BOUNDS), "+Inf"], accumulate(durations.counts))), durations.total)
    yield _gauge("clock_skew_seconds", "s", (), [((), tally.clock_skew)])
