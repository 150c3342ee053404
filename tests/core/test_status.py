"""The public status of a token."""

import pytest

from refresher.core import schedule
from refresher.core.effects import Inspect, Mint
from refresher.core.events import (
    ExpiryReported,
    Found,
    InspectFailed,
    KeyRead,
    KeyUnreadable,
    RefreshRequested,
    Started,
    WriteFailed,
    Written,
)
from refresher.core.model import Holding, Reason
from refresher.core.status import OutputStatus, TokenStatus, status_of
from tests.core.builders import (
    KEY,
    KEY_REFUSED,
    NEW_KEY,
    NOW,
    UNREACHABLE,
    Driver,
    at_work,
    held,
    held_opaquely,
    output,
    policy,
    throttled,
    token,
)

TWO = policy(output("a"), output("b"))
FULL = "no space left on device"
NOT_VALID = OutputStatus("file", False, None, None, None, None, None)


def of(driver: Driver):
    return status_of(driver.state, driver.policy, driver.now)


def of_output(driver: Driver, name: str = "file") -> OutputStatus:
    return next(each for each in of(driver).outputs if each.name == name)


def message(status: OutputStatus) -> str | None:
    return status.problem and status.problem.message


def inspected_at(*found: Holding) -> Driver:
    """A driver without a key that has inspected its outputs, like `refresher status`."""
    driver = Driver(policy(*(output(name) for name in "ab"[: len(found)])), *found)
    driver.perform(driver.steps())
    return driver


# --- A healthy token.


def test_the_status_of_a_healthy_token():
    stands = of(at_work())
    assert stands._replace(outputs=()) == TokenStatus(
        name="studio",
        valid=True,
        issued=NOW.wall,
        expires=NOW.wall + 3600.0,
        lifetime=3600.0,
        shortfall=0.0,
        headroom=schedule.headroom(3600.0, 0.7, 0.0, 10.0),
        refresh_due=NOW.wall + 2520.0,
        next_refresh=NOW.wall + 2520.0,
        next_reason=Reason.SCHEDULED,
        key_fingerprint=KEY.fingerprint,
        key_accepted=True,
        token_fingerprint=token().facts.fingerprint,
        problems=(),
        outputs=(),
    )
    assert stands.outputs == (
        OutputStatus(
            name="file",
            valid=True,
            issued=NOW.wall,
            expires=NOW.wall + 3600.0,
            token_fingerprint=token().facts.fingerprint,
            owner=None,
            problem=None,
        ),
    )


def test_the_headroom_uses_the_longest_propagation_delay():
    token_policy = policy(output("a"), output("b", propagation_delay=120.0))
    assert of(Driver(token_policy)).headroom == schedule.headroom(3600.0, 0.7, 120.0, 10.0)


# --- Validity, for each output and for the token.


def test_no_output_is_valid_before_its_inspection():
    driver = Driver()
    assert not of(driver).valid
    assert of_output(driver)._replace(problem=None) == NOT_VALID
    assert message(of_output(driver)) == "not inspected yet"


@pytest.mark.parametrize(
    ("found", "valid", "problem"),
    [
        (held(token(age=60.0)), True, None),
        (held_opaquely(token(age=60.0)), True, None),
        (held(token(age=60.0), intact=False), True, None),  # with another mode it is still valid
        (held(token(age=60.0, key=NEW_KEY)), True, None),  # consumers can use a token of another key
        (held(token(age=3600.0)), False, "its token has expired"),
        (Holding(), False, "holds no token known to be valid"),
        (held(token(age=-60.0)), False, "holds no token known to be valid"),  # issued in the future
    ],
)
def test_an_output_is_valid_if_it_holds_an_unexpired_token(found, valid, problem):
    driver = inspected_at(found)
    assert (of_output(driver, "a").valid, message(of_output(driver, "a"))) == (valid, problem)
    assert of(driver).valid == valid


def test_a_token_is_valid_when_all_its_outputs_are():
    assert of(inspected_at(held(token()), held(token()))).valid
    assert not of(inspected_at(held(token()), Holding())).valid


def test_a_token_in_hand_is_not_valid_before_it_is_written():
    driver = Driver()
    driver.begin()
    driver.minted(token())
    assert not of(driver).valid
    assert of(driver).token_fingerprint == token().facts.fingerprint


