"""Which notifications are counted, and how."""

import threading

import pytest

from refresher.core.model import Outcome, Reason, Try
from refresher.core.notifications import (
    IssuerAnswered,
    KeyLoaded,
    Notification,
    OutputDisturbed,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    TokenAdopted,
    TokenMinted,
    TokenRemoved,
)
from refresher.core.problems import of_lease
from refresher.core.process_notifications import Crashed, LeaderChanged, LeaseFailed
from refresher.core.status import LeaseStatus
from refresher.metrics.counters import BOUNDS, FAILURE, SUCCESS, Counters, Durations
from tests.core.builders import KEY, NOW, token

FACTS = token().facts


def failed(reason: Reason) -> RefreshFailed:
    return RefreshFailed(reason, Outcome.TIMEOUT, "timed out", KEY.fingerprint, wait=1.0, left=60.0)


def answered(*outcomes: Outcome, seconds: float = 0.2, skew: float | None = None) -> IssuerAnswered:
    return IssuerAnswered(tuple(Try(outcome, seconds) for outcome in outcomes), skew)


def counters_of(*notifications: Notification) -> Counters:
    counters = Counters()
    for notification in notifications:
        counters.on_notification("studio", notification, NOW)
    return counters


@pytest.mark.parametrize("reason", list(Reason))
def test_a_minted_token_and_a_failed_attempt_are_counted_by_their_reason(reason: Reason) -> None:
    minted = TokenMinted(reason, FACTS, failures=1)
    refreshes = counters_of(failed(reason), minted, minted).refreshes("studio")
    assert refreshes == {(reason, FAILURE): 1, (reason, SUCCESS): 2}


def test_an_adopted_token_is_no_mint() -> None:
    assert counters_of(TokenAdopted("file", FACTS)).refreshes("studio") == {}


def test_internal_errors_are_counted_whatever_token_they_concern() -> None:
    assert counters_of(*[Crashed("Mint", ValueError())] * 3).crashes == 3


def test_each_token_has_its_own_counts() -> None:
    counters = counters_of(TokenMinted(Reason.FIRST, FACTS, 0))
    assert counters.refreshes("other") == {}


def test_the_counts_of_a_token_go_when_it_is_removed() -> None:
    minted, written = TokenMinted(Reason.FIRST, FACTS, 0), OutputWritten("a", "new", FACTS)
    counters = counters_of(minted, written, TokenRemoved())
    assert (counters.refreshes("studio"), counters.output_writes("studio")) == ({}, {})


def test_every_request_of_an_attempt_is_counted_by_its_outcome() -> None:
    counters = counters_of(
        answered(Outcome.UNREACHABLE, Outcome.UNREACHABLE, Outcome.OK), answered(Outcome.OK)
    )
    counts = {outcome: counters.mint_requests(outcome) for outcome in Outcome}
    assert counts == dict.fromkeys(Outcome, 0) | {Outcome.UNREACHABLE: 2, Outcome.OK: 2}


def test_an_attempt_without_a_request_is_not_counted() -> None:
    counters = counters_of(answered())
    assert sum(map(counters.mint_requests, Outcome)) == sum(counters.durations.counts) == 0


@pytest.mark.parametrize(
    ("seconds", "place"),
    [(0.0, 0), (0.05, 0), (0.051, 1), (0.1, 1), (1.0, 4), (9.99, 7), (10.0, 7), (10.001, 8), (3600.0, 8)],
)
def test_a_duration_counts_below_the_first_bound_that_it_does_not_exceed(seconds: float, place: int) -> None:
    counts = Durations().plus(seconds).counts
    assert counts == tuple(int(at == place) for at in range(len(BOUNDS) + 1))


def test_the_durations_of_all_requests_add_up_including_failed_ones() -> None:
    durations = counters_of(answered(Outcome.OK, Outcome.TIMEOUT, seconds=1.5)).durations
    assert sum(durations.counts) == 2
    assert durations.total == 3.0


