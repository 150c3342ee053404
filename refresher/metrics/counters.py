"""`ports.Observer` that counts notifications for the metrics. It also keeps the state of clock and Leases."""

from bisect import bisect_left
from typing import NamedTuple, Self, TypeVar

from refresher.core.instant import Instant
from refresher.core.model import Outcome, Reason, Try, Verdict
from refresher.core.notifications import (
    HookFailed,
    HookRan,
    IssuerAnswered,
    Notification,
    OutputFailed,
    OutputRemoved,
    OutputWritten,
    RefreshFailed,
    TokenMinted,
    TokenRemoved,
    TokenVerified,
)
from refresher.core.problems import of_configuration, of_lease
from refresher.core.process_notifications import (
    ConfigurationApplied,
    ConfigurationRefused,
    Crashed,
    LeaderChanged,
    LeaseFailed,
)
from refresher.core.status import ConfigurationStatus, LeaseStatus

Key = TypeVar("Key")

SUCCESS, FAILURE = "success", "failure"

# Seconds, from a fast issuer to one that uses up the default `issuer.timeout` of 10 s. Requests that the
# time-out cuts off are beyond the last bound.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Durations(NamedTuple):
    """A histogram. `counts`: how many durations lie between each of BOUNDS and the bound before it, then how
    many lie above the last bound. `total`: the sum of all durations, in seconds."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    total: float = 0.0

    def plus(self, seconds: float) -> Self:
        """The histogram with one more duration."""
        counts = list(self.counts)
        counts[bisect_left(BOUNDS, seconds)] += 1
        return self._replace(counts=tuple(counts), total=self.total + seconds)


class Counters:
    """Counts from the start of the process.

    Only the engine's thread writes. Other threads may read at any time, without a lock: a reader looks up one
    key or copies one dictionary, which CPython does in one step, with or without the global interpreter lock.
    Values whose parts must agree (`durations`, `leases`) are frozen and replaced whole. Two counts may be one
    event apart, as two metrics of any scrape may be.

    The counts of a token go when the token is removed.
    """

    def __init__(self) -> None:
        self._refreshes: dict[str, dict[tuple[Reason, str], int]] = {}  # by token
        self._mint_requests: dict[str, int] = {}
        self._verifications: dict[str, int] = {}
        self._output_writes: dict[str, dict[tuple[str, str], int]] = {}  # by token
        self._hook_runs: dict[str, dict[tuple[str, str], int]] = {}  # by token
        self.durations = Durations()  # of all requests to the issuer, failed ones too
        self.crashes = 0  # internal errors (bugs) after which the engine went on
        self.clock_skew: float | None = None  # seconds that we are ahead of the issuer; None: unknown
        self.leases: tuple[
            LeaseStatus, ...
        ] = ()  # by name; empty without election and before its first result
        self.configuration: ConfigurationStatus | None = None  # None without a configuration file

    def refreshes(self, token: str) -> dict[tuple[Reason, str], int]:
        """How often this token was minted (SUCCESS) and how often an attempt failed (FAILURE), by reason
        and result, without those that never happened."""
        return self._refreshes.get(token, {}).copy()

    def mint_requests(self, outcome: Outcome) -> int:
        """How many requests to the issuer had this outcome. One attempt may make several requests."""
        return self._mint_requests.get(outcome, 0)

    def verifications(self, verdict: Verdict) -> int:
        """How often `issuer.verify` gave this verdict on a new token."""
        return self._verifications.get(verdict, 0)

    def output_writes(self, token: str) -> dict[tuple[str, str], int]:
        """How often each output of this token was written (SUCCESS) and how often that failed (FAILURE), by
        output and result, without those that never happened."""
        return self._output_writes.get(token, {}).copy()

    def hook_runs(self, token: str) -> dict[tuple[str, str], int]:
        """How many runs of this token's hooks succeeded (SUCCESS) and failed (FAILURE), by output and result,
        without those that never happened."""
        return self._hook_runs.get(token, {}).copy()

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        match notification:
            case TokenRemoved() | OutputRemoved():
                self._forget(token, notification)
            case ConfigurationApplied():
                self.configuration = ConfigurationStatus(now.wall)
            case ConfigurationRefused(problems=problems) if self.configuration is not None:
                found = of_configuration(problems, self.configuration.problems, now)
                self.configuration = self.configuration._replace(problems=found)
            case Crashed():
                self.crashes += 1
            case TokenVerified(verdict=verdict):
                _count(self._verifications, verdict)
            case LeaderChanged() | LeaseFailed():
                self._observe_lease(notification, now)
            case IssuerAnswered(tries=tries, skew=skew):
                self._count_requests(tries, skew)
            case _:
                self._count_of_token(token, notification)

    def _forget(self, token: str, notification: TokenRemoved | OutputRemoved) -> None:
        """Drop the counts of a token, or those of one of its outputs."""
        if isinstance(notification, TokenRemoved):
            self._refreshes.pop(token, None)
        for counts in (self._output_writes, self._hook_runs):
            known = counts.pop(token, {})
            if isinstance(notification, OutputRemoved):
                counts[token] = {key: count for key, count in known.items() if key[0] != notification.output}

    def _count_of_token(self, token: str, notification: Notification) -> None:
        match notification:
            case TokenMinted(reason=reason):
                _count(self._refreshes.setdefault(token, {}), (reason, SUCCESS))
            case RefreshFailed(reason=reason):
                _count(self._refreshes.setdefault(token, {}), (reason, FAILURE))
            case OutputWritten(output=output):
                _count(self._output_writes.setdefault(token, {}), (output, SUCCESS))
            case OutputFailed(output=output, writing=True):
                _count(self._output_writes.setdefault(token, {}), (output, FAILURE))
            case HookRan(output=output):
                _count(self._hook_runs.setdefault(token, {}), (output, SUCCESS))
            case HookFailed(output=output):
                _count(self._hook_runs.setdefault(token, {}), (output, FAILURE))

    def _observe_lease(self, event: LeaderChanged | LeaseFailed, now: Instant) -> None:
        leases = {status.lease: status for status in self.leases}
        known = leases.get(event.lease, LeaseStatus(event.lease, leads=False))._replace(leads=event.leads)
        if isinstance(event, LeaseFailed):
            known = known._replace(problem=of_lease(event.message, known.problem, now))
        else:
            known = known._replace(holder=event.holder, problem=known.problem if event.failing else None)
        leases[event.lease] = known
        self.leases = tuple(sorted(leases.values(), key=lambda status: status.lease))

    def _count_requests(self, tries: tuple[Try, ...], skew: float | None) -> None:
        for request in tries:
            _count(self._mint_requests, request.outcome)
            self.durations = self.durations.plus(request.seconds)
        if skew is not None:
            self.clock_skew = skew


def _count(counts: dict[Key, int], key: Key) -> None:
    counts[key] = counts.get(key, 0) + 1
