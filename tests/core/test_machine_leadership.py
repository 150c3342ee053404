"""A standby neither mints nor writes. It adopts the tokens of the leader, and can take over."""

import pytest

from refresher.core.backoff import MOMENT
from refresher.core.effects import Adopt, Inspect, Mint, RaiseAlarm, Wait, Write
from refresher.core.events import (
    DryRunPassed,
    ExpiryReported,
    Found,
    KeyRead,
    LeadershipChanged,
    RefreshRequested,
    Stopping,
    WriteFailed,
)
from refresher.core.machine import next_step
from refresher.core.model import Holding, Reason
from refresher.core.notifications import OutputDisturbed, TokenAdopted
from refresher.core.state import Retry
from refresher.core.status import status_of
from tests.core.builders import KEY, KEY_REFUSED, NEW_KEY, NOW, Driver, held, policy, token

ELECTED = policy()._replace(elected=True)
ELECTION, LOSS = LeadershipChanged(leads=True), LeadershipChanged(leads=False)


def leading(*found: Holding) -> Driver:
    """A driver that was elected and has inspected its outputs since."""
    driver = Driver(ELECTED, *found)
    driver.begin()
    driver.passes(1.0)
    driver.observe(ELECTION)
    driver.perform(driver.steps())
    return driver


def test_nothing_is_minted_before_the_election():
    driver = Driver(ELECTED)
    assert driver.begin() == []
    driver.passes(3600.0)
    assert driver.steps() == [Inspect("file"), RaiseAlarm(("file",))]


def test_a_new_leader_inspects_the_outputs_before_it_mints():
    driver = Driver(ELECTED)
    driver.begin()
    driver.passes(10.0)
    driver.observe(ELECTION)
    assert driver.steps() == [Inspect("file")]
    driver.observe(Found("file", Holding()))
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]


def test_a_new_leader_adopts_the_last_token_of_the_former_leader():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    driver.passes(10.0)
    driver.contents["file"] = held(token(2, age=-10.0))
    driver.observe(ELECTION)
    driver.perform(driver.steps())
    assert driver.steps() == [Adopt("file", held(token(2, age=-10.0)))]
    assert OutputDisturbed("file") not in driver.notifications  # the former leader wrote it
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(KEY, Reason.SCHEDULED))


def test_a_new_leader_ignores_an_inspection_that_began_before_the_election():
    driver = Driver(ELECTED)
    driver.begin()
    driver.passes(30.0)
    assert driver.steps() == [Inspect("file")]
    driver.passes(1.0)
    driver.observe(ELECTION)
    driver.observe(Found("file", Holding()))  # the state before the election
    assert driver.steps() == [Inspect("file")]


def test_a_standby_forgets_a_reported_expiry_when_the_leader_replaces_the_token():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    driver.perform(driver.steps())
    driver.observe(ExpiryReported(token(1).facts.fingerprint))
    driver.passes(600.0)
    driver.contents["file"] = held(token(2, age=-600.0))
    driver.perform(driver.steps())
    driver.perform(driver.steps())
    driver.observe(ELECTION)
    driver.perform(driver.steps())
    driver.perform(driver.steps())
    assert driver.state.facts == token(2, age=-600.0).facts
    assert driver.until(Mint)[1] == Mint(KEY, Reason.SCHEDULED)


def test_a_standby_adopts_each_token_of_the_leader():
    driver = Driver(ELECTED, held(token(1)))
    assert driver.begin() == [Adopt("file", held(token(1)))]
    driver.passes(2530.0)
    renewed = held(token(2, age=-2520.0))
    driver.contents["file"] = renewed
    driver.perform(driver.steps())
    assert driver.steps() == [Adopt("file", renewed)]
    assert driver.notifications[-2:] == [
        TokenAdopted("file", token(1).facts),
        TokenAdopted("file", renewed.facts),
    ]
    assert status_of(driver.state, driver.policy, driver.now).valid


def test_a_standby_never_mints():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    for _ in range(200):
        driver.passes(30.0)
        steps = driver.steps()
        assert {type(step) for step in steps} <= {Inspect, RaiseAlarm}
        driver.perform(steps)


def test_a_standby_repairs_nothing():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    driver.contents["file"] = Holding()
    for _ in range(3):
        driver.passes(30.0)
        steps = driver.steps()
        assert Write not in {type(step) for step in steps}
        driver.perform(steps)


