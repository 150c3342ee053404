"""Whoever does not lead mints and writes nothing, follows what the leader publishes, and can take over."""

import pytest

from refresher.core.effects import Adopt, Inspect, Mint, RaiseAlarm, Write
from refresher.core.events import (
    ExpiryReported,
    Found,
    KeyRead,
    LeadershipChanged,
    RefreshRequested,
    Stopping,
    WriteFailed,
)
from refresher.core.model import Holding, Reason
from refresher.core.notifications import OutputDisturbed, TokenAdopted
from refresher.core.state import Retry
from refresher.core.status import status_of
from tests.core.builders import KEY, KEY_REFUSED, NEW_KEY, NOW, Driver, held, policy, token

ELECTED = policy()._replace(elected=True)
ELECTION, LOSS = LeadershipChanged(leads=True), LeadershipChanged(leads=False)


def leading(*found: Holding) -> Driver:
    """A driver that was elected and has looked at its outputs since."""
    driver = Driver(ELECTED, *found)
    driver.begin()
    driver.passes(1.0)
    driver.tell(ELECTION)
    driver.perform(driver.steps())
    return driver


def test_nothing_is_minted_before_the_election_although_there_is_no_token():
    driver = Driver(ELECTED)
    assert driver.begin() == []
    driver.passes(3600.0)
    assert driver.steps() == [Inspect("file"), RaiseAlarm(("file",))]


def test_the_elected_one_looks_at_the_outputs_again_before_it_mints():
    driver = Driver(ELECTED)
    driver.begin()
    driver.passes(10.0)
    driver.tell(ELECTION)
    assert driver.steps() == [Inspect("file")]
    driver.tell(Found("file", Holding()))
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]


def test_the_elected_one_adopts_what_the_leader_before_has_written_last():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    driver.passes(10.0)
    driver.contents["file"] = held(token(2, age=-10.0))
    driver.tell(ELECTION)
    driver.perform(driver.steps())
    assert driver.steps() == [Adopt("file", held(token(2, age=-10.0)))]
    assert OutputDisturbed("file") not in driver.said  # that was the leader before, and no stranger
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(KEY, Reason.SCHEDULED))


def test_a_look_that_began_before_the_election_says_nothing_about_the_time_after_it():
    driver = Driver(ELECTED)
    driver.begin()
    driver.passes(30.0)
    assert driver.steps() == [Inspect("file")]
    driver.passes(1.0)
    driver.tell(ELECTION)
    driver.tell(Found("file", Holding()))  # as it was before
    assert driver.steps() == [Inspect("file")]


def test_an_end_that_was_reported_is_forgotten_by_whoever_stands_by_when_the_leader_has_replaced_that_token():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    driver.perform(driver.steps())
    driver.tell(ExpiryReported(token(1).facts.fingerprint))
    driver.passes(600.0)
    driver.contents["file"] = held(token(2, age=-600.0))
    driver.perform(driver.steps())
    driver.perform(driver.steps())
    driver.tell(ELECTION)
    driver.perform(driver.steps())
    driver.perform(driver.steps())
    assert driver.state.facts == token(2, age=-600.0).facts
    assert driver.until(Mint)[1] == Mint(KEY, Reason.SCHEDULED)


def test_whoever_stands_by_follows_the_leader_from_token_to_token():
    driver = Driver(ELECTED, held(token(1)))
    assert driver.begin() == [Adopt("file", held(token(1)))]
    driver.passes(2530.0)
    renewed = held(token(2, age=-2520.0))
    driver.contents["file"] = renewed
    driver.perform(driver.steps())
    assert driver.steps() == [Adopt("file", renewed)]
    assert driver.said[-2:] == [TokenAdopted("file", token(1).facts), TokenAdopted("file", renewed.facts)]
    assert status_of(driver.state, driver.policy, driver.now).valid


def test_whoever_stands_by_mints_nothing_when_the_token_is_due_nor_when_it_has_expired():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    for _ in range(200):
        driver.passes(30.0)
        steps = driver.steps()
        assert {type(step) for step in steps} <= {Inspect, RaiseAlarm}
        driver.perform(steps)


def test_whoever_stands_by_repairs_nothing():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    driver.contents["file"] = Holding()
    for _ in range(3):
        driver.passes(30.0)
        steps = driver.steps()
        assert Write not in {type(step) for step in steps}
        driver.perform(steps)


