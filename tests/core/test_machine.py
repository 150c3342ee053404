"""The steps of the machine when nothing fails: starting, adopting, minting when due, stopping.

Keys are in test_machine_keys, failures of the issuer in test_machine_issuer, outputs in test_machine_outputs,
the invariants in tests/simulation.
"""

import pytest

from refresher.core.effects import Adopt, Inspect, Mint, Wait
from refresher.core.events import (
    ExpiryReported,
    Found,
    InspectFailed,
    KeyRead,
    RefreshRequested,
    Stopping,
)
from refresher.core.instant import Instant
from refresher.core.model import Holding, Reason
from tests.core.builders import (
    KEY,
    NEW_KEY,
    NOW,
    OTHER_ISSUER_URL,
    UNREACHABLE,
    Driver,
    at_work,
    held,
    held_opaquely,
    held_without_refresh,
    output,
    policy,
    token,
    write,
)

TWO = policy(output("a"), output("b"))
WITH_SDK = policy(output("file"), output("sdk", includes_refresh_token=True))


# --- Starting.


def test_every_output_is_inspected_first():
    driver = Driver(TWO)
    driver.observe(KeyRead(KEY))
    assert driver.steps() == [Inspect("a", first=True), Inspect("b", first=True)]
    driver.observe(Found("a", Holding()))
    assert driver.steps() == []  # b may hold a token that saves the mint


def test_the_first_start_mints_and_then_writes_every_output():
    driver = Driver(TWO)
    assert driver.begin() == [Mint(KEY, Reason.FIRST)]
    assert driver.minted(token()) == [write("a", token(), "new"), write("b", token(), "new")]


def test_without_a_key_nothing_is_minted():
    driver = Driver()
    driver.perform(driver.steps())
    assert driver.steps() == []
    driver.observe(KeyRead(KEY))
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]


def test_an_output_that_hangs_at_first_delays_nothing_longer_than_ten_seconds():
    driver = Driver(TWO)
    driver.observe(KeyRead(KEY))
    driver.steps()
    driver.observe(Found("a", Holding()))
    driver.passes(9.9)
    assert driver.steps() == []
    assert driver.wait.until == NOW.boot + 10.0
    driver.passes(0.1)
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]
    assert driver.minted(token()) == [write("a", token(), "new")]
    driver.observe(Found("b", held(token(2, age=60.0))))  # it answers at last: too late to be adopted
    assert driver.steps() == [write("b", token(), "new")]


def test_outputs_that_hang_together_cause_one_wait():
    """Until one output was inspected, nothing is minted: it could not be written, and may not be needed."""
    driver = Driver(TWO)
    driver.observe(KeyRead(KEY))
    driver.steps()
    driver.passes(10.0)
    assert driver.steps() == []
    driver.observe(Found("b", Holding()))
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]


def test_an_unreadable_output_at_first_delays_no_other():
    driver = Driver(TWO, Holding())
    driver.observe(KeyRead(KEY))
    driver.steps()
    driver.observe(InspectFailed("b", "b: permission denied"))
    driver.observe(Found("a", held(token(age=60.0))))
    assert driver.steps() == [Adopt("a", held(token(age=60.0))), write("b", token(age=60.0), "new")]


def out_of_sight(output: str) -> InspectFailed:
    return InspectFailed(output, f"{output}: connection refused", out_of_sight=True)


def test_nothing_is_minted_while_every_output_is_out_of_sight():
    """A restart while the API server is unreachable must not mint: all tokens may still be published."""
    driver = Driver(TWO)
    driver.observe(KeyRead(KEY))
    driver.steps()
    driver.observe(out_of_sight("a"))
    driver.observe(out_of_sight("b"))
    for _ in range(20):
        inspections = driver.steps()
        assert all(isinstance(inspection, Inspect) for inspection in inspections)
        for inspection in inspections:
            driver.observe(out_of_sight(inspection.output))
        assert driver.steps() == []
        driver.passes(driver.wait.until - driver.now.boot)
    assert driver.now.boot - NOW.boot > 60.0
    driver.perform(driver.steps())
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]


