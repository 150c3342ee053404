"""What a change of a token's configuration changes in its state, and what it leaves as it is."""

from collections.abc import Collection

import pytest

from refresher.core.changes import adapted
from refresher.core.effects import MINT_SLOT, OUTPUT, Inspect, Mint, Slot, Verify, Write
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


@pytest.mark.parametrize("wants", [{"refresh_at": 0.5}, {"timeout": 5.0}, {"horizon": 60.0}])
def test_what_only_moves_the_schedule_leaves_the_state_as_it_is(wants):
    driver = at_work(TWO)
    before = driver.state
    change(driver, policy(*TWO.outputs, **wants))
    assert driver.state == before


def test_a_new_output_is_looked_at_and_written_with_the_token_in_hand():
    driver = at_work(policy(output("a")))
    kept = driver.state.output("a")
    change(driver, TWO, {B})
    assert driver.state.output("a") == kept
    assert driver.steps() == [Inspect("b", first=True)]
    driver.tell(Found("b", held(token(9, age=60.0, key=NEW_KEY))))
    (write,) = driver.steps()
    assert (type(write), write.output, write.token) == (Write, "b", token(1))


def test_an_output_that_is_gone_is_forgotten_with_what_is_in_flight_there():
    driver = Driver(TWO)
    driver.begin()
    assert len(driver.state.in_flight) == 1  # the mint
    driver.minted(token())  # two writes
    change(driver, policy(output("a")), {B})
    assert [each.effect.slot for each in driver.state.in_flight] == [A]
    before = driver.state
    assert driver.tell(Written("b", token())) == []
    assert driver.tell(Late(Written("b", token()))) == []
    assert driver.state == before


def test_an_output_of_the_same_name_that_is_another_one_is_looked_at_like_a_new_one():
    driver = at_work(TWO)
    change(driver, TWO, {B})
    assert driver.state.output("b") == OutputState("b")
    assert driver.steps() == [Inspect("b", first=True)]


def test_the_order_of_outputs_may_change():
    driver = at_work(TWO)
    change(driver, policy(output("b"), output("a")))
    assert [each.name for each in driver.state.outputs] == ["b", "a"]
    assert driver.steps() == []


def test_another_key_source_ends_the_problem_of_the_one_before_and_keeps_its_key():
    driver = at_work(TWO)
    driver.tell(KeyUnreadable("gone"))
    change(driver, TWO, same_key=False)
    assert (driver.state.key_problem, driver.state.newest) == (None, Credential(KEY))
    driver.tell(KeyRead(KEY))
    assert driver.steps() == []


@pytest.mark.parametrize("after", [TWO._replace(lifetime=1800.0), TWO._replace(issuer=OTHER_ISSUER_URL)])
def test_another_lifetime_or_issuer_needs_another_token_and_consumers_keep_theirs_until_then(after):
    driver = at_work(TWO)
    change(driver, after)
    assert (driver.state.facts, driver.state.token, driver.state.minted_here) == (None, None, False)
    assert [each.facts for each in driver.state.outputs] == [token().facts] * 2
    (mint,) = driver.steps()
    assert mint == Mint(KEY, Reason.FIRST)


def test_another_issuer_takes_nothing_over_that_the_one_before_said_of_the_key_or_of_lifetimes():
    driver = at_work(TWO)
    driver.passes(1000.0)
    driver.tell(ExpiryReported(token().facts.fingerprint))
    driver.until(Mint)
    driver.declined(KEY_REFUSED)
    change(driver, TWO._replace(issuer=OTHER_ISSUER_URL), {MINT_SLOT})
    state = driver.state
    assert (state.proven, state.candidate) == (None, Credential(KEY))
    assert (state.observed_lifetime, state.requested_reason) == (None, None)


def test_another_lifetime_keeps_what_is_held_against_the_key():
    driver = at_work(TWO)
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    before = driver.state.proven
    change(driver, TWO._replace(lifetime=1800.0))
    assert driver.state.proven == before


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("after", [TWO._replace(lifetime=1800.0), TWO._replace(issuer=OTHER_ISSUER_URL)])
def test_a_token_that_was_asked_for_before_the_change_is_not_used(after, late):
    driver = Driver(TWO)
    driver.begin()
    change(driver, after)
    ended = Minted(KEY, token(), roll=0.0)
    assert driver.tell(Late(ended) if late else ended) == []
    assert driver.state.token is None


def test_the_end_of_a_mint_that_was_begun_before_the_change_counts_like_any_other():
    driver = Driver(TWO)
    driver.begin()
    change(driver, TWO._replace(refresh_at=0.5))
    driver.tell(MintFailed(KEY, Declined(Outcome.SERVER_ERROR, "500"), roll=0.0))
    assert driver.state.newest.retry.failures == 1


def test_a_mint_in_flight_at_an_issuer_that_is_replaced_does_not_hold_up_the_next_one():
    driver = Driver(TWO)
    driver.begin()
    change(driver, TWO._replace(issuer=OTHER_ISSUER_URL), {MINT_SLOT})
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]


@pytest.mark.parametrize(
    "after",
    [TWO, TWO._replace(verifies=True, lifetime=1800.0), TWO._replace(verifies=True, issuer=OTHER_ISSUER_URL)],
)
def test_a_trial_ends_where_nothing_is_tried_out_any_more_or_the_token_is_of_no_use(after):
    driver = Driver(TWO._replace(verifies=True))
    driver.begin()
    driver.minted(token())
    assert driver.state.trial is not None
    change(driver, after)
    assert driver.state.trial is None
    assert not driver.state.is_minting


def test_a_trial_goes_on_where_the_token_is_still_of_use():
    driver = Driver(TWO._replace(verifies=True))
    driver.begin()
    driver.minted(token())
    change(driver, TWO._replace(verifies=True, refresh_at=0.5), {B})
    assert isinstance(driver.state.in_flight[0].effect, Verify)
    assert driver.state.trial is not None
