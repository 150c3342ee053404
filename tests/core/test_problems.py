"""The problems that the status shows: code, since when, how often, what to do."""

import pytest

from refresher.core.advice import ADVICE, ADVICE_ON, Code
from refresher.core.effects import Inspect, Mint
from refresher.core.events import (
    Found,
    HookEnded,
    InspectFailed,
    KeyRead,
    KeyUnreadable,
    Started,
    WriteFailed,
    Written,
)
from refresher.core.model import Declined, Holding, Outcome
from refresher.core.problems import Problem
from refresher.core.status import status_of
from tests.core.builders import KEY, NOW, Driver, at_work, output, policy, token


def problems(driver: Driver) -> tuple[Problem, ...]:
    return status_of(driver.state, driver.policy, driver.now).problems


def only(driver: Driver) -> Problem:
    (problem,) = problems(driver)
    return problem


@pytest.mark.parametrize("outcome", Outcome)
def test_failed_mints_have_their_outcome_first_time_count_and_advice(outcome):
    driver = at_work()
    driver.until(Mint)
    first = driver.now.wall
    driver.declined(Declined(outcome, "as the issuer says"))
    driver.until(Mint)
    driver.declined(Declined(outcome, "as the issuer says now"))
    assert driver.now.wall > first
    code = "same_token" if outcome is Outcome.OK else outcome.value
    message = f"as the issuer says now (key {KEY.fingerprint})"
    assert only(driver) == Problem(code, message, pytest.approx(first), 2, ADVICE[outcome])


def test_an_unreadable_key_has_the_time_of_its_first_problem_and_no_count():
    driver = at_work()
    driver.observe(KeyUnreadable("key file /k: no such file"))
    driver.passes(60.0)
    driver.observe(KeyUnreadable("key file /k: permission denied"))
    assert only(driver) == Problem(
        "key_unreadable",
        "key file /k: permission denied",
        pytest.approx(NOW.wall),
        None,
        ADVICE_ON[Code.KEY_UNREADABLE],
    )
    driver.observe(KeyRead(KEY))
    assert problems(driver) == ()


def test_failed_writes_are_counted_from_the_first():
    driver = at_work()
    driver.observe(WriteFailed("file", "no space left", roll=1.0))
    driver.passes(60.0)
    driver.observe(WriteFailed("file", "no space left", roll=1.0))
    advice = ADVICE_ON[Code.NOT_WRITTEN]
    assert only(driver) == Problem("not_written", "file: no space left", pytest.approx(NOW.wall), 2, advice)
    driver.observe(Written("file", token()))
    assert problems(driver) == ()


@pytest.mark.parametrize(("out_of_sight", "failures"), [(True, 2), (False, None)])
def test_failed_inspections_keep_the_time_of_the_first(out_of_sight, failures):
    driver = at_work()
    for _ in range(2):
        driver.observe(InspectFailed("file", "no route", out_of_sight))
        driver.passes(60.0)
    advice = ADVICE_ON[Code.NOT_READ]
    assert only(driver) == Problem("not_read", "file: no route", pytest.approx(NOW.wall), failures, advice)


def test_an_output_that_hangs_does_so_since_its_effect_began():
    driver = at_work()
    driver.observe(Started(Inspect("file")))
    driver.passes(60.0)
    message, advice = "file: has not answered for 60 s", ADVICE_ON[Code.HANGS]
    assert only(driver) == Problem("hangs", message, pytest.approx(NOW.wall), None, advice)


@pytest.mark.parametrize(
    ("found", "code", "since"),
    [
        (Holding(), Code.NO_TOKEN, None),
        (Holding(token(age=4000.0).facts, intact=True), Code.EXPIRED, NOW.wall - 400.0),
    ],
)
def test_an_output_without_a_valid_token_has_a_problem_until_it_has_one(found, code, since):
    driver = Driver(policy(output("file")), found)
    driver.perform(driver.steps())
    (problem,) = problems(driver)
    assert (problem.code, problem.since, problem.failures) == (code.value, since, None)
    assert problem.advice == ADVICE_ON[code]


def test_an_output_of_another_process_is_held():
    driver = at_work()
    driver.observe(Found("file", Holding(), held="process 7 writes it"))
    assert only(driver)[:4] == ("held", "file: process 7 writes it", None, None)


def test_failed_runs_of_a_hook_are_counted_from_the_first():
    driver = Driver(policy(output()._replace(has_hook=True)))
    driver.begin()
    driver.perform(driver.minted(token(1)))
    first = driver.now.wall
    driver.observe(HookEnded("file", 1, None, "no such process", roll=1.0))
    driver.passes(5.0)
    driver.observe(HookEnded("file", 1, None, "no such process", roll=1.0))
    message, advice = "file: hook: no such process", ADVICE_ON[Code.HOOK_FAILED]
    assert only(driver) == Problem("hook_failed", message, pytest.approx(first), 2, advice)


def test_every_code_has_advice_and_differs_from_the_outcomes():
    assert set(ADVICE_ON) == set(Code)
    assert set(ADVICE) == set(Outcome)
    assert not {code.value for code in Code} & {outcome.value for outcome in Outcome}
