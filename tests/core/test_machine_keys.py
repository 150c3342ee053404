"""A key that changes is proved before the old one is forgotten; a bad one takes no working one's place."""

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
    assert driver.tell(KeyRead(NEW_KEY)) == [KeyLoaded(NEW_KEY.fingerprint, changed=True)]
    steps = driver.steps()
    assert Mint(NEW_KEY, Reason.KEY_CHANGED) in steps
    driver.perform(steps)
    renewed = token(2, age=-100.0, key=NEW_KEY)
    assert driver.minted(renewed, NEW_KEY) == [write("file", renewed, "new")]
    assert driver.said[-2:] == [
        TokenMinted(Reason.KEY_CHANGED, renewed.facts, failures=0),
        KeyProven(NEW_KEY.fingerprint),
    ]
    driver.perform([write("file", renewed, "new")])
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(NEW_KEY, Reason.SCHEDULED))


def test_a_new_key_is_tried_at_once_although_the_old_one_is_held_off():
    driver = at_work()
    driver.until(Mint)
    driver.declined(KEY_REFUSED)
    assert driver.steps() == []
    driver.tell(KeyRead(NEW_KEY))
    assert driver.steps() == [Mint(NEW_KEY, Reason.KEY_CHANGED)]


def test_a_new_key_replaces_a_first_one_that_was_refused():
    driver = Driver()
    driver.begin()
    driver.declined(KEY_REFUSED)
    driver.tell(KeyRead(NEW_KEY))
    assert driver.steps() == [Mint(NEW_KEY, Reason.FIRST)]


def test_when_a_new_key_is_refused_the_old_one_goes_on():
    driver = at_work()
    driver.tell(KeyRead(NEW_KEY))
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


def test_a_new_key_that_meets_an_outage_does_not_stand_in_the_way_of_the_old_one():
    driver = at_work()
    driver.passes(2519.0)
    driver.perform(driver.steps())
    driver.tell(KeyRead(NEW_KEY))
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


def test_a_key_that_is_put_back_is_used_as_before_and_the_newer_one_forgotten():
    driver = at_work()
    driver.tell(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.tell(KeyRead(KEY)) == [KeyLoaded(KEY.fingerprint, changed=True)]
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(KEY, Reason.SCHEDULED))


def test_a_key_that_is_put_back_is_tried_without_delay():
    driver = at_work()
    driver.until(Mint)
    driver.declined(KEY_REFUSED)
    driver.tell(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    driver.tell(KeyRead(KEY))
    assert driver.steps() == [Mint(KEY, Reason.SCHEDULED)]


def test_how_a_key_fares_that_was_replaced_meanwhile_is_of_no_interest():
    driver = at_work()
    driver.tell(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.tell(KeyRead(LATER_KEY))
    assert driver.declined(KEY_REFUSED, NEW_KEY) == []
    assert driver.steps() == [Mint(LATER_KEY, Reason.KEY_CHANGED)]


def test_a_key_that_changes_during_the_very_first_mint_goes_on_until_the_new_one_is_proved():
    driver = Driver()
    driver.begin()
    driver.tell(KeyRead(NEW_KEY))
    steps = driver.minted(token())
    assert write("file", token(), "new") in steps  # better than nothing
    assert Mint(NEW_KEY, Reason.KEY_CHANGED) in steps
    driver.perform([write("file", token(), "new")])
    driver.declined(KEY_REFUSED, NEW_KEY)
    while driver.until(Mint)[1] == Mint(NEW_KEY, Reason.KEY_CHANGED):
        driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.state.minting == Mint(KEY, Reason.SCHEDULED)  # it has minted: it is the one that works


def test_a_vanished_file_keeps_the_key_in_memory_and_says_so_once():
    driver = at_work()
    assert driver.tell(GONE) == [KeySourceFailed(GONE.message, kept=True)]
    assert driver.tell(GONE) == []
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(KEY, Reason.SCHEDULED))


def test_a_key_that_was_never_readable_is_lost_without_one_kept():
    driver = Driver()
    assert driver.tell(GONE) == [KeySourceFailed(GONE.message, kept=False)]
    assert driver.tell(KeyUnreadable("empty")) == [KeySourceFailed("empty", kept=False)]


def test_a_key_that_comes_back_unchanged_is_announced_and_changes_nothing():
    driver = at_work()
    driver.tell(GONE)
    assert driver.tell(KeyRead(KEY)) == [KeyLoaded(KEY.fingerprint, changed=False)]
    assert driver.tell(KeyRead(KEY)) == []
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(KEY, Reason.SCHEDULED))


def test_a_key_that_comes_back_changed_is_a_new_key():
    driver = at_work()
    driver.tell(GONE)
    assert driver.tell(KeyRead(NEW_KEY)) == [KeyLoaded(NEW_KEY.fingerprint, changed=True)]
    assert driver.until(Mint) == (0.0, Mint(NEW_KEY, Reason.KEY_CHANGED))


def test_the_first_key_is_no_changed_one():
    driver = Driver()
    assert driver.tell(KeyRead(KEY)) == [KeyLoaded(KEY.fingerprint, changed=False)]


def test_a_key_whose_token_is_adopted_has_proven_itself():
    driver = Driver(policy(), held(token()))
    driver.begin()
    driver.tell(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    driver.tell(KeyRead(KEY))
    assert driver.until(Mint) == (pytest.approx(2520.0), Mint(KEY, Reason.SCHEDULED))


def test_a_refused_key_that_is_accepted_again_is_announced():
    driver = at_work()
    driver.until(Mint)
    driver.declined(KEY_REFUSED)
    driver.until(Mint)
    driver.minted(token(2, age=-2820.0))
    assert KeyProven(KEY.fingerprint) in driver.said


def test_an_operator_has_a_refused_new_key_tried_and_then_the_old_one():
    driver = at_work()
    driver.tell(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    driver.tell(RefreshRequested())
    assert driver.steps() == [Mint(NEW_KEY, Reason.KEY_CHANGED)]
    driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.steps() == [Mint(KEY, Reason.REQUESTED)]


def test_a_refusal_stands_until_the_key_is_accepted_whatever_else_fails_meanwhile():
    driver = at_work()
    driver.until(Mint)
    driver.declined(KEY_REFUSED)
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    assert driver.state.newest.is_refused
    driver.until(Mint)
    driver.minted(token(2, age=-2900.0))
    assert not driver.state.newest.is_refused
    assert driver.said.count(KeyProven(KEY.fingerprint)) == 1