def test_an_output_that_holds_the_former_token_is_valid_until_its_expiry():
    driver = at_work()
    driver.until(Mint)
    driver.minted(token(2, age=-2520.0))
    driver.observe(WriteFailed("file", FULL, roll=1.0))
    assert of(driver).valid
    assert of_output(driver)._replace(problem=None) == OutputStatus(
        "file", True, NOW.wall, NOW.wall + 3600.0, token(1).facts.fingerprint, None, None
    )
    assert message(of_output(driver)) == FULL
    assert (of(driver).expires, of(driver).token_fingerprint) == (
        NOW.wall + 6120.0,
        token(2).facts.fingerprint,
    )
    driver.passes(1080.0)
    assert not of(driver).valid
    assert of(driver).problems[-1].message == f"file: {FULL}"


def test_an_unreadable_output_is_not_valid():
    driver = at_work()
    driver.observe(InspectFailed("file", "cannot be read: permission denied"))
    assert of_output(driver)._replace(problem=None) == NOT_VALID
    assert message(of_output(driver)) == "cannot be read: permission denied"


def test_the_shortfall_of_a_lifetime_is_shown():
    driver = inspected_at(held(token(lifetime=600.0, requested=3600.0)))
    driver.steps()
    assert of(driver).shortfall == 3000.0


def test_a_secret_shows_its_owner_before_and_after_a_write():
    driver = Driver(policy(), held(token())._replace(owner="inlive/refresher"))
    driver.begin()
    assert of_output(driver).owner == "inlive/refresher"
    driver.until(Mint)
    driver.perform(driver.minted(token(2, age=-2520.0)))
    assert of_output(driver).token_fingerprint == token(2).facts.fingerprint
    assert of_output(driver).owner == "inlive/refresher"


def test_an_output_out_of_sight_is_valid_until_its_last_seen_token_expires():
    driver = at_work()
    driver.observe(InspectFailed("file", "no route", out_of_sight=True))
    assert of_output(driver).valid
    assert [problem.message for problem in of(driver).problems] == ["file: no route"]
    driver.passes(3600.0)
    assert not of_output(driver).valid


# --- Expiry, by either clock.


@pytest.mark.parametrize(
    ("passed", "wall", "left", "because"),
    [
        (600.0, 600.0, 3000.0, "both clocks agree"),
        (60.0, 3000.0, 600.0, "the wall clock jumped ahead"),
        (3000.0, 0.0, 600.0, "the machine slept and its wall clock does not know yet"),
        (600.0, -7200.0, 3000.0, "the wall clock was set back"),
        (60.0, 3600.0, 0.0, "it has expired by the wall clock"),
        (3600.0, 60.0, 0.0, "it has expired by the boot clock"),
    ],
)
def test_the_shown_expiry_is_by_the_clock_that_saw_more_time_pass(passed, wall, left, because):
    driver = at_work()
    driver.passes(passed, wall=wall)
    assert of(driver).expires == pytest.approx(driver.now.wall + left), because
    assert of_output(driver).expires == pytest.approx(driver.now.wall + left), because
    assert of(driver).valid == (left > 0.0), because


def test_an_expired_token_shows_when_it_expired():
    driver = at_work()
    driver.passes(4000.0)
    assert of(driver).expires == NOW.wall + 3600.0
    assert message(of_output(driver)) == "its token has expired"


# --- Without a token in hand.


def test_without_a_token_and_a_key_all_values_are_unknown():
    stands = of(inspected_at(Holding()))
    assert (stands.issued, stands.expires, stands.token_fingerprint) == (None, None, None)
    assert (stands.next_refresh, stands.next_reason) == (None, None)
    assert (stands.key_fingerprint, stands.key_accepted) == (None, None)


def test_without_a_token_in_hand_the_status_shows_the_published_token_that_expires_first():
    stands = of(inspected_at(held(token(1, age=60.0)), held(token(2, age=600.0))))
    assert stands.token_fingerprint == token(2).facts.fingerprint
    assert (stands.issued, stands.expires) == (NOW.wall - 600.0, NOW.wall + 3000.0)


def test_the_status_shows_the_token_in_hand_before_that_of_an_output():
    driver = at_work()
    driver.observe(Found("file", held(token(9, age=600.0))))
    assert of(driver).token_fingerprint == token(1).facts.fingerprint
    assert of_output(driver).token_fingerprint == token(9).facts.fingerprint


# --- An output that does not answer.


@pytest.mark.parametrize(("seconds", "problem"), [(10.0, None), (10.5, "has not answered for 10 s")])
def test_an_output_that_does_not_answer_for_ten_seconds_has_a_problem(seconds, problem):
    driver = at_work()
    driver.observe(Started(Inspect("file")))
    driver.passes(seconds)
    assert message(of_output(driver)) == problem
    assert of_output(driver).valid  # as far as we know, consumers still have its token


