"""``issuer.verify``: a new token is checked before it is published."""

import pytest

from refresher.core import backoff
from refresher.core.effects import VERIFY_SLOT, Mint, Verify, Write
from refresher.core.events import (
    KeyRead,
    Late,
    LeadershipChanged,
    Minted,
    RefreshRequested,
    Stopping,
    Verified,
)
from refresher.core.machine import next_step
from refresher.core.model import Outcome, Reason, Verdict, Verification
from refresher.core.notifications import (
    KeyProven,
    LifetimeShortened,
    RefreshFailed,
    TokenMinted,
    TokenVerified,
)
from tests.core.builders import KEY, KEY_REFUSED, NEW_KEY, NOW, Driver, policy, token

VERIFYING = policy(verifies=True)


def verified(driver: Driver, number: int, verdict: Verdict, message: str = "") -> list:
    return driver.observe(Verified(token(number).facts.fingerprint, Verification(verdict, message)))


def on_trial(number: int = 1) -> Driver:
    """A driver whose first token is on trial."""
    driver = Driver(VERIFYING)
    driver.begin()
    driver.minted(token(number))
    return driver


def test_a_new_token_is_verified_before_it_is_written():
    driver = Driver(VERIFYING)
    driver.begin()
    assert driver.minted(token()) == [Verify(token(), 10.0)]  # the rest of the budget
    assert driver.state.token is None
    assert driver.state.is_busy


@pytest.mark.parametrize("verdict", [Verdict.GOOD, Verdict.INCONCLUSIVE])
def test_a_token_that_is_not_rejected_is_written(verdict):
    driver = on_trial()
    assert verified(driver, 1, verdict) == [
        TokenVerified(token().facts.fingerprint, verdict, ""),
        TokenMinted(Reason.FIRST, token().facts, 0),
    ]
    (write,) = driver.steps()
    assert isinstance(write, Write)


def test_a_rejected_token_is_not_written_and_its_key_is_probed_slowly():
    driver = on_trial()
    verified_token, failed = verified(driver, 1, Verdict.REJECTED, "401")
    assert verified_token == TokenVerified(token().facts.fingerprint, Verdict.REJECTED, "401")
    assert isinstance(failed, RefreshFailed)
    assert (failed.outcome, driver.state.token) == (Outcome.BAD_RESPONSE, None)
    assert "verify of the issuer rejects the new token: 401" in failed.message
    assert driver.steps() == []


def test_without_a_token_the_waits_after_rejected_tokens_grow():
    """The issuer accepted the key for each mint, but its failures count nevertheless."""
    driver, waits = on_trial(), []
    for number in range(1, 6):
        _, failed = verified(driver, number, Verdict.REJECTED)
        waits.append(failed.wait)
        driver.until(Mint)
        driver.minted(token(number + 1))
    assert waits == sorted(waits)
    assert waits[-1] >= 8 * waits[0]


def test_while_consumers_have_a_token_the_next_mint_after_a_rejection_waits_for_the_probe_interval():
    driver = Driver(VERIFYING)
    driver.begin()
    driver.minted(token(1))
    verified(driver, 1, Verdict.GOOD)
    driver.perform(driver.steps())
    driver.until(Mint)
    driver.minted(token(2, age=-2520.0))
    _, failed = verified(driver, 2, Verdict.REJECTED)
    assert failed.wait == backoff.KEY_PROBE
    assert driver.state.token == token(1)


def test_an_expired_token_is_written_and_shortens_the_expected_lifetime():
    driver = on_trial()
    notifications = verified(driver, 1, Verdict.EXPIRED, "403")
    assert [type(each) for each in notifications] == [TokenVerified, TokenMinted, LifetimeShortened]
    (write,) = driver.steps()
    assert isinstance(write, Write)


def test_after_a_mint_that_took_all_the_time_there_is_no_trial():
    driver = Driver(VERIFYING)
    driver.begin()
    driver.passes(10.0)
    notifications = driver.observe(Minted(KEY, token(), roll=0.0))
    assert [type(each) for each in notifications] == [TokenVerified, TokenMinted]
    assert notifications[0].verdict is Verdict.INCONCLUSIVE


def test_a_trial_gets_the_rest_of_the_budget_and_at_least_a_second():
    driver = Driver(VERIFYING)
    driver.begin()
    driver.passes(3.0)
    driver.observe(Minted(KEY, token(), roll=0.0))
    assert next_step(driver.state, driver.policy, driver.now) == Verify(token(), 7.0)
    driver.passes(60.0)
    assert next_step(driver.state, driver.policy, driver.now) == Verify(token(), 1.0)
    held_back = next_step(driver.state, driver.policy, driver.now, {VERIFY_SLOT})
    assert not isinstance(held_back, Verify | Mint)


def test_nothing_is_minted_during_a_trial():
    driver = on_trial()
    driver.observe(RefreshRequested())
    driver.observe(KeyRead(NEW_KEY))
    assert driver.steps() == []
    verified(driver, 1, Verdict.GOOD)
    assert [type(step) for step in driver.steps()] == [Write, Mint]


def test_the_token_on_trial_does_not_settle_a_request_made_during_the_trial():
    driver = on_trial()
    driver.observe(RefreshRequested())
    verified(driver, 1, Verdict.GOOD)
    assert driver.state.requested_reason is Reason.REQUESTED


def test_a_token_on_trial_while_stopping_is_still_published():
    driver = Driver(VERIFYING)
    driver.begin()
    driver.observe(Stopping())
    assert driver.minted(token()) == [Verify(token(), 10.0)]
    verified(driver, 1, Verdict.GOOD)
    assert [type(step) for step in driver.steps()] == [Write]


def test_the_verdict_on_another_token_is_ignored():
    driver = on_trial()
    assert verified(driver, 2, Verdict.REJECTED) == []
    assert driver.state.trial is not None


def test_a_former_leader_has_no_trial():
    driver = Driver(policy(verifies=True, elected=True))
    driver.observe(LeadershipChanged(leads=True))
    driver.begin()
    driver.minted(token())
    driver.observe(LeadershipChanged(leads=False))
    assert not any(isinstance(step, Verify) for step in driver.steps())
    assert (driver.state.trial, verified(driver, 1, Verdict.GOOD)) == (None, [])


def test_a_late_token_is_verified_unless_another_trial_runs():
    driver = Driver(VERIFYING)
    driver.begin()
    driver.declined(KEY_REFUSED)
    driver.observe(Late(Minted(KEY, token(1), roll=0.0)))
    assert driver.steps() == [Verify(token(1), 10.0)]
    driver.observe(Late(Minted(KEY, token(2), roll=0.0)))
    assert driver.state.trial.minted.token == token(1)
    assert KeyProven(KEY.fingerprint) in verified(driver, 1, Verdict.GOOD)


def test_a_repeated_token_is_not_verified():
    driver = on_trial()
    verified(driver, 1, Verdict.GOOD)
    driver.perform(driver.steps())
    driver.until(Mint)
    assert not any(isinstance(step, Verify) for step in driver.minted(token(1)))
    assert driver.now != NOW