def test_a_standby_adopts_a_token_of_a_new_key_that_it_has_read():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin(NEW_KEY)
    renewed = held(token(2, key=NEW_KEY))
    driver.contents["file"] = renewed
    driver.passes(30.0)
    driver.perform(driver.steps())
    assert driver.steps() == [Adopt("file", renewed)]
    assert driver.state.proven.key == NEW_KEY


def test_a_former_leader_neither_mints_nor_writes():
    driver = leading()
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]
    driver.observe(LOSS)
    assert driver.minted(token(1)) == []
    driver.passes(3600.0)
    assert {type(step) for step in driver.steps()} <= {Inspect}


def test_a_former_leader_clears_its_write_problems():
    driver = leading(Holding())
    driver.minted(token())
    driver.observe(WriteFailed("file", "no route", roll=1.0))
    assert driver.state.output("file").problem == "no route"
    driver.observe(LOSS)
    after = driver.state.output("file")
    assert (after.problem, after.writes) == (None, Retry())


def test_a_write_that_fails_after_leadership_was_lost_is_not_a_problem():
    """The write hangs as long as the Lease lasts. Its failure would stay in the status of the standby."""
    driver = leading(Holding())
    driver.minted(token())
    driver.observe(LOSS)
    assert driver.observe(WriteFailed("file", "no answer", roll=1.0)) == []
    after = driver.state.output("file")
    assert (after.problem, driver.state.busy_since(after)) == (None, None)


def test_a_former_leader_forgets_a_requested_refresh():
    driver = leading(held(token()))
    driver.observe(RefreshRequested())
    driver.observe(LOSS)
    assert driver.state.requested_reason is None


def test_a_standby_with_an_invalid_new_key_adopts_the_leaders_token_when_elected():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()  # it has adopted a token of KEY
    driver.observe(KeyRead(NEW_KEY))
    driver.contents["file"] = held(token(2, age=-2520.0))
    driver.passes(2520.0)
    driver.perform(driver.steps())
    assert driver.steps() == [Adopt("file", held(token(2, age=-2520.0)))]
    driver.passes(1.0)
    driver.observe(ELECTION)
    driver.perform(driver.steps())
    assert driver.steps() == [
        Adopt("file", held(token(2, age=-2520.0))),
        Mint(NEW_KEY, Reason.KEY_CHANGED),  # proves the new key
    ]
    driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.steps() == []
    assert driver.state.proven.key == KEY


def test_a_former_leader_still_knows_the_tokens_in_the_outputs():
    driver = leading()
    driver.steps()
    driver.perform(driver.minted(token(1)))
    driver.observe(LOSS)
    assert status_of(driver.state, driver.policy, driver.now).valid


def test_a_leader_elected_again_believes_the_outputs_not_its_memory():
    driver = leading()
    driver.steps()
    driver.perform(driver.minted(token(1)))
    driver.observe(LOSS)
    driver.passes(100.0)
    driver.contents["file"] = held(token(2, age=-100.0))
    driver.observe(ELECTION)
    driver.perform(driver.steps())
    assert driver.steps() == [Adopt("file", held(token(2, age=-100.0)))]


def test_a_repeated_election_event_changes_nothing():
    driver = leading()
    driver.steps()
    driver.perform(driver.minted(token(1)))
    before = driver.state
    driver.observe(ELECTION)
    assert driver.state == before


def test_a_standby_ignores_an_operators_request():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    driver.observe(RefreshRequested())
    driver.passes(1.0)
    driver.observe(ELECTION)
    driver.perform(driver.steps())
    assert Mint not in {type(step) for step in driver.steps()}


def test_a_stopping_former_leader_writes_nothing():
    driver = leading()
    driver.steps()
    driver.observe(LOSS)
    driver.observe(Stopping())
    assert driver.minted(token(1)) == []


def test_a_leader_whose_lease_may_have_expired_waits_a_moment_instead_of_minting():
    driver = Driver(ELECTED)
    driver.begin()
    driver.observe(ELECTION)
    driver.observe(Found("file", Holding()))
    driver.observe(DryRunPassed("file"))
    assert next_step(driver.state, ELECTED, driver.now) == Mint(KEY, Reason.FIRST)
    waited = next_step(driver.state, ELECTED, driver.now, may_mint=False)
    assert waited == Wait(driver.now.boot + MOMENT, "finding out which process leads")


def test_a_standby_reports_no_next_refresh():
    driver = Driver(ELECTED, held(token(1)))
    driver.begin()
    assert status_of(driver.state, driver.policy, NOW).next_refresh is None


def test_without_an_election_the_process_leads():
    driver = Driver(policy())
    assert driver.begin() == [Mint(KEY, Reason.FIRST)]