def test_an_output_out_of_sight_delays_no_other():
    driver = Driver(TWO)
    driver.observe(KeyRead(KEY))
    driver.steps()
    driver.observe(out_of_sight("b"))
    driver.observe(Found("a", Holding()))
    assert driver.steps() == [Mint(KEY, Reason.FIRST)]
    assert driver.minted(token()) == [write("a", token(), "new")]  # b may hold a better one


@pytest.mark.parametrize(
    ("later", "steps"),
    [(held(token(2, age=60.0)), []), (Holding(), [write("b", token(), "new")])],
    ids=["another's good token", "nothing"],
)
def test_an_output_that_comes_into_sight_gets_a_missing_token(later, steps):
    driver = Driver(TWO, held(token()))
    driver.observe(KeyRead(KEY))
    driver.steps()
    driver.observe(out_of_sight("b"))
    driver.observe(Found("a", held(token(age=120.0))))
    assert driver.steps() == [Adopt("a", held(token(age=120.0)))]
    driver.passes(1.0)
    assert driver.steps() == [Inspect("b", first=True)]
    driver.observe(Found("b", later))
    assert driver.steps() == [each._replace(token=token(age=120.0)) for each in steps]


def test_an_output_out_of_sight_is_inspected_soon_and_then_less_often():
    driver = Driver(policy())
    driver.perform(driver.steps())
    waits = []
    for _ in range(7):
        driver.passes(9.0)  # the inspection took so long; the wait starts at its end
        driver.observe(out_of_sight("file"))
        driver.steps()
        waits.append(driver.wait.until - driver.now.boot)
        driver.passes(waits[-1])
        assert driver.steps() == [Inspect("file", first=True)]  # what a killed process left is not forgotten
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


# --- Adopting.


def test_a_valid_token_is_adopted_and_written_to_the_other_output():
    kept = held(token(age=1000.0))
    driver = Driver(TWO, kept)
    assert driver.begin() == [Adopt("a", kept), write("b", token(age=1000.0), "new")]
    driver.perform([write("b", token(age=1000.0), "new")])
    assert driver.until(Mint) == (1520.0, Mint(KEY, Reason.SCHEDULED))


def test_a_token_is_adopted_if_the_key_comes_after_the_inspection():
    driver = Driver(policy(), held(token(age=60.0)))
    driver.perform(driver.steps())
    assert driver.steps() == []
    driver.observe(KeyRead(KEY))
    assert driver.steps() == [Adopt("file", held(token(age=60.0)))]


def test_an_adopted_token_that_is_due_is_replaced_at_once():
    driver = Driver(policy(), held(token(age=2600.0)))
    assert driver.begin() == [Adopt("file", held(token(age=2600.0))), Mint(KEY, Reason.SCHEDULED)]


def test_a_token_whose_value_cannot_be_read_back_is_adopted_until_it_is_due():
    driver = Driver(policy(), held_opaquely(token(age=1000.0)))
    assert driver.begin() == [Adopt("file", held_opaquely(token(age=1000.0)))]
    assert driver.until(Mint) == (1520.0, Mint(KEY, Reason.SCHEDULED))


def test_an_output_that_needs_an_unknown_value_causes_a_mint_at_once():
    driver = Driver(TWO, held_opaquely(token(1, age=1000.0)))
    assert driver.begin() == [Adopt("a", held_opaquely(token(1, age=1000.0))), Mint(KEY, Reason.FIRST)]
    assert driver.minted(token(2)) == [write("a", token(2), "new"), write("b", token(2), "new")]


def test_a_deleted_template_output_causes_a_mint():
    driver = Driver(policy(), held_opaquely(token(1, age=1000.0)))
    driver.begin()
    driver.contents["file"] = Holding()
    after, mint = driver.until(Mint)
    assert after <= 60.0
    assert mint == Mint(KEY, Reason.FIRST)


