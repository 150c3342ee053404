import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core import schedule
from refresher.core.backoff import LONGEST_WITHOUT_TOKEN, retry_wait, wait_after, write_wait
from refresher.core.model import Declined, Outcome
from tests.core.builders import KEY_REFUSED, SERVER_ERROR, UNREACHABLE, throttled

PLENTY = 3000.0  # seconds left to consumers
BUDGET = 10.0

failures = st.integers(1, 5000)
rolls = st.floats(0.0, 1.0)
lefts = st.floats(0.0, 30 * 86400.0)
budgets = st.floats(1.0, 300.0)
answers = st.sampled_from((UNREACHABLE, SERVER_ERROR, KEY_REFUSED, throttled(None))) | st.builds(
    throttled, st.floats(0.0, 1e9)
)


@pytest.mark.parametrize(
    ("failed", "left", "longest"),
    [
        (1, PLENTY, 2.0),
        (2, PLENTY, 4.0),
        (3, PLENTY, 8.0),
        (4, PLENTY, 16.0),
        (5, PLENTY, 32.0),
        (6, PLENTY, 60.0),  # not 64
        (5000, PLENTY, 60.0),
        (6, 300.0, 30.0),  # a tenth of what is left
        (1, 15.0, 1.5),
        (3, 5.0, 1.0),  # a tenth would be half a second
        (1, 0.0, 2.0),  # expired: as if there were plenty
        (5, 0.0, 30.0),  # but half a minute at most
        (5000, 0.0, 30.0),
        (5000, -100.0, 30.0),
    ],
)
def test_a_retry_waits_twice_as_long_each_time_within_a_minute_and_a_tenth_of_what_is_left(
    failed, left, longest
):
    assert retry_wait(failed, left, roll=1.0) == pytest.approx(longest)
    assert retry_wait(failed, left, roll=0.0) == pytest.approx(max(1.0, longest / 2))


@given(failures, lefts, rolls)
def test_a_retry_waits_a_second_at_least_and_never_too_long(failed, left, roll):
    wait = retry_wait(failed, left, roll)
    assert 1.0 <= wait <= (60.0 if left > 0 else 30.0)
    if left > 0:
        assert wait <= max(1.0, left / 10)


@given(failures, lefts)
def test_chance_spreads_the_wait_over_its_upper_half(failed, left):
    shortest, longest = retry_wait(failed, left, 0.0), retry_wait(failed, left, 1.0)
    assert retry_wait(failed, left, 0.5) <= longest
    assert shortest == pytest.approx(max(1.0, longest / 2))


@pytest.mark.parametrize(
    "declined",
    [
        UNREACHABLE,
        SERVER_ERROR,
        Declined(Outcome.TIMEOUT, "no answer"),
        Declined(Outcome.BAD_RESPONSE, "not JSON"),
        Declined(Outcome.OK, "the same token as before"),
        throttled(None),
        Declined(
            Outcome.SERVER_ERROR, "500 with a Retry-After that is not ours to honour", retry_after=600.0
        ),
    ],
)
def test_most_failures_are_backed_off_from(declined):
    assert [wait_after(declined, failed, PLENTY, BUDGET, 1.0) for failed in (1, 2, 7)] == [2.0, 4.0, 60.0]


@pytest.mark.parametrize(
    ("declined", "left", "wait"),
    [
        # An issuer that says when gets the time it asked for, fifteen minutes at most ...
        (throttled(120.0), PLENTY, 120.0),
        (throttled(900.0), PLENTY, 900.0),
        (throttled(86400.0), PLENTY, 900.0),
        (throttled(0.0), PLENTY, 2.0),  # no leave to storm it: the back-off is the least
        # ... but a minute and one attempt are kept free before the end of a good token ...
        (throttled(900.0), 500.0, 430.0),
        (throttled(900.0), 141.0, 71.0),
        # ... or half of what is left, where that is more: never past the end.
        (throttled(900.0), 139.0, 69.5),
        (throttled(900.0), 20.0, 10.0),
        (throttled(60.0), 139.0, 60.0),  # asked for less than that
        # While consumers have none, a minute at most.
        (throttled(86400.0), 0.0, 60.0),
        (throttled(20.0), 0.0, 20.0),
        # A refused key is tried every five minutes, within the same bounds.
        (KEY_REFUSED, PLENTY, 300.0),
        (KEY_REFUSED, 200.0, 130.0),
        (KEY_REFUSED, 100.0, 50.0),
    ],
)
def test_what_the_issuer_asks_for_is_granted_while_there_is_time(declined, left, wait):
    assert wait_after(declined, 1, left, BUDGET, 1.0) == pytest.approx(wait)


