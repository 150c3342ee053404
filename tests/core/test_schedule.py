import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core import schedule
from refresher.core.model import SecretStr

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SECRET_PROPAGATION_DELAY = 2 * MINUTE  # the default of a Secret

# The accepted configurations (config/rules.py): ten seconds to thirty days, 20 % to 95 %, a propagation
# delay of less than half the lifetime.
lifetimes = st.floats(10.0, 30 * DAY)
shares = st.floats(0.20, 0.95)
portions = st.floats(0.0, 0.5, exclude_max=True)
jitters = st.floats(0.0, 1.0)
timeouts = st.floats(1.0, 300.0)


@pytest.mark.parametrize(
    ("lifetime", "propagation_delay", "kept"),
    [
        (HOUR, 0.0, 60.0),
        (HOUR, SECRET_PROPAGATION_DELAY, 180.0),
        (6 * MINUTE, SECRET_PROPAGATION_DELAY, 180.0),  # exactly half
        (5 * MINUTE, SECRET_PROPAGATION_DELAY, 150.0),  # 180 would be more than half
        (10.0, 0.0, 5.0),
    ],
)
def test_the_margin_is_the_propagation_delay_and_a_minute_but_at_most_half_the_lifetime(
    lifetime, propagation_delay, kept
):
    assert schedule.margin(lifetime, propagation_delay) == kept


@pytest.mark.parametrize(
    ("lifetime", "age"), [(DAY, 8640.0), (HOUR, 360.0), (60.0, 6.0), (10.0, 1.0), (5.0, 1.0)]
)
def test_the_soonest_is_a_tenth_of_the_lifetime_but_at_least_a_second(lifetime, age):
    assert schedule.soonest(lifetime) == pytest.approx(age)


@pytest.mark.parametrize(
    ("lifetime", "refresh_at", "propagation_delay", "jitter", "age"),
    [
        (HOUR, 0.7, 0.0, 0.0, 2520.0),
        (HOUR, 0.7, 0.0, 0.5, 2340.0),
        (HOUR, 0.7, 0.0, 1.0, 2160.0),
        (DAY, 0.7, 0.0, 1.0, 51840.0),
        (
            HOUR,
            0.7,
            SECRET_PROPAGATION_DELAY,
            0.0,
            2520.0,
        ),  # the margin of three minutes allows more
        (10 * MINUTE, 0.9, SECRET_PROPAGATION_DELAY, 0.0, 420.0),  # nine minutes, minus the margin of three
        (10 * MINUTE, 0.9, SECRET_PROPAGATION_DELAY, 1.0, 360.0),  # and jitter takes 60 s off that
        (10 * MINUTE, 0.75, SECRET_PROPAGATION_DELAY, 1.0, 360.0),  # 7.5 minutes is within the margin too
        (HOUR, 0.95, 0.0, 0.0, 3420.0),
        (2 * MINUTE, 0.7, 0.0, 0.0, 60.0),  # 84 s is within the margin of a minute
        (2 * MINUTE, 0.7, 0.0, 1.0, 48.0),
        (MINUTE, 0.7, 0.0, 0.0, 30.0),  # the margin clamped to half
        (MINUTE, 0.7, 0.0, 0.5, 27.0),
        (MINUTE, 0.7, 0.0, 1.0, 24.0),
        (10.0, 0.7, 0.0, 0.0, 5.0),
        (10.0, 0.2, 0.0, 1.0, 1.0),  # a tenth is the minimum
    ],
)
def test_the_due_age_is_the_share_minus_jitter_within_its_bounds(
    lifetime, refresh_at, propagation_delay, jitter, age
):
    assert schedule.due_age(lifetime, refresh_at, propagation_delay, jitter) == pytest.approx(age)


@given(lifetimes, shares, portions, jitters)
def test_a_token_is_never_due_too_soon_or_after_its_expiry(lifetime, refresh_at, portion, jitter):
    propagation_delay = portion * lifetime
    due = schedule.due_age(lifetime, refresh_at, propagation_delay, jitter)
    assert schedule.soonest(lifetime) <= due < lifetime
    assert due <= max(schedule.soonest(lifetime), lifetime - schedule.margin(lifetime, propagation_delay))
    assert due <= schedule.latest_due_age(lifetime, refresh_at, propagation_delay)


@given(lifetimes, shares, portions, jitters)
def test_jitter_makes_a_refresh_at_most_a_tenth_of_the_lifetime_earlier(
    lifetime, refresh_at, portion, jitter
):
    propagation_delay = portion * lifetime
    due = schedule.due_age(lifetime, refresh_at, propagation_delay, jitter)
    assert (
        0 <= schedule.latest_due_age(lifetime, refresh_at, propagation_delay) - due <= 0.1 * lifetime + 1e-6
    )