def test_an_output_that_needs_an_unknown_refresh_token_causes_a_mint_at_once():
    driver = Driver(WITH_SDK, held_without_refresh(token(1, age=60.0)))
    assert driver.begin() == [
        Adopt("file", held_without_refresh(token(1, age=60.0))),
        Mint(KEY, Reason.FIRST),
    ]
    assert driver.minted(token(2)) == [write("file", token(2), "new"), write("sdk", token(2), "new")]


def test_no_refresh_token_is_needed_if_none_was_issued():
    driver = Driver(WITH_SDK, held(token(age=60.0, refresh=None)))
    assert driver.begin()[1:] == [write("sdk", token(age=60.0, refresh=None), "new")]


def test_an_output_that_already_holds_the_refresh_token_causes_no_mint():
    driver = Driver(WITH_SDK, held_without_refresh(token(age=60.0)), held(token(age=60.0)))
    assert [type(step) for step in driver.begin()] == [Adopt]


@pytest.mark.parametrize(
    ("token_policy", "adopted"),
    [
        (TWO, held_opaquely(token(2, age=0.0))),
        (
            policy(output("a"), output("b", includes_refresh_token=True)),
            held_without_refresh(token(2, age=0.0)),
        ),
    ],
    ids=["its value", "its refresh token"],
)
def test_an_older_token_that_the_adopted_one_cannot_replace_is_replaced_before_it_expires(
    token_policy, adopted
):
    """The process was killed between two writes: the second output still holds the former token. Its
    consumers need a valid token at all times (invariant 1), but the adopted one cannot be written there."""
    driver = Driver(token_policy, adopted, held(token(1, age=2520.0)))
    driver.observe(KeyRead(KEY))
    after, _ = driver.until(Mint)
    assert after <= 3600.0 - 2520.0 - 60.0  # a minute is kept for retries


def test_an_adopted_token_does_not_overwrite_one_that_lives_longer():
    longer = held(token(2, age=60.0, lifetime=7200.0))  # requested with another lifetime: not adoptable
    driver = Driver(TWO, held(token(1, age=60.0)), longer)
    assert driver.begin() == [Adopt("a", held(token(1, age=60.0)))]


# --- A valid token that cannot be adopted stays until the next one is in hand.


@pytest.mark.parametrize(
    ("found", "reason", "because"),
    [
        ((held(token(1, age=60.0, key=NEW_KEY)),), Reason.KEY_CHANGED, "a valid token of another key"),
        ((held_opaquely(token(1, age=60.0, key=NEW_KEY)),), Reason.KEY_CHANGED, "the same in a template"),
        ((held(token(1, age=3600.0, key=NEW_KEY)),), Reason.FIRST, "an expired token of another key"),
        (
            (held(token(1, age=60.0, lifetime=7200.0)),),
            Reason.FIRST,
            "the key is the same, the lifetime is not",
        ),
        ((held(token(1, age=60.0, issuer=OTHER_ISSUER_URL)),), Reason.FIRST, "another issuer, the same key"),
        (
            (held(token(1, age=60.0, lifetime=7200.0)), held(token(2, age=3600.0, key=NEW_KEY))),
            Reason.FIRST,
            "the valid token is of this key, and the token of another key has expired",
        ),
    ],
)
def test_the_reason_of_the_first_mint_shows_whether_it_replaces_a_token_of_another_key(
    found, reason, because
):
    driver = Driver(TWO if len(found) == 2 else policy(), *found)
    assert driver.begin() == [Mint(KEY, reason)], because


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (token(1, age=60.0, key=NEW_KEY), Reason.KEY_CHANGED),
        (token(1, age=60.0, issuer=OTHER_ISSUER_URL), Reason.FIRST),
    ],
    ids=["key", "issuer"],
)
def test_a_valid_token_of_another_key_or_issuer_stays_until_a_mint_succeeds(there, reason):
    driver = Driver(policy(), held(there))
    driver.begin()
    driver.declined(UNREACHABLE)
    assert driver.steps() == []
    assert driver.state.output("file").holding.remaining(driver.now) == 3540.0
    assert driver.until(Mint)[1] == Mint(KEY, reason)
    assert driver.minted(token(2)) == [write("file", token(2), "new")]