def test_whoever_stands_by_follows_to_a_token_of_a_new_key_when_it_has_that_key_too():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin(NEW_KEY)
    renewed = held(token(2, key=NEW_KEY))
    driver.contents["file"] = renewed
    driver.passes(30.0)
    driver.perform(driver.steps())
    assert driver.steps() == [Adopt("file", renewed)]
    assert driver.state.proven.key == NEW_KEY


def test_whoever_loses_the_election_begins_no_mint_and_no_write_any_more():
    driver = leading()
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]
    driver.tell(LOSS)
    assert driver.minted(token(1)) == []
    driver.passes(3600.0)
    assert {type(step) for step in driver.steps()} <= {Inspect}


def test_what_kept_a_leader_from_writing_is_no_problem_of_whoever_stands_by():
    driver = leading(Holding())
    driver.minted(token())
    driver.tell(WriteFailed("file", "no route", roll=1.0))
    assert driver.state.output("file").problem == "no route"
    driver.tell(LOSS)
    after = driver.state.output("file")
    assert (after.problem, after.writes) == (None, Retry())


def test_a_write_that_fails_after_the_lead_is_lost_is_nobodys_problem():
    """It hangs as long as the Lease lasts, and would be told of for as long as this one stands by."""
    driver = leading(Holding())
    driver.minted(token())
    driver.tell(LOSS)
    assert driver.tell(WriteFailed("file", "no answer", roll=1.0)) == []
    after = driver.state.output("file")
    assert (after.problem, driver.state.busy_since(after)) == (None, None)


def test_whoever_steps_back_owes_nobody_the_token_that_was_asked_for():
    driver = leading(held(token()))
    driver.tell(RefreshRequested())
    driver.tell(LOSS)
    assert driver.state.requested_reason is None


def test_whoever_stands_by_with_a_bad_new_key_follows_the_leader_and_mints_nothing_when_elected():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()  # it has adopted a token of KEY
    driver.tell(KeyRead(NEW_KEY))
    driver.contents["file"] = held(token(2, age=-2520.0))
    driver.passes(2520.0)
    driver.perform(driver.steps())
    assert driver.steps() == [Adopt("file", held(token(2, age=-2520.0)))]
    driver.passes(1.0)
    driver.tell(ELECTION)
    driver.perform(driver.steps())
    assert driver.steps() == [
        Adopt("file", held(token(2, age=-2520.0))),
        Mint(NEW_KEY, Reason.KEY_CHANGED),  # which is how a new key is proven
    ]
    driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.steps() == []
    assert driver.state.proven.key == KEY


def test_whoever_loses_the_election_still_knows_what_consumers_hold():
    driver = leading()
    driver.steps()
    driver.perform(driver.minted(token(1)))
    driver.tell(LOSS)
    assert status_of(driver.state, driver.policy, driver.now).valid


def test_whoever_is_elected_again_believes_the_outputs_and_not_its_memory():
    driver = leading()
    driver.steps()
    driver.perform(driver.minted(token(1)))
    driver.tell(LOSS)
    driver.passes(100.0)
    driver.contents["file"] = held(token(2, age=-100.0))
    driver.tell(ELECTION)
    driver.perform(driver.steps())
    assert driver.steps() == [Adopt("file", held(token(2, age=-100.0)))]


def test_being_told_again_changes_nothing():
    driver = leading()
    driver.steps()
    driver.perform(driver.minted(token(1)))
    before = driver.state
    driver.tell(ELECTION)
    assert driver.state == before


def test_an_operators_word_is_for_the_leader():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    driver.tell(RefreshRequested())
    driver.passes(1.0)
    driver.tell(ELECTION)
    driver.perform(driver.steps())
    assert Mint not in {type(step) for step in driver.steps()}


def test_a_stop_writes_nothing_where_another_leads():
    driver = leading()
    driver.steps()
    driver.tell(LOSS)
    driver.tell(Stopping())
    assert driver.minted(token(1)) == []


def test_nobody_is_told_of_a_next_refresh_by_whoever_stands_by():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    assert status_of(driver.state, driver.policy, NOW).next_refresh is None


def test_without_an_election_there_is_no_standing_by():
    driver = Driver(policy())
    assert driver.begin() == [Mint(KEY, Reason.FIRST)]
