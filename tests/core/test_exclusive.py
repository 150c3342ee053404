"""An issuer at which a new token ends the old one: no mint may leave a consumer with the old one."""

import pytest

from refresher.core.effects import Adopt, DryRun, Inspect, Mint
from refresher.core.events import DryRunPassed, Found, InspectFailed, KeyRead, RefreshRequested, WriteFailed
from refresher.core.exclusive import REHEARSAL_LASTS
from refresher.core.machine import STALLED
from refresher.core.model import Holding, Reason
from refresher.core.notifications import OutputWritten
from tests.core.builders import (
    KEY,
    NEW_KEY,
    NOW,
    UNREACHABLE,
    Driver,
    at_work,
    held,
    held_opaquely,
    output,
    policy,
    token,
    write,
)

ONE = policy(exclusive=True)
TWO = policy(output("a"), output("b"), exclusive=True)
FULL = "no space left on device"
DUE = 2520.0


class Rehearsing(Driver):
    plays_dry_runs = True


def running(token_policy=TWO) -> Driver:
    """A driver that has just published its first token. Its dry runs are steps."""
    driver = at_work(token_policy)
    driver.plays_dry_runs = True
    return driver


def rehearse(driver, *steps):
    for step in steps:
        driver.observe(DryRunPassed(step.output))
    return driver.steps()


def test_every_output_is_rehearsed_right_before_a_mint():
    driver = running()
    assert driver.until(DryRun)[0] == DUE
    driver.observe(DryRunPassed("a"))
    assert driver.steps() == []  # b is still rehearsed
    assert rehearse(driver, DryRun("b")) == [Mint(KEY, Reason.SCHEDULED)]


def play(driver: Driver, *, b_fails: bool, seconds: float) -> Mint | None:
    """Let time pass until a mint begins. All effects succeed but, if `b_fails`, the dry runs of b."""
    end = driver.now.boot + seconds
    while driver.now.boot < end:
        steps = driver.steps()
        driver.perform(steps)
        for step in steps:
            if isinstance(step, Mint):
                return step
            if step == DryRun("b") and b_fails:
                driver.observe(WriteFailed("b", FULL, roll=1.0))
            elif isinstance(step, DryRun):
                driver.observe(DryRunPassed(step.output))
        if not steps:
            driver.passes(driver.wait.until - driver.now.boot)
    return None


def test_nothing_is_minted_while_an_output_with_a_valid_token_cannot_be_written():
    driver = running()
    assert play(driver, b_fails=True, seconds=3500.0) is None
    assert driver.state.output("b").problem == FULL
    assert play(driver, b_fails=False, seconds=31.0) == Mint(KEY, Reason.SCHEDULED)


def test_an_output_that_cannot_be_written_prevents_no_mint_once_its_token_has_expired():
    driver = at_work(TWO._replace(lifetime=3607.0), first=token(lifetime=3607.0))  # no inspection is due then
    driver.plays_dry_runs = True
    assert play(driver, b_fails=True, seconds=4000.0) == Mint(KEY, Reason.SCHEDULED)
    assert driver.now.boot == pytest.approx(token().facts.issued.boot + 3607.0)


@pytest.mark.parametrize("cause", ["a new key", "a request"])
def test_no_cause_of_a_mint_goes_without_the_rehearsal(cause):
    driver = running(ONE)
    driver.observe(KeyRead(NEW_KEY) if cause == "a new key" else RefreshRequested())
    assert driver.steps() == [DryRun("file")]
    driver.observe(DryRunPassed("file"))
    [mint] = driver.steps()
    assert mint.reason is (Reason.KEY_CHANGED if cause == "a new key" else Reason.REQUESTED)


def test_a_rehearsal_is_repeated_before_a_later_attempt():
    driver = running(ONE)
    driver.until(DryRun)
    assert rehearse(driver, DryRun("file")) == [Mint(KEY, Reason.SCHEDULED)]
    driver.declined(UNREACHABLE)
    driver.passes(REHEARSAL_LASTS / 2)
    assert Mint(KEY, Reason.SCHEDULED) in driver.steps()
    driver.declined(UNREACHABLE)
    driver.passes(REHEARSAL_LASTS)
    assert DryRun("file") in driver.steps()
    assert driver.minting is None


def test_the_first_mint_needs_one_output_that_can_be_written():
    driver = Rehearsing(TWO)
    assert driver.begin() == [DryRun("a"), DryRun("b")]
    driver.observe(WriteFailed("b", FULL, roll=1.0))
    assert rehearse(driver, DryRun("a")) == [Mint(KEY, Reason.FIRST)]


def test_a_token_found_at_the_start_of_another_key_is_at_stake():
    driver = Rehearsing(ONE, held(token(key=NEW_KEY)))
    assert driver.begin() == [DryRun("file")]
    assert rehearse(driver, DryRun("file")) == [Mint(KEY, Reason.KEY_CHANGED)]


