"""Counts what happens, for the metrics. Knows nothing of how they are exposed."""

from bisect import bisect_left
from typing import NamedTuple, Self, TypeVar

from refresher.core.instant import Instant
from refresher.core.model import Outcome, Reason, Try, Verdict
from refresher.core.notifications import (
    IssuerAnswered,
    LeaderChanged,
    LeaseFailed,
    Notification,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    TokenAdopted,
    TokenMinted,
    TokenRemoved,
    TokenVerified,
)

Key = TypeVar("Key")

SUCCESS, FAILURE = "success", "failure"

# Seconds. From an issuer next door to one that uses up its `issuer.timeout`, which is 10 s where nothing else
# is configured: what was cut off by that lies beyond the last bound.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Durations(NamedTuple):
    """A histogram. `counts`: how many took at most each of BOUNDS and longer than the one before it, and last
    how many took longer than all of them. `total`: the sum of all, in seconds."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    total: float = 0.0

    def with_one_of(self, seconds: float) -> Self:
        """The histogram with one duration more."""
        counts = list(self.counts)
        counts[bisect_left(BOUNDS, seconds)] += 1
        return self._replace(counts=tuple(counts), total=self.total + seconds)


class Leadership(NamedTuple):
    """Who leads by one Lease: this process, or its `holder`, where the holder is known. `problem`: why the
    Lease cannot be read or written at present."""

    lease: str
    leads: bool
    holder: str = ""
    problem: str | None = None


class Counters:
    """`ports.Observer` that counts, from the start of the process.

    Only the engine's thread writes. Other threads read at any time, without a lock: a reader looks up one key
    or copies one dictionary, and CPython does each in one step, with and without the global interpreter lock.
    What has several parts that must agree (`durations`, `leases`) is a frozen value and is replaced whole.
    Counts of different names may be an event apart, as they may be between two metrics of any scrape.

    A token that is removed takes its counts along.
    """

    def __init__(self) -> None:
        self._refreshes: dict[str, dict[tuple[Reason, str], int]] = {}  # by token
        self._mint_requests: dict[str, int] = {}
        self._verifications: dict[str, int] = {}
        self._output_writes: dict[str, dict[tuple[str, str], int]] = {}  # by token
        self.durations = Durations()  # of requests to the issuer, whatever they came to
        self.clock_skew: float | None = None  # seconds we are ahead of the issuer; None: it has not told
        self.leases: tuple[
            Leadership, ...
        ] = ()  # by name; empty without election and before its first answer

    def refreshes(self, token: str) -> dict[tuple[Reason, str], int]:
        """By reason and result, how often this token was obtained (SUCCESS), or an attempt ended without it
        (FAILURE). Only what has happened is there."""
        return self._refreshes.get(token, {}).copy()

    def mint_requests(self, outcome: Outcome) -> int:
        """How many requests to the issuer came to this; an attempt may have made several."""
        return self._mint_requests.get(outcome, 0)

    def verifications(self, verdict: Verdict) -> int:
        """How often a new token that was tried out turned out so."""
        return self._verifications.get(verdict, 0)

    def output_writes(self, token: str) -> dict[tuple[str, str], int]:
        """By output and result, how often an output of this token was written (SUCCESS) or could not be
        (FAILURE). Only what has happened is there."""
        return self._output_writes.get(token, {}).copy()

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:  # noqa: ARG002
        match notification:
            case TokenRemoved():
                self._refreshes.pop(token, None)
                self._output_writes.pop(token, None)
            case TokenVerified(verdict=verdict):
                _count(self._verifications, verdict)
            case LeaderChanged(lease=lease, leads=leads, holder=holder):
                self._observe_lease(Leadership(lease=lease, leads=leads, holder=holder))
            case LeaseFailed(lease=lease, message=message, leads=leads):
                holder = next((each.holder for each in self.leases if each.lease == lease), "")
                self._observe_lease(Leadership(lease=lease, leads=leads, holder=holder, problem=message))
            case IssuerAnswered(tries=tries, skew=skew):
                self._answered(tries, skew)
            case _:
                self._count_of_token(token, notification)

    def _count_of_token(self, token: str, notification: Notification) -> None:
        match notification:
            case TokenMinted(reason=reason):
                _count(self._refreshes.setdefault(token, {}), (reason, SUCCESS))
            case TokenAdopted():
                _count(self._refreshes.setdefault(token, {}), (Reason.ADOPTED, SUCCESS))
            case RefreshFailed(reason=reason):
                _count(self._refreshes.setdefault(token, {}), (reason, FAILURE))
            case OutputWritten(output=output):
                _count(self._output_writes.setdefault(token, {}), (output, SUCCESS))
            case OutputFailed(output=output, writing=True):
                _count(self._output_writes.setdefault(token, {}), (output, FAILURE))

    def _observe_lease(self, current: Leadership) -> None:
        others = (each for each in self.leases if each.lease != current.lease)
        self.leases = tuple(sorted((*others, current), key=lambda each: each.lease))

    def _answered(self, tries: tuple[Try, ...], skew: float | None) -> None:
        for each in tries:
            _count(self._mint_requests, each.outcome)
            self.durations = self.durations.with_one_of(each.seconds)
        if skew is not None:
            self.clock_skew = skew


def _count(counts: dict[Key, int], key: Key) -> None:
    counts[key] = counts.get(key, 0) + 1
