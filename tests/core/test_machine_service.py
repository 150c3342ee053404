"""Hanging effects, outputs that cannot be written, and alarms: no failure stays unnoticed."""

import pytest

from refresher.core.effects import MINT_SLOT, OUTPUT, DryRun, Inspect, Mint, RaiseAlarm, Slot, Wait, Write
from refresher.core.events import (
    DryRunPassed,
    Found,
    InspectFailed,
    KeyRead,
    Late,
    LeadershipChanged,
    Minted,
    MintFailed,
    Stalled,
    WriteFailed,
    Written,
)
from refresher.core.machine import STALLED, UNSERVED, next_step
from refresher.core.model import Holding
from refresher.core.notifications import ConsumersUnserved, OutputFailed, OutputWritten, TokenMinted
from tests.core.builders import (
    KEY,
    NEW_KEY,
    NOW,
    UNREACHABLE,
    Driver,
    at_work,
    held,
    mint_of,
    output,
    policy,
    token,
    write,
)

READ_ONLY = "file: read-only file system"
TWO = policy(output("a"), output("b"))


def trying(token_policy=None, *found: Holding) -> Driver:
    """A driver that has inspected its outputs and has a key. The test plays its dry runs."""
    driver = Driver(token_policy, *found)
    driver.plays_dry_runs = True
    driver.observe(KeyRead(KEY))
    driver.perform(driver.steps())
    return driver


# --- A mint whose token could not be written anywhere.


def test_an_output_without_a_token_gets_a_dry_run_before_the_first_mint():
    driver = trying()
    assert driver.steps() == [DryRun("file")]
    driver.observe(DryRunPassed("file"))
    assert [type(step) for step in driver.steps()] == [Mint]


def test_nothing_is_minted_while_no_output_can_be_written():
    driver = trying()
    for _ in range(50):
        driver.perform(inspections := [step for step in driver.steps() if isinstance(step, Inspect)])
        assert not inspections or driver.steps() == [DryRun("file")]
        (failed,) = driver.observe(WriteFailed("file", READ_ONLY, roll=1.0))
        assert failed == OutputFailed("file", READ_ONLY, None, writing=True)
        driver.passes(30.0)
    driver.perform(driver.steps())
    driver.steps()
    driver.observe(DryRunPassed("file"))
    assert driver.state.output("file").problem is None
    assert [type(step) for step in driver.steps()] == [Mint]


def test_one_writable_output_is_enough_to_mint():
    driver = trying(TWO)
    assert driver.steps() == [DryRun("a"), DryRun("b")]
    driver.observe(WriteFailed("a", READ_ONLY, roll=1.0))
    assert driver.steps() == []
    driver.observe(DryRunPassed("b"))
    assert [type(step) for step in driver.steps()] == [Mint]


def test_no_dry_run_is_needed_while_an_output_holds_a_valid_token():
    driver = trying(None, held(token(1, key=NEW_KEY)))
    assert [type(step) for step in driver.steps()] == [Mint]


def test_no_dry_run_is_made_without_a_key():
    driver = Driver()
    driver.plays_dry_runs = True
    driver.perform(driver.steps())
    assert driver.steps() == []


def test_after_an_unpublished_token_has_expired_a_dry_run_precedes_the_next_mint():
    driver = at_work()
    driver.plays_dry_runs = True
    driver.observe(WriteFailed("file", READ_ONLY, roll=1.0))
    driver.contents["file"] = Holding()
    driver.passes(3600.0)
    driver.perform([step for step in driver.steps() if isinstance(step, Inspect)])
    assert driver.steps() == [DryRun("file")]


# --- Hanging effects.


@pytest.mark.parametrize("writing", [True, False])
def test_a_hanging_effect_is_reported(writing):
    driver = at_work()
    driver.passes(30.0)
    assert driver.steps() == [Inspect("file")]
    driver.passes(STALLED)
    (failed,) = driver.observe(Stalled("file", STALLED, writing))
    assert failed.writing is writing
    assert failed.expiry == token(1).facts.expiry
    assert "does not answer" in failed.message
    assert "10 s" in failed.message
    assert driver.state.output("file").problem == failed.message
    assert driver.state.output("file").writes.failures == int(writing)
    assert driver.state.is_busy  # it may still end


def test_an_effect_that_hangs_past_the_expiry_is_reported_without_a_valid_token():
    driver = at_work()
    driver.passes(3600.0)
    driver.steps()
    (failed,) = driver.observe(Stalled("file", 3600.0, writing=True))
    assert failed.expiry is None


def test_a_stalled_write_that_succeeds_clears_the_problem():
    driver = at_work()
    driver.observe(Stalled("file", STALLED, writing=True))
    driver.observe(Written("file", token(2)))
    assert driver.state.output("file").problem is None


# --- Given-up effects that end after all.


def given_up() -> Driver:
    """A driver whose first mint hung and was given up, and whose second mint is in flight."""
    driver = Driver()
    driver.begin()
    driver.declined(UNREACHABLE)
    driver.passes(10.0)
    mint_of(driver.steps())
    return driver


