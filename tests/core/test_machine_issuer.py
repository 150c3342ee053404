"""Failures of the issuer: the old token stays until it expires, and retries are spread out."""

import pytest

from refresher.core.effects import Mint
from refresher.core.events import RefreshRequested
from refresher.core.model import Declined, Outcome, Reason, Token
from refresher.core.notifications import KeyProven, RefreshFailed, TokenMinted
from tests.core.builders import (
    KEY,
    KEY_REFUSED,
    NOW,
    UNREACHABLE,
    Driver,
    at_work,
    held,
    held_opaquely,
    output,
    policy,
    throttled,
    token,
    write,
)


def due(token_policy=None, **first):
    """A driver at work that has just begun a scheduled mint."""
    driver = at_work(token_policy, **first)
    driver.until(Mint)
    return driver


def test_a_failure_is_reported_with_reason_and_time_left():
    driver = due()
    assert driver.declined(UNREACHABLE) == [
        RefreshFailed(
            Reason.SCHEDULED,
            Outcome.UNREACHABLE,
            "connection refused",
            KEY.fingerprint,
            wait=2.0,
            left=1080.0,
        )
    ]


def test_the_old_token_stays_while_the_issuer_fails():
    driver = due()
    before = driver.state
    driver.declined(UNREACHABLE)
    assert (driver.state.facts, driver.state.token) == (before.facts, before.token)
    assert driver.state.outputs == before.outputs
    assert driver.steps() == []


def test_waits_double_then_shrink_with_the_time_left_and_end_at_half_a_minute():
    driver = due()
    waits = []
    while driver.now.boot < NOW.boot + 3600.0:
        driver.declined(UNREACHABLE)
        waits.append(driver.until(Mint)[0])
    # 1020 s are left after 2520 + 62 s. A tenth of the time left exceeds a minute until 600 s are left.
    assert waits[:14] == [2.0, 4.0, 8.0, 16.0, 32.0] + [60.0] * 7 + [59.8, 53.82]
    assert min(waits) == 1.0
    for _ in range(3):
        driver.declined(UNREACHABLE)
        assert driver.until(Mint)[0] == 30.0  # expired


def test_a_success_resets_the_waits():
    driver = due()
    for _ in range(5):
        driver.declined(UNREACHABLE)
        driver.until(Mint)
    renewed = token(2, age=-2582.0)
    driver.perform(driver.minted(renewed))
    assert TokenMinted(Reason.SCHEDULED, renewed.facts, failures=5) in driver.notifications
    assert driver.until(Mint)[0] == pytest.approx(2520.0)
    driver.declined(UNREACHABLE)
    assert driver.until(Mint)[0] == 2.0


@pytest.mark.parametrize(
    ("declined", "wait"),
    [
        (throttled(120.0), 120.0),
        (throttled(86400.0), 900.0),  # fifteen minutes at most
        (throttled(None), 2.0),
        (KEY_REFUSED, 300.0),
        (Declined(Outcome.SERVER_ERROR, "500", retry_after=600.0), 2.0),
    ],
)
def test_the_wait_depends_on_the_kind_of_failure(declined, wait):
    driver = due()
    driver.declined(declined)
    assert driver.until(Mint)[0] == pytest.approx(wait)


@pytest.mark.parametrize("declined", [throttled(900.0), KEY_REFUSED])
def test_no_wait_exceeds_the_rest_of_a_valid_token(declined):
    driver = due(policy(lifetime=600.0), first=token(lifetime=600.0))  # due at 420: 180 s are left
    driver.declined(declined)
    assert driver.until(Mint)[0] == pytest.approx(110.0)  # a minute and an attempt of 10 s are reserved
    driver.declined(declined)
    assert driver.until(Mint)[0] == pytest.approx(35.0)  # half of the 70 s