def test_writes_are_counted_by_output_and_result() -> None:
    counters = counters_of(
        OutputWritten("a", "new", FACTS),
        OutputWritten("a", "repair", FACTS),
        OutputFailed("b", "disk full", None, writing=True),
    )
    assert counters.output_writes("studio") == {("a", SUCCESS): 2, ("b", FAILURE): 1}


def test_a_failed_read_is_not_a_failed_write() -> None:
    counters = counters_of(
        OutputFailed("a", "denied", None, writing=False), OutputDisturbed("a"), KeyLoaded("f", True)
    )
    assert counters.output_writes("studio") == {}


def test_the_clock_skew_is_the_latest_known() -> None:
    assert counters_of(answered(Outcome.OK)).clock_skew is None
    answers = answered(Outcome.OK, skew=2.5), answered(Outcome.OK, skew=-0.5), answered(Outcome.TIMEOUT)
    assert counters_of(*answers).clock_skew == -0.5


def test_a_clock_skew_of_0_is_known() -> None:
    assert counters_of(answered(Outcome.OK, skew=2.5), answered(Outcome.OK, skew=0.0)).clock_skew == 0.0


def test_a_reader_never_sees_a_histogram_whose_parts_do_not_agree() -> None:
    counters = Counters()
    seen: list[Durations] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(counters.durations)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(5000):
        counters.on_notification("studio", answered(Outcome.OK, seconds=0.25), NOW)
    done.set()
    reader.join()
    assert all(durations.total == sum(durations.counts) * 0.25 for durations in seen)


def test_counts_that_were_read_do_not_change() -> None:
    counters = counters_of(TokenMinted(Reason.FIRST, FACTS, 0), OutputWritten("a", "new", FACTS))
    refreshes, writes = counters.refreshes("studio"), counters.output_writes("studio")
    counters.on_notification("studio", TokenMinted(Reason.SCHEDULED, FACTS, 0), NOW)
    counters.on_notification("studio", OutputWritten("b", "new", FACTS), NOW)
    assert (refreshes, writes) == ({(Reason.FIRST, SUCCESS): 1}, {("a", SUCCESS): 1})


LEASE = "inlive/refresher"
LEADS = LeaderChanged(LEASE, leads=True, holder="")
STANDS_BY = LeaderChanged(LEASE, leads=False, holder="pod-2")
OTHER = LeaderChanged("inlive/other", leads=True, holder="")
SHAKY = LeaseFailed(LEASE, "no answer", leads=True)
FAILED = LeaseFailed(LEASE, "no answer", leads=False)
LAPSED = LeaderChanged(LEASE, leads=False, holder="", failing=True)
ONCE = of_lease("no answer", None, NOW)
TWICE = of_lease("no answer", ONCE, NOW)


@pytest.mark.parametrize(
    ("notifications", "known"),
    [
        ((), ()),
        ((LEADS,), (LeaseStatus(LEASE, leads=True),)),
        ((LEADS, STANDS_BY), (LeaseStatus(LEASE, leads=False, holder="pod-2"),)),
        ((LEADS, SHAKY), (LeaseStatus(LEASE, leads=True, problem=ONCE),)),
        ((LEADS, FAILED), (LeaseStatus(LEASE, leads=False, problem=ONCE),)),
        ((FAILED,), (LeaseStatus(LEASE, leads=False, problem=ONCE),)),
        ((LEADS, SHAKY, LAPSED, FAILED), (LeaseStatus(LEASE, leads=False, problem=TWICE),)),
        ((STANDS_BY, FAILED), (LeaseStatus(LEASE, leads=False, holder="pod-2", problem=ONCE),)),
        ((LEADS, SHAKY, LEADS), (LeaseStatus(LEASE, leads=True),)),
        (
            (LEADS, OTHER, FAILED),
            (LeaseStatus("inlive/other", leads=True), LeaseStatus(LEASE, leads=False, problem=ONCE)),
        ),
    ],
)
def test_each_lease_has_its_latest_holder_and_problem(notifications, known) -> None:
    assert counters_of(*notifications).leases == known
