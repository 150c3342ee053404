"""Publishing: no output delays another, and a disturbed output is restored within a minute."""

import pytest

from refresher.core.backoff import INSPECT_EVERY, INSPECT_WATCHED
from refresher.core.effects import Inspect, Mint, Wait, Write
from refresher.core.events import (
    Found,
    InspectFailed,
    RefreshRequested,
    Started,
    WatchEnded,
    WriteFailed,
    Written,
)
from refresher.core.machine import STALLED, next_step
from refresher.core.model import Holding, Reason
from refresher.core.notifications import OutputAnswered, OutputDisturbed, OutputFailed, OutputWritten
from tests.core.builders import KEY, NOW, UNREACHABLE, Driver, at_work, held, output, policy, token, write

TWO = policy(output("a"), output("b"))
FULL = "b: no space left on device"


def with_b_failing() -> Driver:
    """A driver whose first token was written to a, while writing b failed."""
    driver = Driver(TWO)
    driver.begin()
    driver.minted(token())
    driver.perform([write("a", token(), "new")])
    driver.observe(WriteFailed("b", FULL, roll=1.0))
    return driver


def test_a_failing_output_delays_no_other_and_is_retried():
    driver = with_b_failing()
    assert driver.notifications[-2:] == [
        OutputWritten("a", "new", token().facts),
        OutputFailed("b", FULL, None, writing=True),
    ]
    assert driver.until(Write) == (2.0, write("b", token(), "new"))


def test_a_hanging_write_delays_no_other():
    driver = at_work(TWO)
    driver.until(Mint)
    driver.minted(token(2, age=-2520.0))
    driver.observe(Written("a", token(2, age=-2520.0)))  # b hangs
    driver.contents["a"] = Holding()
    assert driver.until(Write) == (30.0, write("a", token(2, age=-2520.0), "repair"))


def watched() -> Driver:
    """A driver whose only output is watched since its inspection now."""
    a_day = token(2, lifetime=86400.0)
    driver = at_work(policy(output("file"), lifetime=86400.0), first=a_day)
    driver.contents["file"] = held(a_day)._replace(watched=True)
    _, inspection = driver.until(Inspect)
    driver.perform([inspection])
    return driver


def test_a_watched_output_is_inspected_rarely():
    waits = watched().until(Inspect)[0]
    assert INSPECT_WATCHED / 2 <= waits <= INSPECT_WATCHED


def test_an_output_whose_watch_has_ended_is_inspected_half_a_minute_after_the_last_inspection():
    driver = watched()
    driver.passes(10.0)
    driver.observe(WatchEnded("file"))
    assert driver.until(Inspect)[0] == INSPECT_EVERY - 10.0


def test_an_output_whose_watch_ends_later_is_inspected_at_once():
    driver = watched()
    driver.passes(100.0)
    driver.observe(WatchEnded("file"))
    assert isinstance(next_step(driver.state, driver.policy, driver.now), Inspect)


def test_a_watched_output_that_no_minted_token_reaches_is_inspected_when_its_token_ends():
    """A standby finds out then whether the leader has failed."""
    driver = Driver(policy(output("file"), elected=True), held(token(2, age=3500.0))._replace(watched=True))
    driver.begin()
    assert driver.until(Inspect)[0] == 100.0


def test_writes_are_retried_at_least_every_half_minute():
    driver = with_b_failing()
    waits = []
    for _ in range(8):
        waits.append(driver.until(Write)[0])
        driver.observe(WriteFailed("b", FULL, roll=1.0))
    assert waits == [2.0, 4.0, 8.0, 16.0] + [30.0] * 4


def test_a_successful_write_resets_the_waits():
    driver = with_b_failing()
    driver.until(Write)
    driver.perform([write("b", token(), "new")])
    assert driver.state.output("b").problem is None
    assert driver.state.output("b").writes.failures == 0


def test_a_failed_write_is_reported_with_the_expiry_of_the_old_token():
    driver = at_work()
    driver.until(Mint)
    driver.minted(token(2, age=-2520.0))
    assert driver.observe(WriteFailed("file", FULL, roll=1.0)) == [
        OutputFailed("file", FULL, token(1).facts.expiry, writing=True)
    ]


def test_a_new_token_is_written_to_an_output_that_failed_before():
    driver = with_b_failing()
    driver.observe(RefreshRequested())
    assert driver.steps() == [Mint(KEY, Reason.REQUESTED)]
    assert driver.minted(token(2)) == [write("a", token(2), "new")]  # b has its own back-off
    driver.perform([write("a", token(2), "new")])
    assert driver.until(Write) == (2.0, write("b", token(2), "new"))