# --- When a token is due (schedule), by both clocks.


@pytest.mark.parametrize(
    ("token_policy", "after"),
    [
        (policy(), 2520.0),
        (policy(output(propagation_delay=120.0)), 2520.0),
        (policy(output(propagation_delay=120.0), lifetime=600.0), 420.0),
        (
            policy(output("a"), output("b", propagation_delay=200.0), lifetime=600.0),
            340.0,
        ),  # the longest delay counts
        (policy(refresh_at=0.5), 1800.0),
        (policy(lifetime=10.0), 5.0),
    ],
)
def test_a_token_is_replaced_when_it_is_due(token_policy, after):
    driver = at_work(token_policy, first=token(lifetime=token_policy.lifetime))
    assert driver.until(Mint) == (pytest.approx(after), Mint(KEY, Reason.SCHEDULED))


def test_a_token_that_lives_shorter_than_requested_is_due_by_its_own_lifetime():
    driver = at_work(first=token(lifetime=1000.0, requested=3600.0))
    assert driver.until(Mint)[0] == pytest.approx(700.0)


def test_a_token_due_within_the_horizon_is_minted_now():
    every_ten_minutes = policy(horizon=600.0)
    assert Driver(every_ten_minutes, held(token(age=1919.0))).begin()[1:] == []
    assert Driver(every_ten_minutes, held(token(age=1920.0))).begin()[1:] == [Mint(KEY, Reason.SCHEDULED)]


def test_no_horizon_replaces_a_token_younger_than_a_tenth_of_its_lifetime():
    once_an_hour = policy(horizon=3500.0)
    assert Driver(once_an_hour, held(token(age=359.0))).begin()[1:] == []
    assert Driver(once_an_hour, held(token(age=360.0))).begin()[1:] == [Mint(KEY, Reason.SCHEDULED)]


@pytest.mark.parametrize(
    ("seconds", "wall", "because"),
    [
        (2520.0, 2520.0, "both clocks agree"),
        (60.0, 2520.0, "the wall clock jumped ahead"),
        (2520.0, -3600.0, "the wall clock was set back, which makes no token younger"),
        (2520.0, 30.0, "the machine slept, and its wall clock does not know yet"),
    ],
)
def test_a_token_is_due_by_either_clock(seconds, wall, because):
    driver = at_work()
    driver.passes(seconds, wall=wall)
    assert Mint(KEY, Reason.SCHEDULED) in driver.steps(), because


@pytest.mark.parametrize("now", [Instant(3600.0, 60.0), Instant(60.0, 3600.0), Instant(-60.0, 3600.0)])
def test_a_token_that_has_expired_by_either_clock_is_not_written(now):
    driver = at_work()
    driver.passes(now.boot, wall=now.wall)
    driver.contents["file"] = Holding()
    driver.perform(driver.steps())
    assert driver.steps() == []
    assert driver.minting == Mint(KEY, Reason.SCHEDULED)


def test_only_one_mint_is_in_flight():
    driver = at_work()
    driver.passes(2520.0)
    assert Mint(KEY, Reason.SCHEDULED) in driver.steps()
    driver.passes(600.0)
    driver.observe(RefreshRequested())
    driver.observe(KeyRead(NEW_KEY))
    assert not any(isinstance(step, Mint) for step in driver.steps())


# --- Requested: by a consumer that reports an expiry, by an operator.


