"""How a change of a token's configuration affects its state."""

from collections.abc import Collection

import pytest

from refresher.core.changes import adapted
from refresher.core.effects import MINT_SLOT, OUTPUT, VERIFY_SLOT, Inspect, Mint, Slot, Verify, Write
from refresher.core.events import (
    ExpiryReported,
    Found,
    KeyRead,
    KeyUnreadable,
    Late,
    Minted,
    MintFailed,
    Written,
)
from refresher.core.model import Declined, Outcome, Reason
from refresher.core.state import Credential, OutputState, TokenPolicy
from tests.core.builders import (
    KEY,
    KEY_REFUSED,
    NEW_KEY,
    OTHER_ISSUER_URL,
    UNREACHABLE,
    Driver,
    at_work,
    held,
    output,
    policy,
    token,
)

TWO = policy(output("a"), output("b"))
A, B = Slot(OUTPUT, "a"), Slot(OUTPUT, "b")


def change(
    driver: Driver, after: TokenPolicy, replaced: Collection[Slot] = frozenset(), *, same_key: bool = True
) -> None:
    driver.state = adapted(driver.state, driver.policy, after, replaced, same_key=same_key)
    driver.policy = after


@pytest.mark.parametrize("settings", [{"refresh_at": 0.5}, {"timeout": 5.0}, {"horizon": 60.0}])
def test_a_new_schedule_does_not_change_the_state(settings):
    driver = at_work(TWO)
    before = driver.state
    change(driver, policy(*TWO.outputs, **settings))
    assert driver.state == before


def test_a_new_output_is_inspected_and_gets_the_token_in_hand():
    driver = at_work(policy(output("a")))
    kept = driver.state.output("a")
    change(driver, TWO, {B})
    assert driver.state.output("a") == kept
    assert driver.steps() == [Inspect("b", first=True)]
    driver.observe(Found("b", held(token(9, age=60.0, key=NEW_KEY))))
    (write,) = driver.steps()
    assert (type(write), write.output, write.token) == (Write, "b", token(1))


@pytest.mark.parametrize(("age", "kind"), [(1000.0, Write), (2400.0, Mint)])
def test_a_token_that_ends_before_consumers_see_it_does_not_replace_a_better_one_in_a_new_output(age, kind):
    slow = policy(output("a"), output("b", propagation_delay=1500.0))
    driver = at_work(policy(output("a")))
    driver.passes(age)
    change(driver, slow, {B})
    driver.steps()
    driver.observe(Found("b", held(token(9, age=-age, key=NEW_KEY))))
    assert [type(step) for step in driver.steps() if not isinstance(step, Inspect)] == [kind]


def test_a_removed_output_is_forgotten_with_its_effects_in_flight():
    driver = Driver(TWO)
    driver.begin()
    assert len(driver.state.in_flight) == 1  # the mint
    driver.minted(token())  # two writes
    change(driver, policy(output("a")), {B})
    assert list(driver.state.in_flight) == [A]
    before = driver.state
    assert driver.observe(Written("b", token())) == []
    assert driver.observe(Late(Written("b", token()))) == []
    assert driver.state == before


def test_a_replaced_output_of_the_same_name_is_inspected_like_a_new_one():
    driver = at_work(TWO)
    change(driver, TWO, {B})
    assert driver.state.output("b") == OutputState("b")
    assert driver.steps() == [Inspect("b", first=True)]


def test_the_order_of_outputs_may_change():
    driver = at_work(TWO)
    change(driver, policy(output("b"), output("a")))
    assert [each.name for each in driver.state.outputs] == ["b", "a"]
    assert driver.steps() == []


def test_a_new_key_source_clears_the_key_problem_and_keeps_the_key():
    driver = at_work(TWO)
    driver.observe(KeyUnreadable("gone"))
    change(driver, TWO, same_key=False)
    assert (driver.state.key_problem, driver.state.newest) == (None, Credential(KEY))
    driver.observe(KeyRead(KEY))
    assert driver.steps() == []


@pytest.mark.parametrize("after", [TWO._replace(lifetime=1800.0), TWO._replace(issuer=OTHER_ISSUER_URL)])
def test_a_new_lifetime_or_issuer_needs_a_new_token_and_outputs_keep_the_old_one(after):
    driver = at_work(TWO)
    change(driver, after)
    assert (driver.state.facts, driver.state.token, driver.state.minted_here) == (None, None, False)
    assert [each.facts for each in driver.state.outputs] == [token().facts] * 2
    (mint,) = driver.steps()
    assert mint == Mint(KEY, Reason.FIRST)


def test_a_new_issuer_clears_what_the_former_one_revealed_about_key_and_lifetimes():
    driver = at_work(TWO)
    driver.passes(1000.0)
    driver.observe(ExpiryReported(token().facts.fingerprint))
    driver.until(Mint)
    driver.declined(KEY_REFUSED)
    change(driver, TWO._replace(issuer=OTHER_ISSUER_URL), {MINT_SLOT})
    state = driver.state
    assert (state.proven, state.candidate) == (None, Credential(KEY))
    assert (state.observed_lifetime, state.requested_reason) == (None, None)


def test_a_new_lifetime_keeps_the_failures_of_the_key():
    driver = at_work(TWO)
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    before = driver.state.proven
    change(driver, TWO._replace(lifetime=1800.0))
    assert driver.state.proven == before


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("after", [TWO._replace(lifetime=1800.0), TWO._replace(issuer=OTHER_ISSUER_URL)])
def test_a_token_requested_before_the_change_is_not_used(after, late):
    driver = Driver(TWO)
    driver.begin()
    change(driver, after)
    ended = Minted(KEY, token(), roll=0.0)
    assert driver.observe(Late(ended) if late else ended) == []
    assert driver.state.token is None


def test_a_failed_mint_that_began_before_the_change_counts():
    driver = Driver(TWO)
    driver.begin()
    change(driver, TWO._replace(refresh_at=0.5))
    driver.observe(MintFailed(KEY, Declined(Outcome.SERVER_ERROR, "500"), roll=0.0))
    assert driver.state.newest.retry.failures == 1


def test_a_mint_in_flight_at_a_replaced_issuer_does_not_delay_the_next_one():
    driver = Driver(TWO)
    driver.begin()
    change(driver, TWO._replace(issuer=OTHER_ISSUER_URL), {MINT_SLOT})
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]


@pytest.mark.parametrize(
    "after",
    [TWO, TWO._replace(verifies=True, lifetime=1800.0), TWO._replace(verifies=True, issuer=OTHER_ISSUER_URL)],
)
def test_a_trial_ends_if_verification_is_off_or_the_token_is_useless(after):
    driver = Driver(TWO._replace(verifies=True))
    driver.begin()
    driver.minted(token())
    assert driver.state.trial is not None
    change(driver, after)
    assert driver.state.trial is None
    assert not driver.state.is_minting


def test_a_trial_continues_if_its_token_is_still_useful():
    driver = Driver(TWO._replace(verifies=True))
    driver.begin()
    driver.minted(token())
    change(driver, TWO._replace(verifies=True, refresh_at=0.5), {B})
    assert isinstance(driver.state.in_flight[VERIFY_SLOT].effect, Verify)
    assert driver.state.trial is not None
