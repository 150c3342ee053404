"""Publishing: no output holds back another, and what somebody disturbs is put right within a minute."""

import pytest

from refresher.core.effects import Inspect, Mint, Wait, Write
from refresher.core.events import (
    InspectFailed,
    RefreshRequested,
    Started,
    WriteFailed,
    Written,
)
from refresher.core.machine import STALLED, next_step
from refresher.core.model import Holding, Reason
from refresher.core.notifications import OutputDisturbed, OutputFailed, OutputWritten
from tests.core.builders import KEY, NOW, UNREACHABLE, Driver, at_work, held, output, policy, token, write

TWO = policy(output("a"), output("b"))
FULL = "b: no space left on device"


def with_b_failing() -> Driver:
    """The first token is minted and written to a; b could not be written."""
    driver = Driver(TWO)
    driver.begin()
    driver.minted(token())
    driver.perform([write("a", token(), "new")])
    driver.tell(WriteFailed("b", FULL, roll=1.0))
    return driver


def test_one_output_failing_holds_back_no_other_and_is_retried_with_the_token_in_hand():
    driver = with_b_failing()
    assert driver.said[-2:] == [
        OutputWritten("a", "new", token().facts),
        OutputFailed("b", FULL, None, writing=True),
    ]
    assert driver.until(Write) == (2.0, write("b", token(), "new"))


def test_a_write_that_hangs_holds_back_no_other():
    driver = at_work(TWO)
    driver.until(Mint)
    driver.minted(token(2, age=-2520.0))
    driver.tell(Written("a", token(2, age=-2520.0)))  # b hangs
    driver.contents["a"] = Holding()
    assert driver.until(Write) == (30.0, write("a", token(2, age=-2520.0), "repair"))


def test_writes_are_retried_after_half_a_minute_at_most_while_a_token_is_in_hand():
    driver = with_b_failing()
    waits = []
    for _ in range(8):
        waits.append(driver.until(Write)[0])
        driver.tell(WriteFailed("b", FULL, roll=1.0))
    assert waits == [2.0, 4.0, 8.0, 16.0] + [30.0] * 4


def test_a_write_that_succeeds_starts_the_waits_anew():
    driver = with_b_failing()
    driver.until(Write)
    driver.perform([write("b", token(), "new")])
    assert driver.state.output("b").problem is None
    assert driver.state.output("b").writes.failures == 0


def test_a_failed_write_says_how_long_the_old_token_lasts():
    driver = at_work()
    driver.until(Mint)
    driver.minted(token(2, age=-2520.0))
    assert driver.tell(WriteFailed("file", FULL, roll=1.0)) == [
        OutputFailed("file", FULL, token(1).facts.expiry, writing=True)
    ]


def test_a_new_token_is_written_where_the_one_before_could_not_be():
    driver = with_b_failing()
    driver.tell(RefreshRequested())
    assert driver.steps() == [Mint(KEY, Reason.REQUESTED)]
    assert driver.minted(token(2)) == [write("a", token(2), "new")]  # b has its own back-off
    driver.perform([write("a", token(2), "new")])
    assert driver.until(Write) == (2.0, write("b", token(2), "new"))


@pytest.mark.parametrize(
    "found",
    [Holding(), held(token(), intact=False), held(token(9, age=7200.0))],
    ids=["deleted", "mode", "older"],
)
def test_what_somebody_disturbs_is_put_right_within_a_minute_and_announced(found):
    driver = at_work()
    driver.passes(29.0)
    driver.contents["file"] = found
    after, step = driver.until(Write)
    assert after <= 31.0
    assert step == write("file", token(), "repair")
    assert driver.said[-1:] == [OutputDisturbed("file")]
    driver.perform([step])
    assert driver.said[-1] == OutputWritten("file", "repair", token().facts)


def test_somebody_elses_token_is_overwritten_and_that_is_a_repair():
    driver = at_work()
    driver.contents["file"] = held(token(7))
    assert driver.until(Write)[1] == write("file", token(), "repair")
    assert driver.said[-1:] == [OutputDisturbed("file")]


def test_a_disturbance_is_announced_once_and_not_at_each_look():
    driver = at_work()
    driver.until(Mint)
    driver.contents["file"] = Holding()
    driver.passes(1080.0)  # the token has expired and no new one comes: there is nothing to put it right with
    for _ in range(3):
        driver.perform(driver.steps())
        driver.passes(30.0)
    assert driver.said.count(OutputDisturbed("file")) == 1


def test_an_undisturbed_output_is_looked_at_every_half_minute_and_not_written():
    driver = at_work()
    for _ in range(5):
        assert driver.until(Inspect) == (30.0, Inspect("file"))
        driver.perform([Inspect("file")])
    assert not any(isinstance(said, OutputDisturbed) for said in driver.said)


def test_an_output_that_cannot_be_read_any_more_is_written():
    driver = at_work()
    driver.until(Inspect)
    assert driver.tell(InspectFailed("file", "file: permission denied")) == [
        OutputFailed("file", "file: permission denied", token().facts.expiry, writing=False)
    ]
    assert driver.steps() == [write("file", token(), "repair")]


def test_an_output_that_stays_unreadable_is_announced_once():
    driver = Driver(policy())
    driver.begin()  # the mint hangs; nothing can be written
    for _ in range(3):
        driver.until(Inspect)
        driver.tell(InspectFailed("file", "file: permission denied"))
    assert driver.said.count(OutputFailed("file", "file: permission denied", None, writing=False)) == 1


def test_a_write_in_flight_is_not_repeated():
    driver = at_work()
    driver.until(Mint)
    assert driver.minted(token(2, age=-2520.0)) == [write("file", token(2, age=-2520.0), "new")]
    driver.passes(300.0)
    assert driver.steps() == []


def test_a_newer_token_follows_when_the_write_in_flight_was_of_an_older_one():
    driver = at_work()
    driver.until(Mint)
    slow = token(2, age=-2520.0)
    driver.minted(slow)
    while driver.until(Mint) and driver.now.boot < NOW.boot + 5040.0:
        driver.declined(UNREACHABLE)
    newer = token(3, age=-5040.0)
    assert driver.minted(newer) == []
    driver.tell(Written("file", slow))
    assert driver.steps() == [write("file", newer, "new")]


def test_of_a_known_token_memory_is_believed_and_not_the_outputs_clock():
    driver = at_work()
    driver.passes(600.0, wall=-3600.0)  # set back: by the wall clock alone it would be issued an hour ahead
    driver.perform(driver.steps())
    assert driver.state.output("file").holding == held(token())
    assert driver.steps() == []


def test_an_issue_in_the_future_is_not_believed():
    driver = Driver(policy(), held(token(age=-60.0)))
    driver.perform(driver.steps())
    assert driver.state.output("file").holding == Holding()


def test_an_output_that_does_not_answer_leaves_no_wait_in_the_past_while_another_is_looked_at():
    """A wait that has ended already would have the engine ask again at once, for ever."""
    driver = Driver(policy(output("hung"), output("slow")))
    driver.tell(Started(Inspect("hung", first=True)))
    driver.passes(STALLED - 1.0)
    driver.tell(Started(Inspect("slow", first=True)))
    driver.passes(2.0)
    step = next_step(driver.state, driver.policy, driver.now)
    assert isinstance(step, Wait)
    assert step.until == pytest.approx(driver.now.boot + STALLED - 2.0)