@pytest.mark.parametrize(("age", "after"), [(0.0, 360.0), (100.0, 260.0), (360.0, 0.0), (1000.0, 0.0)])
def test_a_reported_expiry_causes_a_mint_after_a_tenth_of_the_lifetime(age, after):
    driver = at_work()
    driver.passes(age)
    driver.observe(ExpiryReported(token().facts.fingerprint))
    assert driver.until(Mint) == (pytest.approx(after), Mint(KEY, Reason.REPORTED_EXPIRED))


def test_a_new_token_settles_the_report():
    driver = at_work()
    driver.passes(1000.0)
    driver.observe(ExpiryReported(token(1).facts.fingerprint))
    driver.until(Mint)
    renewed = token(2, age=-1000.0)
    driver.perform(driver.minted(renewed))
    driver.observe(ExpiryReported(token(1).facts.fingerprint))  # a consumer that still has the old one
    # Its expected lifetime is at most that of the former token, and it is replaced at 70 % of that.
    assert driver.until(Mint) == (pytest.approx(700.0), Mint(KEY, Reason.SCHEDULED))


@pytest.mark.parametrize("age", [0.0, 5.0, 2000.0])
def test_an_operator_gets_a_new_token_at_once(age):
    driver = at_work()
    driver.passes(age)
    driver.observe(RefreshRequested())
    assert Mint(KEY, Reason.REQUESTED) in driver.steps()
    assert driver.state.output("file").holding.remaining(driver.now) > 0  # the old one stays until then


def test_a_request_before_the_first_mint_causes_one_mint():
    driver = Driver()
    driver.observe(RefreshRequested())
    assert driver.begin() == [Mint(KEY, Reason.REQUESTED)]
    driver.perform(driver.minted(token()))
    assert driver.until(Mint)[0] == pytest.approx(2520.0)


def test_a_request_during_a_mint_causes_another_mint():
    driver = at_work()
    driver.until(Mint)
    driver.observe(RefreshRequested())
    driver.observe(RefreshRequested())
    assert driver.steps() == []
    assert Mint(KEY, Reason.REQUESTED) in driver.minted(token(2, age=-2520.0))
    driver.perform(driver.minted(token(3, age=-2520.0)))
    assert driver.until(Mint)[0] == pytest.approx(2520.0)


def test_after_a_failed_mint_the_next_one_serves_the_operators_request():
    driver = at_work()
    driver.until(Mint)
    driver.observe(RefreshRequested())
    driver.declined(UNREACHABLE)
    assert driver.until(Mint) == (2.0, Mint(KEY, Reason.REQUESTED))
    driver.perform(driver.minted(token(2, age=-2522.0)))
    assert driver.until(Mint)[1] == Mint(KEY, Reason.SCHEDULED)


def test_an_operator_gets_a_new_token_despite_a_valid_adopted_one():
    driver = Driver(policy(), held(token(age=60.0)))
    driver.observe(RefreshRequested())
    assert driver.begin() == [Adopt("file", held(token(age=60.0))), Mint(KEY, Reason.REQUESTED)]


# --- Stopping.


def test_a_stopping_process_neither_mints_nor_inspects():
    driver = at_work()
    driver.passes(3000.0)
    driver.observe(RefreshRequested())
    driver.observe(Stopping())
    assert driver.steps() == []
    assert driver.wait.until == float("inf")


def test_a_process_that_stops_before_its_first_inspection_does_nothing():
    driver = Driver()
    driver.observe(KeyRead(KEY))
    driver.observe(Stopping())
    assert driver.steps() == []


def test_a_token_that_arrives_while_stopping_is_still_written():
    driver = at_work(TWO)
    driver.until(Mint)
    driver.observe(Stopping())
    renewed = token(2, age=-2520.0)
    assert driver.minted(renewed) == [write("a", renewed, "new"), write("b", renewed, "new")]
    driver.perform([write("a", renewed, "new"), write("b", renewed, "new")])
    assert driver.steps() == []
    assert driver.wait == Wait(float("inf"), "nothing to do")
