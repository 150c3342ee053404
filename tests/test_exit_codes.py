"""Exit codes: the gravest failure counts, 78 before 77 before 73 before 75 (README)."""

from itertools import combinations

import pytest

from refresher import exit_codes
from refresher.core.effects import Mint
from refresher.core.events import (
    InspectFailed,
    KeyRead,
    KeyUnreadable,
    Stopping,
    WriteFailed,
)
from refresher.core.model import Outcome
from tests.core.builders import (
    KEY,
    KEY_REFUSED,
    NEW_KEY,
    SERVER_ERROR,
    UNREACHABLE,
    Driver,
    at_work,
    throttled,
    token,
)

GRAVEST_FIRST = (78, 77, 73, 75)


@pytest.mark.parametrize(("graver", "lesser"), list(combinations(GRAVEST_FIRST, 2)))
def test_the_graver_of_two_failures_counts_in_either_order(graver, lesser):
    assert exit_codes.gravest([graver, lesser]) == exit_codes.gravest([lesser, graver]) == graver


def test_a_configuration_error_is_the_gravest_failure():
    assert exit_codes.gravest(reversed(GRAVEST_FIRST)) == 78


@pytest.mark.parametrize("codes", [(), (0,), (0, 0)])
def test_without_a_failure_the_exit_code_is_0(codes):
    assert exit_codes.gravest(codes) == 0


@pytest.mark.parametrize("code", GRAVEST_FIRST)
def test_a_failure_among_successes_counts(code):
    assert exit_codes.gravest([0, code, 0]) == code


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.OK])
def test_a_refused_key_is_77_and_any_other_failure_of_the_issuer_75(outcome):
    assert exit_codes.of_outcome(outcome) == (77 if outcome is Outcome.KEY_REFUSED else 75)


def well() -> Driver:
    return at_work()


def without_key() -> Driver:
    driver = Driver()
    driver.observe(KeyUnreadable("the key file /k cannot be read: no such file"))
    driver.perform(driver.steps())
    return driver


def key_lost() -> Driver:
    driver = at_work()
    driver.observe(KeyUnreadable("the key file /k cannot be read: no such file"))
    return driver


def declined(why) -> Driver:
    driver = at_work()
    driver.until(Mint)
    driver.declined(why)
    return driver


def candidate_refused() -> Driver:
    driver = at_work()
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    return driver


def unwritten() -> Driver:
    driver = at_work()
    driver.observe(WriteFailed("file", "file: no space left on device", roll=0.0))
    return driver


def unread() -> Driver:
    driver = at_work()
    driver.observe(InspectFailed("file", "file: permission denied"))
    return driver


def beginning() -> Driver:
    return Driver()


def observed_lifetime() -> Driver:
    driver = at_work()
    driver.now += 3600.0
    return driver


@pytest.mark.parametrize(
    ("tokens", "code", "because"),
    [
        ((), 0, "there is nothing to fail"),
        ((well(),), 0, "all is well"),
        ((without_key(),), 78, "there is no key"),
        ((key_lost(),), 78, "a restart would lose the key"),
        ((declined(KEY_REFUSED),), 77, "the key is refused"),
        ((candidate_refused(),), 77, "the new key is refused, though the old one still works"),
        ((declined(UNREACHABLE),), 75, "the issuer cannot be reached"),
        ((declined(SERVER_ERROR),), 75, "the issuer fails"),
        ((declined(throttled(60.0)),), 75, "the issuer asks to wait"),
        ((unwritten(),), 73, "the output cannot be written"),
        ((unread(),), 73, "the output cannot be read"),
        ((well(), declined(UNREACHABLE)), 75, "one of two fails"),
        ((declined(UNREACHABLE), unwritten(), declined(KEY_REFUSED)), 77, "the gravest of several"),
        ((declined(UNREACHABLE), unwritten()), 73, "an output is graver than an outage"),
        ((declined(KEY_REFUSED), without_key()), 78, "a missing key is the gravest"),
    ],
)
def test_the_exit_code_follows_from_the_states(tokens, code, because):
    assert exit_codes.gravest(exit_codes.of_states([each.state], each.now) for each in tokens) == code, (
        because
    )


@pytest.mark.parametrize("tokens", [(beginning(),), (well(), beginning()), (observed_lifetime(),)])
def test_without_a_valid_token_in_each_output_the_exit_code_is_75(tokens):
    assert exit_codes.gravest(exit_codes.of_states([each.state], each.now) for each in tokens) == 75


def test_an_interrupted_pass_is_0_if_the_old_token_is_valid():
    driver = at_work()
    driver.until(Mint)
    driver.observe(Stopping())
    assert driver.minting is not None
    assert exit_codes.of_states([driver.state], driver.now) == 0


def test_the_gravest_failure_of_a_token_counts():
    driver = declined(UNREACHABLE)
    driver.observe(WriteFailed("file", "file: no space left on device", roll=0.0))
    assert exit_codes.of_states([driver.state], driver.now) == 73
    driver.observe(KeyUnreadable("the key file /k is empty"))
    assert exit_codes.of_states([driver.state], driver.now) == 78


def test_solved_failures_do_not_count():
    driver = declined(UNREACHABLE)
    driver.observe(KeyUnreadable("the key file /k is empty"))
    driver.observe(KeyRead(KEY))
    driver.until(Mint)
    steps = driver.minted(token(2, age=-2522.0))
    driver.observe(WriteFailed("file", "file: no space left on device", roll=0.0))
    driver.perform(steps)
    assert exit_codes.of_states([driver.state], driver.now) == 0
