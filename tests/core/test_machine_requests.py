"""Requests at outputs: a token that was issued before the requested wall time is replaced, once."""

import pytest

from refresher.core.effects import Mint
from refresher.core.events import Found, LeadershipChanged, RefreshPlaced
from refresher.core.model import Holding, Reason
from refresher.core.status import next_attempt
from tests.core.builders import KEY, NOW, UNREACHABLE, Driver, at_work, held, output, policy, token

REQUESTED = Mint(KEY, Reason.REQUESTED)
SCHEDULED = Mint(KEY, Reason.SCHEDULED)
DUE = 2520.0  # seconds: the age at which the schedule replaces a token


def ask(driver: Driver, at: float, name: str = "file") -> None:
    """Place a request that names the wall time `at`."""
    driver.contents[name] = driver.contents[name]._replace(refresh_requested=at)
    driver.observe(RefreshPlaced(name, at))


def asked(at: float, *, after: float = 600.0) -> Driver:
    """A driver whose token of an hour is `after` seconds old, with a request that names NOW + `at`."""
    driver = at_work()
    driver.passes(after)
    driver.steps()
    ask(driver, NOW.wall + at)
    return driver


def test_a_request_replaces_the_token_at_once():
    assert REQUESTED in asked(600.0).steps()


def test_an_inspection_finds_the_request_too():
    driver = at_work()
    driver.passes(600.0)
    holding = held(token(1))._replace(refresh_requested=NOW.wall + 600.0)
    driver.observe(Found("file", holding))
    assert REQUESTED in driver.steps()


def test_the_new_token_fulfils_the_request():
    driver = asked(600.0)
    driver.steps()
    driver.perform(driver.minted(token(2, age=-600.0)))
    assert driver.until(Mint) == (DUE, SCHEDULED)


def test_a_request_before_the_token_was_issued_was_fulfilled_before():
    assert asked(-1.0, after=0.0).until(Mint) == (DUE, SCHEDULED)


def test_the_status_shows_the_request_as_the_next_reason():
    driver = asked(600.0)
    assert next_attempt(driver.state, driver.policy, driver.now) == (Reason.REQUESTED, driver.now.boot)


def test_a_request_for_the_future_waits_for_its_time_and_counts_once():
    driver = asked(1000.0)
    assert driver.until(Mint) == (400.0, REQUESTED)
    driver.perform(driver.minted(token(2, age=-1000.0)))
    assert driver.until(Mint) == (DUE, SCHEDULED)


def test_a_request_beyond_the_schedule_changes_nothing():
    assert asked(1e9).until(Mint) == (DUE - 600.0, SCHEDULED)


@pytest.mark.parametrize(("lifetime", "pause"), [(60.0, 6.0), (300.0, 30.0), (3600.0, 60.0), (86400.0, 60.0)])
def test_requests_without_end_cause_no_storm(lifetime, pause):
    """A tenth of the lifetime, a minute at most: an operator must not wait longer after a leak."""
    driver = at_work(policy(lifetime=lifetime), first=token(1, lifetime=lifetime))
    for number in range(2, 6):
        ask(driver, driver.now.wall + 0.5)
        assert driver.until(Mint) == (pause, REQUESTED)
        age = NOW.boot - driver.now.boot
        driver.perform(driver.minted(token(number, lifetime=lifetime, age=age)))


def test_a_request_survives_a_restart_and_counts_for_the_adopted_token():
    driver = Driver(policy(), held(token(1, age=600.0))._replace(refresh_requested=NOW.wall - 10.0))
    assert REQUESTED in driver.begin()


def test_a_fulfilled_request_stays_fulfilled_when_the_clock_is_set_back():
    driver = asked(600.0)
    driver.steps()
    driver.perform(driver.minted(token(2, age=-600.0)))
    driver.passes(1.0, wall=-3000.0)
    ask(driver, NOW.wall + 600.0)
    assert driver.until(Mint) == (DUE - 1.0, SCHEDULED)
    later = token(3)  # issued before the request, by the clock
    driver.perform(driver.minted(later._replace(facts=later.facts._replace(issued=driver.now))))
    ask(driver, NOW.wall + 600.0)
    assert driver.until(Mint) == (DUE, SCHEDULED)


def test_a_request_does_not_shorten_the_wait_after_a_failure():
    driver = asked(600.0)
    driver.steps()
    driver.declined(UNREACHABLE)
    ask(driver, driver.now.wall)
    assert driver.until(Mint) == (2.0, REQUESTED)


def test_a_repair_of_the_output_does_not_lose_the_request():
    driver = at_work()
    driver.passes(20.0)
    driver.observe(Found("file", Holding(refresh_requested=driver.now.wall)))
    driver.perform(driver.steps())
    assert next_attempt(driver.state, driver.policy, driver.now) == (Reason.REQUESTED, NOW.boot + 60.0)


def test_one_request_at_several_outputs_costs_one_mint():
    driver = at_work(policy(output("a"), output("b")))
    driver.passes(600.0)
    driver.steps()
    ask(driver, driver.now.wall, "a")
    ask(driver, driver.now.wall, "b")
    assert REQUESTED in driver.steps()
    driver.perform(driver.minted(token(2, age=-600.0)))
    assert driver.until(Mint) == (DUE, SCHEDULED)


def test_a_standby_ignores_a_request_and_the_next_leader_obeys_it():
    there = held(token(1, age=600.0))._replace(refresh_requested=NOW.wall - 10.0)
    driver = Driver(policy(elected=True), there)
    assert not [step for step in driver.begin() if isinstance(step, Mint)]
    driver.observe(LeadershipChanged(leads=True))
    assert driver.until(Mint) == (0.0, REQUESTED)


def test_a_request_at_an_output_of_another_process_is_for_that_process():
    driver = at_work(policy(output("a"), output("b")))
    theirs = held(token(1))._replace(refresh_requested=NOW.wall + 600.0)
    driver.passes(600.0)
    driver.steps()
    driver.observe(Found("b", theirs, held="another process writes it"))
    assert next_attempt(driver.state, driver.policy, driver.now) == (Reason.SCHEDULED, NOW.boot + DUE)


def test_a_request_at_an_unknown_output_is_ignored():
    driver = at_work()
    before = driver.state
    driver.observe(RefreshPlaced("gone", NOW.wall + 600.0))
    assert driver.state == before