def test_the_propagation_delay_of_the_slowest_consumer_counts_for_the_wait():
    driver = due(policy(output(propagation_delay=120.0), lifetime=600.0), first=token(lifetime=600.0))
    (failed,) = driver.declined(KEY_REFUSED)
    assert failed.left == pytest.approx(60.0)
    assert failed.wait == pytest.approx(30.0)


def test_without_a_token_waits_for_a_refused_key_double_up_to_the_probe_interval():
    driver = Driver()
    driver.begin()
    waits = []
    for _ in range(10):
        driver.declined(KEY_REFUSED)
        waits.append(driver.until(Mint))
    mint = Mint(KEY, Reason.FIRST)
    assert waits == [(wait, mint) for wait in (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0)]


def test_before_the_first_mint_the_tokens_in_the_outputs_limit_the_wait():
    stranger = held(token(age=3400.0, lifetime=3600.0, requested=7200.0))  # not adoptable, 200 s left
    driver = Driver(policy(), stranger)
    driver.begin()
    (failed,) = driver.declined(KEY_REFUSED)
    assert failed.left == pytest.approx(200.0)
    assert failed.wait == pytest.approx(130.0)


def test_an_older_token_in_another_output_limits_the_wait():
    driver = Driver(policy(output("a"), output("b")), held_opaquely(token(2)), held(token(1, age=3500.0)))
    driver.observe(RefreshRequested())
    driver.begin()
    (failed,) = driver.declined(throttled(900.0))
    assert failed.left == pytest.approx(100.0)  # then b's token expires
    assert failed.wait < 100.0


def test_an_operators_request_ends_every_wait():
    driver = due()
    driver.declined(throttled(900.0))
    driver.passes(1.0)
    driver.observe(RefreshRequested())
    assert driver.steps() == [Mint(KEY, Reason.REQUESTED)]


# --- The same token as before: its old expiry stands.


def repeated(number: int, issued_later: float) -> Token:
    """A token that the issuer gave before, as if it were new."""
    return token(number, age=-issued_later)


def test_a_repeated_token_counts_as_a_failure_and_keeps_its_old_expiry():
    driver = due()
    assert driver.minted(repeated(1, issued_later=2520.0)) == []
    assert driver.state.facts == token(1).facts
    (failed,) = [
        notification for notification in driver.notifications if isinstance(notification, RefreshFailed)
    ]
    assert failed.outcome is Outcome.OK
    assert (failed.wait, failed.left) == (2.0, 1080.0)
    assert driver.until(Mint)[0] == 2.0
    driver.minted(repeated(1, issued_later=2522.0))
    assert driver.until(Mint)[0] == 4.0


def test_a_repeated_token_is_not_news_after_an_adoption():
    driver = Driver(policy(), held(token(age=2520.0)))
    driver.begin()
    assert driver.minted(repeated(1, issued_later=0.0)) == []
    assert driver.state.facts == token(age=2520.0).facts


def test_a_token_that_an_output_already_holds_is_not_news():
    stranger = token(1, age=60.0, lifetime=1800.0)  # requested with another lifetime: not adopted
    driver = Driver(policy(), held(stranger))
    driver.begin()
    assert driver.minted(repeated(1, issued_later=0.0)) == []
    assert driver.state.output("file").holding.remaining(NOW) == 1740.0
    assert driver.until(Mint)[0] == 2.0


def test_a_key_that_mints_a_repeated_token_is_accepted():
    driver = due()
    driver.declined(KEY_REFUSED)
    driver.until(Mint)
    driver.minted(repeated(1, issued_later=2820.0))
    assert not driver.state.newest.is_refused
    assert KeyProven(KEY.fingerprint) in driver.notifications


def test_after_a_repeated_token_a_new_one_is_published():
    driver = due()
    driver.minted(repeated(1, issued_later=2520.0))
    driver.until(Mint)
    renewed = token(2, age=-2522.0)
    assert driver.minted(renewed) == [write("file", renewed, "new")]
