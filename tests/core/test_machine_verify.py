"""``issuer.verify``: a new token is tried out before it is published."""

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
    return driver.tell(Verified(token(number).facts.fingerprint, Verification(verdict, message)))


def on_trial(number: int = 1) -> Driver:
    """A driver whose first token is being tried out."""
    driver = Driver(VERIFYING)
    driver.begin()
    driver.minted(token(number))
    return driver


def test_a_new_token_is_tried_out_before_it_is_written():
    driver = Driver(VERIFYING)
    driver.begin()
    assert driver.minted(token()) == [Verify(token(), 10.0)]  # all that the mint has left of its attempt
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
    told, failed = verified(driver, 1, Verdict.REJECTED, "401")
    assert told == TokenVerified(token().facts.fingerprint, Verdict.REJECTED, "401")
    assert isinstance(failed, RefreshFailed)
    assert (failed.outcome, driver.state.token) == (Outcome.BAD_RESPONSE, None)
    assert "issuer.verify rejects the new token: 401" in failed.message
    assert driver.steps() == []


def test_rejected_tokens_are_minted_ever_more_slowly_while_consumers_have_none():
    """Each is a mint that the issuer has accepted: the key's failures count all the same."""
    driver, waits = on_trial(), []
    for number in range(1, 6):
        _, failed = verified(driver, number, Verdict.REJECTED)
        waits.append(failed.wait)
        driver.until(Mint)
        driver.minted(token(number + 1))
    assert waits == sorted(waits)
    assert waits[-1] >= 8 * waits[0]


def test_while_consumers_are_served_a_rejected_token_is_followed_after_the_probes_interval():
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


def test_an_expired_token_is_written_and_the_next_one_is_believed_to_live_shorter():
    driver = on_trial()
    said = verified(driver, 1, Verdict.EXPIRED, "403")
    assert [type(each) for each in said] == [TokenVerified, TokenMinted, LifetimeShortened]
    (write,) = driver.steps()
    assert isinstance(write, Write)


def test_a_mint_that_took_all_its_time_leaves_none_for_the_trial():
    driver = Driver(VERIFYING)
    driver.begin()
    driver.passes(10.0)
    said = driver.tell(Minted(KEY, token(), roll=0.0))
    assert [type(each) for each in said] == [TokenVerified, TokenMinted]
    assert said[0].verdict is Verdict.INCONCLUSIVE


def test_a_trial_has_what_the_mint_has_left_and_a_moment_if_it_had_to_wait_in_line():
    driver = Driver(VERIFYING)
    driver.begin()
    driver.passes(3.0)
    driver.tell(Minted(KEY, token(), roll=0.0))
    assert next_step(driver.state, driver.policy, driver.now) == Verify(token(), 7.0)
    driver.passes(60.0)
    assert next_step(driver.state, driver.policy, driver.now) == Verify(token(), 1.0)
    held_back = next_step(driver.state, driver.policy, driver.now, {VERIFY_SLOT})
    assert not isinstance(held_back, Verify | Mint)


def test_nothing_is_minted_while_a_token_is_being_tried_out():
    driver = on_trial()
    driver.tell(RefreshRequested())
    driver.tell(KeyRead(NEW_KEY))
    assert driver.steps() == []
    verified(driver, 1, Verdict.GOOD)
    assert [type(step) for step in driver.steps()] == [Write, Mint]


def test_a_request_that_comes_during_the_trial_is_not_met_by_the_token_on_trial():
    driver = on_trial()
    driver.tell(RefreshRequested())
    verified(driver, 1, Verdict.GOOD)
    assert driver.state.requested_reason is Reason.REQUESTED


def test_a_token_on_trial_when_the_process_is_to_stop_is_still_published():
    driver = Driver(VERIFYING)
    driver.begin()
    driver.tell(Stopping())
    assert driver.minted(token()) == [Verify(token(), 10.0)]
    verified(driver, 1, Verdict.GOOD)
    assert [type(step) for step in driver.steps()] == [Write]


def test_what_was_tried_out_in_vain_is_not_what_is_on_trial_now():
    driver = on_trial()
    assert verified(driver, 2, Verdict.REJECTED) == []
    assert driver.state.trial is not None


def test_whoever_no_longer_leads_tries_nothing_out():
    driver = Driver(policy(verifies=True, elected=True))
    driver.tell(LeadershipChanged(leads=True))
    driver.begin()
    driver.minted(token())
    driver.tell(LeadershipChanged(leads=False))
    assert not any(isinstance(step, Verify) for step in driver.steps())
    assert (driver.state.trial, verified(driver, 1, Verdict.GOOD)) == (None, [])


def test_a_token_that_comes_late_is_tried_out_too_unless_another_one_is():
    driver = Driver(VERIFYING)
    driver.begin()
    driver.declined(KEY_REFUSED)
    driver.tell(Late(Minted(KEY, token(1), roll=0.0)))
    assert driver.steps() == [Verify(token(1), 10.0)]
    driver.tell(Late(Minted(KEY, token(2), roll=0.0)))
    assert driver.state.trial.minted.token == token(1)
    assert KeyProven(KEY.fingerprint) in verified(driver, 1, Verdict.GOOD)


def test_the_same_token_again_is_not_tried_out():
    driver = on_trial()
    verified(driver, 1, Verdict.GOOD)
    driver.perform(driver.steps())
    driver.until(Mint)
    assert not any(isinstance(step, Verify) for step in driver.minted(token(1)))
    assert driver.now != NOW
