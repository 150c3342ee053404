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
        (6, 300.0, 30.0),  # a tenth of the time left
        (1, 15.0, 1.5),
        (3, 5.0, 1.0),  # a tenth would be half a second
        (1, 0.0, 2.0),  # expired: as with plenty of time
        (5, 0.0, 30.0),  # but at most half a minute
        (5000, 0.0, 30.0),
        (5000, -100.0, 30.0),
    ],
)
def test_waits_double_up_to_a_minute_and_a_tenth_of_the_time_left(failed, left, longest):
    assert retry_wait(failed, left, roll=1.0) == pytest.approx(longest)
    assert retry_wait(failed, left, roll=0.0) == pytest.approx(max(1.0, longest / 2))


@given(failures, lefts, rolls)
def test_a_retry_waits_at_least_a_second_and_at_most_its_limit(failed, left, roll):
    wait = retry_wait(failed, left, roll)
    assert 1.0 <= wait <= (60.0 if left > 0 else 30.0)
    if left > 0:
        assert wait <= max(1.0, left / 10)


@given(failures, lefts)
def test_the_random_number_spreads_the_wait_over_its_upper_half(failed, left):
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
        Declined(Outcome.SERVER_ERROR, "500 with a Retry-After, which does not count", retry_after=600.0),
    ],
)
def test_most_failures_double_the_wait(declined):
    assert [wait_after(declined, failed, PLENTY, BUDGET, 1.0) for failed in (1, 2, 7)] == [2.0, 4.0, 60.0]


@pytest.mark.parametrize(
    ("declined", "left", "wait"),
    [
        # Retry-After is honoured, up to fifteen minutes ...
        (throttled(120.0), PLENTY, 120.0),
        (throttled(900.0), PLENTY, 900.0),
        (throttled(86400.0), PLENTY, 900.0),
        (throttled(0.0), PLENTY, 2.0),  # the usual back-off is the minimum
        # ... but a minute and one attempt are reserved before a valid token expires ...
        (throttled(900.0), 500.0, 430.0),
        (throttled(900.0), 141.0, 71.0),
        # ... or half of the time left, if that is more.
        (throttled(900.0), 139.0, 69.5),
        (throttled(900.0), 20.0, 10.0),
        (throttled(60.0), 139.0, 60.0),  # Retry-After is shorter
        # While consumers have no token, at most a minute.
        (throttled(86400.0), 0.0, 60.0),
        (throttled(20.0), 0.0, 20.0),
        # A refused key is probed every five minutes, within the same bounds.
        (KEY_REFUSED, PLENTY, 300.0),
        (KEY_REFUSED, 200.0, 130.0),
        (KEY_REFUSED, 100.0, 50.0),
    ],
)
def test_retry_after_is_honoured_while_there_is_time(declined, left, wait):
    assert wait_after(declined, 1, left, BUDGET, 1.0) == pytest.approx(wait)


@given(answers, failures, lefts, budgets, rolls)
def test_no_wait_is_shorter_than_the_back_off_or_longer_than_fifteen_minutes(
    declined, failed, left, budget, roll
):
    assert retry_wait(failed, left, roll) <= wait_after(declined, failed, left, budget, roll) <= 900.0


@given(answers, failures, st.floats(2.0, 30 * 86400.0), budgets, rolls)
def test_no_wait_exceeds_the_rest_of_a_valid_token(declined, failed, left, budget, roll):
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
def test_no_consumer_notices_an_outage_as_long_as_the_headroom(
    lifetime, refresh_at, portion, timeout, declined, seed
):
    dice = random.Random(seed)
    propagation_delay = portion * lifetime
    budget = schedule.attempt_budget(timeout, lifetime)
    recovers = schedule.headroom(lifetime, refresh_at, propagation_delay, timeout)
    served = lifetime - schedule.latest_due_age(lifetime, refresh_at, propagation_delay) - propagation_delay
    at, failed = 0.0, 0  # seconds since the token was due, when its issuer began to fail
    while at < recovers:
        failed += 1
        at += dice.choice((0.0, budget))  # it fails at once, or hangs
        at += wait_after(dice.choice((declined, UNREACHABLE)), failed, served - at, budget, dice.random())
    assert at <= served + 1e-6


REJECTED = Declined(Outcome.BAD_RESPONSE, "issuer.verify rejects it", retry_after=300.0)


def test_after_a_rejected_token_the_wait_is_as_long_as_for_a_refused_key():
    """A wrong `issuer.verify` URL that rejects every token must not cause a storm of mints."""
    assert wait_after(REJECTED, 1, 3600.0, 10.0, roll=0.0) == 300.0
    assert wait_after(REJECTED, 1, 200.0, 10.0, roll=0.0) <= 140.0


@pytest.mark.parametrize("declined", [KEY_REFUSED, REJECTED])
@pytest.mark.parametrize("left", [0.0, -5.0])
def test_without_a_token_waits_after_a_refusal_double_up_to_five_minutes(declined, left):
    """The first refusal may be a mistake that has passed by now. A lasting refusal is probed rarely."""
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
def test_a_write_is_retried_within_a_minute_whatever_retry_after_says(left, asked, waits):
    assert write_wait(10, left, asked, roll=1.0) == waits


def test_the_first_retry_of_a_write_comes_soon_unless_retry_after_is_longer():
    assert write_wait(1, 3600.0, None, roll=0.0) == 1.0
    assert write_wait(1, 3600.0, 7.0, roll=0.0) == 7.0
    assert write_wait(1, 20.0, 7.0, roll=0.0) <= LONGEST_WITHOUT_TOKEN