def test_a_late_token_is_used_and_the_mint_in_flight_continues():
    driver = given_up()
    under_way = driver.state.minting
    notifications = driver.observe(Late(Minted(KEY, token(1), roll=1.0)))
    assert any(isinstance(each, TokenMinted) for each in notifications)
    assert driver.state.minting == under_way
    assert [step for step in driver.steps() if isinstance(step, Write)] == [write("file", token(1), "new")]


def test_a_late_token_does_not_replace_a_fresher_one():
    driver = at_work(first=token(2))
    assert driver.observe(Late(Minted(KEY, token(1, age=60.0), roll=1.0))) == []
    assert driver.state.facts == token(2).facts


def test_a_standby_ignores_a_late_token():
    driver = given_up()
    driver.observe(LeadershipChanged(leads=False))
    assert driver.observe(Late(Minted(KEY, token(1), roll=1.0))) == []
    assert driver.state.facts is None


def test_a_late_failure_is_not_counted_again():
    driver = given_up()
    before = driver.state
    assert driver.observe(Late(MintFailed(KEY, UNREACHABLE, roll=1.0))) == []
    assert driver.state == before


@pytest.mark.parametrize(
    "ended",
    [Written("file", token(1)), WriteFailed("file", READ_ONLY, roll=1.0), InspectFailed("file", READ_ONLY)],
)
def test_an_output_that_answers_late_is_inspected_at_once_and_not_reported_as_disturbed(ended):
    driver = at_work(first=token(2))
    driver.passes(10.0)
    assert driver.observe(Late(ended)) == []
    driver.contents["file"] = held(token(1))  # from the late write
    assert driver.steps() == [Inspect("file")]
    assert driver.observe(_found(driver)) == []
    assert driver.steps() == [write("file", token(2), "new")]
    (written,) = driver.observe(Written("file", token(2)))
    assert isinstance(written, OutputWritten)


def _found(driver: Driver) -> Found:
    return Found("file", driver.contents["file"])


# --- Effects held back because their lane has no room.


def test_only_effects_that_are_not_held_back_begin():
    driver = Driver(TWO)
    driver.observe(KeyRead(KEY))
    assert next_step(driver.state, TWO, NOW, {Slot(OUTPUT, "a")}) == Inspect("b", first=True)
    assert isinstance(next_step(driver.state, TWO, NOW, {Slot(OUTPUT, "a"), Slot(OUTPUT, "b")}), Wait)


def test_an_output_that_waits_for_its_lane_delays_the_mint_without_limit():
    """Waiting for a lane once counted as silence: tokens were minted that an output already held."""
    driver = Driver(TWO)
    driver.observe(KeyRead(KEY))
    driver.perform([step for step in driver.steps() if step == Inspect("a", first=True)])
    driver.state = driver.state.without_flights({driver.state.output("b").slot})
    driver.passes(100 * STALLED)
    assert isinstance(next_step(driver.state, TWO, driver.now, {Slot(OUTPUT, "b")}), Wait)


def test_a_mint_that_waits_for_its_lane_delays_no_inspection():
    driver = at_work()
    driver.passes(3000.0)
    assert next_step(driver.state, driver.policy, driver.now, {MINT_SLOT}) == Inspect("file")


def test_held_back_slots_cause_no_wait_in_the_past():
    driver = at_work()
    driver.passes(3000.0)
    wait = next_step(driver.state, driver.policy, driver.now, {MINT_SLOT, Slot(OUTPUT, "file")})
    assert wait == Wait(float("inf"), "nothing to do")


# --- Alarms of a standby.

ELECTED = policy()._replace(elected=True)


def standing_by(*found: Holding) -> Driver:
    driver = Driver(ELECTED, *found)
    driver.begin()
    return driver


def alarms(driver: Driver) -> list:
    """Inspect again and again for as long as a leader may take. Returns the alarms."""
    driver.notifications.clear()
    for _ in range(int(UNSERVED / 30) + 1):
        driver.passes(30.0)
        driver.perform(driver.steps())
    return [each for each in driver.notifications if isinstance(each, ConsumersUnserved)]


def test_a_standby_raises_the_alarm_when_consumers_have_no_token():
    driver = standing_by(held(token(1, age=3600.0)))
    assert alarms(driver) == [ConsumersUnserved(("file",))]
    assert alarms(driver) == []  # once is enough


def test_a_standby_gives_the_leader_a_minute():
    driver = standing_by(Holding())
    driver.passes(30.0)
    driver.contents["file"] = held(token(1))
    driver.perform(driver.steps())
    assert alarms(driver) == []


def test_a_standby_raises_the_alarm_again_when_consumers_lose_their_token_again():
    driver = standing_by(Holding())
    assert alarms(driver) != []
    driver.contents["file"] = held(token(1))
    assert alarms(driver) == []
    driver.contents["file"] = Holding()
    assert alarms(driver) == [ConsumersUnserved(("file",))]


def test_a_leader_raises_no_alarm():
    driver = standing_by(Holding())
    driver.passes(UNSERVED)
    driver.observe(LeadershipChanged(leads=True))
    assert driver.state.unserved_since is None
    assert not any(isinstance(step, RaiseAlarm) for step in driver.steps())
