"""Changing keys: a new key is proven before the old one is forgotten; a bad key replaces no working one."""

import pytest

from refresher.core.effects import Mint
from refresher.core.events import KeyRead, KeyUnreadable, RefreshRequested
from refresher.core.model import Reason
from refresher.core.notifications import KeyLoaded, KeyProven, KeySourceFailed, TokenMinted
from tests.core.builders import (
    KEY,
    KEY_REFUSED,
    NEW_KEY,
    SERVER_ERROR,
    UNREACHABLE,
    Driver,
    at_work,
    held,
    policy,
    token,
    write,
)

LATER_KEY = type(KEY)("key-3")
GONE = KeyUnreadable("key file /k: no such file")


def test_a_new_key_is_tried_at_once_and_its_token_published():
    driver = at_work()
    driver.passes(100.0)
    assert driver.observe(KeyRead(NEW_KEY)) == [KeyLoaded(NEW_KEY.fingerprint, changed=True)]
    steps = driver.steps()
    assert Mint(NEW_KEY, Reason.KEY_CHANGED) in steps
    driver.perform(steps)
    renewed = token(2, age=-100.0, key=NEW_KEY)
    assert driver.minted(renewed, NEW_KEY) == [write("file", renewed, "new")]
    assert driver.notifications[-2:] == [
        TokenMinted(Reason.KEY_CHANGED, renewed.facts, failures=0),
        KeyProven(NEW_KEY.fingerprint),
    ]
    driver.perform([write("file", renewed, "new")])
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(NEW_KEY, Reason.SCHEDULED))


def test_a_new_key_is_tried_at_once_while_the_old_one_backs_off():
    driver = at_work()
    driver.until(Mint)
    driver.declined(KEY_REFUSED)
    assert driver.steps() == []
    driver.observe(KeyRead(NEW_KEY))
    assert driver.steps() == [Mint(NEW_KEY, Reason.KEY_CHANGED)]


def test_a_new_key_replaces_a_refused_first_one():
    driver = Driver()
    driver.begin()
    driver.declined(KEY_REFUSED)
    driver.observe(KeyRead(NEW_KEY))
    assert driver.steps() == [Mint(NEW_KEY, Reason.FIRST)]


def test_after_a_new_key_is_refused_the_old_one_stays_in_use():
    driver = at_work()
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    probes = 0
    while driver.until(Mint)[1] == Mint(NEW_KEY, Reason.KEY_CHANGED):
        probes += 1
        driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.state.minting == Mint(KEY, Reason.SCHEDULED)
    assert probes == 8  # every five minutes of the 42
    renewed = token(2, age=-2520.0)
    assert write("file", renewed, "new") in driver.minted(renewed)
    driver.perform([write("file", renewed, "new")])
    assert driver.until(Mint) == (
        pytest.approx(180.0),
        Mint(NEW_KEY, Reason.KEY_CHANGED),
    )  # 2700: still probed


def test_a_failing_new_key_does_not_delay_the_old_one():
    driver = at_work()
    driver.passes(2519.0)
    driver.perform(driver.steps())
    driver.observe(KeyRead(NEW_KEY))
    assert driver.steps() == [Mint(NEW_KEY, Reason.KEY_CHANGED)]
    driver.declined(SERVER_ERROR, NEW_KEY)
    assert driver.until(Mint) == (
        1.0,
        Mint(KEY, Reason.SCHEDULED),
    )  # due at 2520, while the new one waits 2 s
    driver.declined(UNREACHABLE)
    assert driver.until(Mint) == (1.0, Mint(NEW_KEY, Reason.KEY_CHANGED))
    driver.declined(SERVER_ERROR, NEW_KEY)
    assert driver.until(Mint) == (1.0, Mint(KEY, Reason.SCHEDULED))


def test_a_restored_key_is_used_as_before_and_the_newer_one_is_forgotten():
    driver = at_work()
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.observe(KeyRead(KEY)) == [KeyLoaded(KEY.fingerprint, changed=True)]
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(KEY, Reason.SCHEDULED))