@pytest.mark.parametrize(
    "found",
    [Holding(), held(token(), intact=False), held(token(9, age=7200.0))],
    ids=["deleted", "mode", "older"],
)
def test_a_disturbed_output_is_reported_and_restored_within_a_minute(found):
    driver = at_work()
    driver.passes(29.0)
    driver.contents["file"] = found
    after, step = driver.until(Write)
    assert after <= 31.0
    assert step == write("file", token(), "repair")
    assert driver.notifications[-1:] == [OutputDisturbed("file")]
    driver.perform([step])
    assert driver.notifications[-1] == OutputWritten("file", "repair", token().facts)


def test_a_foreign_token_is_overwritten_as_a_repair():
    driver = at_work()
    driver.contents["file"] = held(token(7))
    assert driver.until(Write)[1] == write("file", token(), "repair")
    assert driver.notifications[-1:] == [OutputDisturbed("file")]


def test_a_disturbance_is_reported_once():
    driver = at_work()
    driver.until(Mint)
    driver.contents["file"] = Holding()
    driver.passes(1080.0)  # the token has expired and there is no new one: the output cannot be restored
    for _ in range(3):
        driver.perform(driver.steps())
        driver.passes(30.0)
    assert driver.notifications.count(OutputDisturbed("file")) == 1


def test_an_undisturbed_output_is_inspected_every_half_minute_and_not_written():
    driver = at_work()
    for _ in range(5):
        assert driver.until(Inspect) == (30.0, Inspect("file"))
        driver.perform([Inspect("file")])
    assert not any(isinstance(notification, OutputDisturbed) for notification in driver.notifications)


def test_an_output_that_becomes_unreadable_is_written():
    driver = at_work()
    driver.until(Inspect)
    assert driver.observe(InspectFailed("file", "file: permission denied")) == [
        OutputFailed("file", "file: permission denied", token().facts.expiry, writing=False)
    ]
    assert driver.steps() == [write("file", token(), "repair")]


def test_an_output_that_can_be_read_again_is_reported():
    driver = at_work()
    driver.until(Inspect)
    driver.observe(InspectFailed("file", "file: no answer", out_of_sight=True))
    driver.until(Inspect)
    assert driver.observe(Found("file", held(token()))) == [OutputAnswered("file")]
    driver.until(Inspect)
    assert driver.observe(Found("file", held(token()))) == []


def test_an_output_that_stays_unreadable_is_reported_once():
    driver = Driver(policy())
    driver.begin()  # the mint hangs; nothing can be written
    for _ in range(3):
        driver.until(Inspect)
        driver.observe(InspectFailed("file", "file: permission denied"))
    assert (
        driver.notifications.count(OutputFailed("file", "file: permission denied", None, writing=False)) == 1
    )


def test_a_write_in_flight_is_not_repeated():
    driver = at_work()
    driver.until(Mint)
    assert driver.minted(token(2, age=-2520.0)) == [write("file", token(2, age=-2520.0), "new")]
    driver.passes(300.0)
    assert driver.steps() == []


def test_after_a_slow_write_of_an_older_token_the_newer_one_is_written():
    driver = at_work()
    driver.until(Mint)
    slow = token(2, age=-2520.0)
    driver.minted(slow)
    while driver.until(Mint) and driver.now.boot < NOW.boot + 5040.0:
        driver.declined(UNREACHABLE)
    newer = token(3, age=-5040.0)
    assert driver.minted(newer) == []
    driver.observe(Written("file", slow))
    assert driver.steps() == [write("file", newer, "new")]


def test_for_the_token_in_hand_memory_is_believed_not_the_output():
    driver = at_work()
    driver.passes(600.0, wall=-3600.0)  # by the wall clock alone the token would be issued in the future
    driver.perform(driver.steps())
    assert driver.state.output("file").holding == held(token())
    assert driver.steps() == []


def test_a_token_issued_in_the_future_is_not_believed():
    driver = Driver(policy(), held(token(age=-60.0)))
    driver.perform(driver.steps())
    assert driver.state.output("file").holding == Holding()


def test_an_output_that_does_not_answer_causes_no_wait_in_the_past():
    """A wait that has already ended would make the engine loop without a pause."""
    driver = Driver(policy(output("hung"), output("slow")))
    driver.observe(Started(Inspect("hung", first=True)))
    driver.passes(STALLED - 1.0)
    driver.observe(Started(Inspect("slow", first=True)))
    driver.passes(2.0)
    step = next_step(driver.state, driver.policy, driver.now)
    assert isinstance(step, Wait)
    assert step.until == pytest.approx(driver.now.boot + STALLED - 2.0)