@given(answers, failures, lefts, budgets, rolls)
def test_no_wait_is_shorter_than_the_back_off_or_longer_than_fifteen_minutes(
    declined, failed, left, budget, roll
):
    assert retry_wait(failed, left, roll) <= wait_after(declined, failed, left, budget, roll) <= 900.0


@given(answers, failures, st.floats(2.0, 30 * 86400.0), budgets, rolls)
def test_no_wait_reaches_past_the_end_of_a_good_token(declined, failed, left, budget, roll):
    wait = wait_after(declined, failed, left, budget, roll)
    assert wait <= max(1.0, left / 2, left - 60.0 - budget)
    if left >= 2 * budget:  # room for one whole attempt
        assert wait <= left - budget


# What a configuration accepts, as in test_schedule.
@given(
    lifetime=st.floats(10.0, 86400.0),
    refresh_at=st.floats(0.2, 0.95),
    portion=st.floats(0.0, 0.49),
    timeout=st.floats(1.0, 300.0),
    declined=answers,
    seed=st.integers(0, 2**32),
)
def test_an_outage_as_long_as_the_headroom_is_felt_by_nobody(
    lifetime, refresh_at, portion, timeout, declined, seed
):
    dice = random.Random(seed)
    propagation_delay = portion * lifetime
    budget = schedule.attempt_budget(timeout, lifetime)
    recovers = schedule.headroom(lifetime, refresh_at, propagation_delay, timeout)
    served = lifetime - schedule.latest_due_age(lifetime, refresh_at, propagation_delay) - propagation_delay
    at, failed = 0.0, 0  # seconds since the token came due, which is when its issuer began to fail
    while at < recovers:
        failed += 1
        at += dice.choice((0.0, budget))  # it fails at once, or hangs
        at += wait_after(dice.choice((declined, UNREACHABLE)), failed, served - at, budget, dice.random())
    assert at <= served + 1e-6


REJECTED = Declined(Outcome.BAD_RESPONSE, "issuer.verify rejects it", retry_after=300.0)


def test_a_token_that_is_rejected_is_minted_anew_as_seldom_as_with_a_refused_key():
    """`issuer.verify` names a URL that refuses whatever it gets: no storm of mints for that."""
    assert wait_after(REJECTED, 1, 3600.0, 10.0, roll=0.0) == 300.0
    assert wait_after(REJECTED, 1, 200.0, 10.0, roll=0.0) <= 140.0


@pytest.mark.parametrize("declined", [KEY_REFUSED, REJECTED])
@pytest.mark.parametrize("left", [0.0, -5.0])
def test_while_consumers_have_none_a_refusal_is_backed_off_from_up_to_five_minutes(declined, left):
    """The first refusal may be a mistake that has passed by now; one that lasts is not asked about often."""
    waits = [wait_after(declined, failed, left, 10.0, roll=1.0) for failed in (1, 2, 3, 8, 9, 5000)]
    assert waits == [2.0, 4.0, 8.0, 256.0, 300.0, 300.0]
    assert wait_after(declined, 9, left, 10.0, roll=0.0) == 150.0
    assert wait_after(declined, 1, left, 10.0, roll=0.0) == 1.0


# --- Writes


@pytest.mark.parametrize(
    ("left", "asked", "waits"),
    [
        (3600.0, None, 30.0),
        (0.0, None, 30.0),
        (3600.0, 5.0, 30.0),
        (3600.0, 45.0, 45.0),
        (3600.0, 86400.0, 60.0),
        (60.0, 86400.0, 30.0),
        (0.0, 86400.0, 30.0),
    ],
)
def test_a_write_is_tried_again_within_a_minute_whatever_was_asked_for(left, asked, waits):
    assert write_wait(10, left, asked, roll=1.0) == waits


def test_a_first_write_that_failed_is_tried_again_soon_unless_asked_otherwise():
    assert write_wait(1, 3600.0, None, roll=0.0) == 1.0
    assert write_wait(1, 3600.0, 7.0, roll=0.0) == 7.0
    assert write_wait(1, 20.0, 7.0, roll=0.0) <= LONGEST_WITHOUT_TOKEN