@given(lifetimes, shares, portions)
def test_the_whole_jitter_applies_unless_the_token_would_be_too_young(lifetime, refresh_at, portion):
    propagation_delay = portion * lifetime
    latest = schedule.latest_due_age(lifetime, refresh_at, propagation_delay)
    spread = latest - schedule.due_age(lifetime, refresh_at, propagation_delay, 1.0)
    assert spread == pytest.approx(min(0.1 * lifetime, latest - schedule.soonest(lifetime)))


@given(st.floats(10.0, 30 * DAY), st.floats(0.0, 60 * DAY))
def test_the_margin_is_never_more_than_half_the_lifetime(lifetime, propagation_delay):
    assert 0 < schedule.margin(lifetime, propagation_delay) <= lifetime / 2


@pytest.mark.parametrize(
    ("fingerprint", "place"),
    [
        ("0000000000000000", 0.0),
        ("4000000000000000", 0.25),
        ("8000000000000000", 0.5),
        ("c000000000000000", 0.75),
        ("ffffffffffffffff", 1.0),
    ],
)
def test_the_jitter_of_a_token_is_computed_from_its_fingerprint(fingerprint, place):
    assert schedule.jitter_of(fingerprint) == pytest.approx(place)


def test_jitter_spreads_tokens_evenly():
    rolled = [schedule.jitter_of(SecretStr(f"token-{number}").fingerprint) for number in range(10_000)]
    assert statistics.mean(rolled) == pytest.approx(0.5, abs=0.01)
    for tenth in range(10):
        share = sum(tenth / 10 <= each < (tenth + 1) / 10 for each in rolled) / len(rolled)
        assert share == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("timeout", "lifetime", "budget"),
    [(10.0, HOUR, 10.0), (10.0, 60.0, 6.0), (10.0, 10.0, 1.0), (300.0, HOUR, 300.0), (300.0, 5.0, 1.0)],
)
def test_an_attempt_has_the_timeout_or_a_tenth_of_the_lifetime_but_at_least_a_second(
    timeout, lifetime, budget
):
    assert schedule.attempt_budget(timeout, lifetime) == budget


@pytest.mark.parametrize(
    ("remaining", "propagation_delay", "left"),
    [
        (3600.0, 0.0, 3600.0),
        (3600.0, 120.0, 3480.0),
        (121.0, 120.0, 1.0),
        (120.0, 120.0, 120.0),  # too late for the slowest consumer: only the expiry counts now
        (0.0, 120.0, 0.0),
        (-5.0, 0.0, 0.0),
    ],
)
def test_the_time_left_ends_when_the_slowest_consumer_would_see_a_new_token_too_late(
    remaining, propagation_delay, left
):
    assert schedule.left_to_consumers(remaining, propagation_delay) == left


@pytest.mark.parametrize(
    ("lifetime", "refresh_at", "propagation_delay", "timeout", "seconds"),
    [
        # (1 - refresh_at) x lifetime - propagation_delay - 1 min - timeout; the longest wait is a minute:
        (HOUR, 0.7, 0.0, 10.0, 1010.0),
        (HOUR, 0.7, SECRET_PROPAGATION_DELAY, 10.0, 890.0),
        (DAY, 0.7, 0.0, 10.0, 25850.0),
        (HOUR, 0.5, 0.0, 30.0, 1710.0),
        # With less time left, the longest wait is a tenth of that:
        (10 * MINUTE, 0.7, 0.0, 10.0, 152.0),  # 180 - 18 - 10
        (10 * MINUTE, 0.9, SECRET_PROPAGATION_DELAY, 10.0, 44.0),  # due at 420, so 60 left - 6 - 10
        (10.0, 0.7, 0.0, 10.0, 3.0),  # due at 5; 5 - 1 - 1
        (10.0, 0.7, 4.9, 10.0, 0.0),  # 0.1 s left: nothing to spare
    ],
)
def test_headroom_is_the_time_left_minus_the_longest_wait_and_one_attempt(
    lifetime, refresh_at, propagation_delay, timeout, seconds
):
    assert schedule.headroom(lifetime, refresh_at, propagation_delay, timeout) == pytest.approx(seconds)


@given(lifetimes, shares, portions, timeouts)
def test_headroom_is_never_less_than_promised(lifetime, refresh_at, portion, timeout):
    propagation_delay = portion * lifetime
    promised = (1 - refresh_at) * lifetime - propagation_delay - 60.0 - timeout
    headroom = schedule.headroom(lifetime, refresh_at, propagation_delay, timeout)
    assert headroom >= max(0.0, promised) - 1e-6
    assert headroom < lifetime