def test_a_restored_key_is_tried_without_delay():
    driver = at_work()
    driver.until(Mint)
    driver.declined(KEY_REFUSED)
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    driver.observe(KeyRead(KEY))
    assert driver.steps() == [Mint(KEY, Reason.SCHEDULED)]


def test_the_failure_of_a_replaced_key_is_ignored():
    driver = at_work()
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.observe(KeyRead(LATER_KEY))
    assert driver.declined(KEY_REFUSED, NEW_KEY) == []
    assert driver.steps() == [Mint(LATER_KEY, Reason.KEY_CHANGED)]


def test_a_key_replaced_during_the_first_mint_stays_in_use_until_the_new_one_is_proven():
    driver = Driver()
    driver.begin()
    driver.observe(KeyRead(NEW_KEY))
    steps = driver.minted(token())
    assert write("file", token(), "new") in steps  # better than nothing
    assert Mint(NEW_KEY, Reason.KEY_CHANGED) in steps
    driver.perform([write("file", token(), "new")])
    driver.declined(KEY_REFUSED, NEW_KEY)
    while driver.until(Mint)[1] == Mint(NEW_KEY, Reason.KEY_CHANGED):
        driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.state.minting == Mint(KEY, Reason.SCHEDULED)  # it has minted, so it works


def test_a_vanished_key_file_is_reported_once_and_its_key_is_kept():
    driver = at_work()
    assert driver.observe(GONE) == [KeySourceFailed(GONE.message, kept=True)]
    assert driver.observe(GONE) == []
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(KEY, Reason.SCHEDULED))


def test_an_unreadable_first_key_is_reported_with_no_key_kept():
    driver = Driver()
    assert driver.observe(GONE) == [KeySourceFailed(GONE.message, kept=False)]
    assert driver.observe(KeyUnreadable("empty")) == [KeySourceFailed("empty", kept=False)]


def test_an_unchanged_key_that_becomes_readable_again_is_reported_and_changes_nothing():
    driver = at_work()
    driver.observe(GONE)
    assert driver.observe(KeyRead(KEY)) == [KeyLoaded(KEY.fingerprint, changed=False)]
    assert driver.observe(KeyRead(KEY)) == []
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(KEY, Reason.SCHEDULED))


def test_a_changed_key_that_becomes_readable_again_is_a_new_key():
    driver = at_work()
    driver.observe(GONE)
    assert driver.observe(KeyRead(NEW_KEY)) == [KeyLoaded(NEW_KEY.fingerprint, changed=True)]
    assert driver.until(Mint) == (0.0, Mint(NEW_KEY, Reason.KEY_CHANGED))


def test_the_first_key_is_not_reported_as_changed():
    driver = Driver()
    assert driver.observe(KeyRead(KEY)) == [KeyLoaded(KEY.fingerprint, changed=False)]


def test_a_key_whose_token_is_adopted_is_proven():
    driver = Driver(policy(), held(token()))
    driver.begin()
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    driver.observe(KeyRead(KEY))
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(KEY, Reason.SCHEDULED))


def test_a_refused_key_that_is_accepted_again_is_reported():
    driver = at_work()
    driver.until(Mint)
    driver.declined(KEY_REFUSED)
    driver.until(Mint)
    driver.minted(token(2, age=-2820.0))
    assert KeyProven(KEY.fingerprint) in driver.notifications


def test_a_request_tries_the_refused_new_key_and_then_the_old_one():
    driver = at_work()
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    driver.observe(RefreshRequested())
    assert driver.steps() == [Mint(NEW_KEY, Reason.KEY_CHANGED)]
    driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.steps() == [Mint(KEY, Reason.REQUESTED)]


def test_a_key_stays_refused_until_it_is_accepted():
    driver = at_work()
    driver.until(Mint)
    driver.declined(KEY_REFUSED)
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    assert driver.state.newest.is_refused
    driver.until(Mint)
    driver.minted(token(2, age=-2900.0))
    assert not driver.state.newest.is_refused
    assert driver.notifications.count(KeyProven(KEY.fingerprint)) == 1