def test_there_is_no_jitter():
    late = "f" * 16  # the largest jitter
    issued = token()
    issued = issued._replace(facts=issued.facts._replace(fingerprint=late))
    assert at_work(ONE, first=issued).until(Mint)[0] == DUE
    assert at_work(policy(), first=issued).until(Mint)[0] == pytest.approx(DUE - 360.0)


def minted_while_b_failed() -> Driver:
    driver = at_work(TWO)
    driver.until(Mint)
    driver.minted(token(2, age=-DUE))
    driver.perform([write("a", token(2, age=-DUE), "new")])
    driver.observe(WriteFailed("b", FULL, roll=1.0))
    return driver


def test_an_output_that_still_has_the_old_token_is_without_a_valid_one():
    driver = minted_while_b_failed()
    assert driver.state.output("b").is_without(driver.now)
    driver.observe(Found("b", held(token(1))))
    assert driver.state.output("b").is_without(driver.now)
    assert driver.until(DryRun | Inspect | type(write("b", token(), "new")))[1] == write(
        "b", token(2, age=-DUE), "new"
    )


def test_an_output_without_a_valid_token_prevents_no_mint():
    driver = minted_while_b_failed()
    driver.plays_dry_runs = True
    driver.passes(DUE)
    driver.observe(WriteFailed("b", FULL, roll=1.0))
    assert play(driver, b_fails=True, seconds=1.0) == Mint(KEY, Reason.SCHEDULED)


def test_an_output_that_hangs_from_the_start_prevents_no_first_mint():
    driver = Driver(TWO)
    driver.observe(KeyRead(KEY))
    driver.perform([step for step in driver.steps() if step.output == "a"])
    driver.passes(STALLED)
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]


def test_the_token_issued_last_is_adopted_and_replaces_the_others():
    old = held(token(1, age=100.0))
    driver = Driver(TWO, held(token(2, age=50.0, lifetime=600.0, requested=3600.0)), old)
    steps = driver.begin()
    newest = token(2, age=50.0, lifetime=600.0, requested=3600.0)
    assert steps == [Adopt("a", held(newest)), write("b", newest, "new")]


def test_an_older_token_is_replaced_also_if_it_would_live_longer():
    driver = Driver(TWO, held_opaquely(token(2, age=50.0)), held(token(1, age=100.0)))
    driver.begin()
    assert driver.state.output("b").is_without(driver.now)


def test_another_process_that_owns_an_output_mints():
    driver = Driver(TWO)
    driver.observe(KeyRead(KEY))
    assert driver.steps() == [Inspect("a", first=True), Inspect("b", first=True)]
    driver.observe(Found("a", Holding(), held="process 7 owns it"))
    driver.observe(Found("b", Holding()))
    assert driver.steps() == []
    assert driver.minting is None
    for number in (1, 2):
        driver.passes(30.0)
        assert Inspect("a", first=True) in driver.steps()
        theirs = token(number, age=-driver.now.boot + NOW.boot)
        driver.observe(Found("b", driver.contents["b"]))
        driver.observe(Found("a", held(theirs), held="process 7 owns it"))
        assert driver.steps() == [Adopt("a", held(theirs)), write("b", theirs, "new")]
        driver.perform([write("b", theirs, "new")])


def test_a_failed_dry_run_is_reported_until_one_passes():
    driver = running(TWO)
    driver.until(DryRun)
    driver.observe(DryRunPassed("a"))
    driver.observe(WriteFailed("b", FULL, roll=1.0))
    notified = driver.observe(Found("b", held(token(1))))
    assert driver.state.output("b").problem == FULL
    assert not any(isinstance(each, OutputWritten) for each in notified)
    assert play(driver, b_fails=False, seconds=31.0) == Mint(KEY, Reason.SCHEDULED)
    assert driver.state.output("b").problem is None


def test_a_failed_dry_run_is_repeated_although_no_mint_is_due_any_more():
    driver = running(ONE)
    driver.observe(KeyRead(NEW_KEY))
    assert driver.steps() == [DryRun("file")]
    driver.observe(WriteFailed("file", FULL, roll=1.0))
    driver.observe(KeyRead(KEY))
    assert driver.until(DryRun)[0] < 60.0  # a mint is due much later
    driver.observe(DryRunPassed("file"))
    assert driver.state.output("file").problem is None
    assert DryRun("file") not in driver.steps()


def test_an_unreadable_output_may_still_have_readers_and_is_rehearsed():
    driver = running(ONE)
    driver.until(DryRun)
    driver.observe(InspectFailed("file", "cannot be read: Input/output error", out_of_sight=False))
    assert not driver.state.output("file").is_without(driver.now)
    assert driver.steps() == [write("file", token(1), "repair")]
    assert driver.minting is None
