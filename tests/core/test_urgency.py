"""Which token goes first where several wait."""

import pytest

from refresher.core.effects import DryRun, Inspect, Mint, RunHook
from refresher.core.events import WriteFailed
from refresher.core.model import Reason
from refresher.core.urgency import urgency_of
from tests.core.builders import KEY, UNREACHABLE, Driver, at_work, output, policy, token, write

MINT = Mint(KEY, Reason.SCHEDULED)


def urgency(driver: Driver, step=MINT):
    return urgency_of(step, driver.state, driver.policy, driver.now)


def test_a_token_is_as_urgent_as_its_consumers_have_time():
    driver = at_work(policy(output("slow", propagation_delay=120.0), output("fast")))
    driver.passes(600.0)
    assert urgency(driver).valid_until == driver.now.boot + 3600.0 - 600.0 - 120.0


def test_a_token_whose_consumers_have_none_has_no_time_left():
    driver = Driver()
    driver.begin()
    assert urgency(driver).valid_until == driver.now.boot


@pytest.mark.parametrize("first", [write("file", token(2), "new"), DryRun("file")], ids=["write", "dry run"])
@pytest.mark.parametrize("second", [Inspect("file"), MINT], ids=["inspection", "mint"])
def test_what_has_begun_is_finished_first(first, second):
    driver = at_work()
    assert urgency(driver, first).rank < urgency(driver, second).rank


def test_a_write_goes_before_a_dry_run():
    driver = at_work()
    assert urgency(driver, write("file", token(2), "new")).rank < urgency(driver, DryRun("file")).rank


def test_a_mint_has_failed_after_a_failed_mint_and_a_write_after_a_failed_write():
    driver = at_work()
    driver.passes(2520.0)
    driver.steps()
    driver.declined(UNREACHABLE)
    assert urgency(driver).has_failed
    assert not urgency(driver, Inspect("file")).has_failed
    driver.observe(WriteFailed("file", "no space", 1.0))
    assert urgency(driver, Inspect("file")).has_failed


def test_a_hook_has_an_urgency_too():
    driver = at_work()
    assert urgency(driver, RunHook("file", 1)).has_failed is False