def test_a_stall_takes_precedence_over_an_earlier_failure():
    driver = at_work()
    driver.observe(WriteFailed("file", FULL, roll=1.0))
    driver.observe(Started(Inspect("file")))
    driver.passes(60.0)
    assert message(of_output(driver)) == "has not answered for 60 s"


def test_an_output_that_never_answered_is_not_valid():
    driver = Driver()
    driver.observe(Started(Inspect("file", first=True)))
    assert message(of_output(driver)) == "not inspected yet"
    driver.passes(3600.0)
    assert of_output(driver)._replace(problem=None) == NOT_VALID
    assert message(of_output(driver)) == "has not answered for 3600 s"


# --- The key.


def test_an_untried_key_counts_as_accepted():
    driver = Driver()
    driver.observe(KeyRead(KEY))
    assert (of(driver).key_fingerprint, of(driver).key_accepted) == (KEY.fingerprint, True)


@pytest.mark.parametrize(
    ("declined", "accepted"), [(KEY_REFUSED, False), (UNREACHABLE, True), (throttled(60.0), True)]
)
def test_a_key_is_accepted_unless_the_issuer_refused_it(declined, accepted):
    driver = at_work()
    driver.until(Mint)
    driver.declined(declined)
    assert of(driver).key_accepted == accepted


def test_the_status_shows_the_newest_key():
    driver = at_work()
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    assert (of(driver).key_fingerprint, of(driver).key_accepted) == (NEW_KEY.fingerprint, False)
    driver.observe(KeyRead(KEY))
    assert (of(driver).key_fingerprint, of(driver).key_accepted) == (KEY.fingerprint, True)


# --- Problems.


def test_all_problems_are_listed_the_key_first_and_the_outputs_last():
    driver = at_work(TWO)
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    driver.observe(KeyUnreadable("key file /k: no such file"))
    driver.observe(WriteFailed("b", FULL, roll=1.0))
    driver.observe(WriteFailed("a", "permission denied", roll=1.0))
    assert [(problem.code, problem.message) for problem in of(driver).problems] == [
        ("key_unreadable", "key file /k: no such file"),
        ("key_refused", f"the issuer answered 403 (key {NEW_KEY.fingerprint})"),
        ("unreachable", f"connection refused (key {KEY.fingerprint})"),
        ("not_written", "a: permission denied"),
        ("not_written", f"b: {FULL}"),
    ]


def test_solved_problems_are_not_listed():
    driver = at_work()
    driver.observe(KeyUnreadable("key file /k: no such file"))
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    driver.observe(WriteFailed("file", FULL, roll=1.0))
    assert len(of(driver).problems) == 3
    driver.observe(KeyRead(KEY))
    driver.until(Mint)
    driver.minted(token(2, age=-2522.0))
    driver.observe(Written("file", token(2, age=-2522.0)))
    assert of(driver).problems == ()


# --- The next refresh.


def test_the_next_attempt_after_a_failure_is_shown():
    driver = at_work()
    driver.until(Mint)
    driver.declined(throttled(120.0))
    assert (of(driver).next_refresh, of(driver).next_reason) == (
        pytest.approx(driver.now.wall + 120.0),
        Reason.SCHEDULED,
    )


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (RefreshRequested(), Reason.REQUESTED),
        (KeyRead(NEW_KEY), Reason.KEY_CHANGED),
        (ExpiryReported(token().facts.fingerprint), Reason.REPORTED_EXPIRED),
    ],
)
def test_an_immediate_attempt_is_shown_with_its_reason(event, reason):
    driver = at_work()
    driver.passes(1000.0)
    driver.observe(event)
    assert (of(driver).next_refresh, of(driver).next_reason) == (pytest.approx(driver.now.wall), reason)


def test_the_first_attempt_of_two_keys_is_shown():
    driver = at_work()
    driver.passes(2500.0)
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)  # tried again in five minutes; the old one is due in 20 s
    assert (of(driver).next_refresh, of(driver).next_reason) == (
        pytest.approx(NOW.wall + 2520.0),
        Reason.SCHEDULED,
    )


def test_the_next_refresh_is_a_wall_time_even_after_the_wall_clock_was_set():
    driver = at_work()
    driver.passes(20.0, wall=-7200.0)
    assert of(driver).next_refresh == pytest.approx(driver.now.wall + 2500.0)
