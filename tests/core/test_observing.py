"""How each event changes the state, and which notifications it causes.

The steps that follow are tested in test_machine*.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core import backoff
from refresher.core.disclosure import HIDDEN
from refresher.core.effects import Adopt, Inspect, Mint
from refresher.core.events import (
    ExpiryReported,
    Found,
    InspectFailed,
    KeyRead,
    KeyUnreadable,
    Minted,
    MintFailed,
    RefreshRequested,
    Started,
    Stopping,
    Verified,
    WriteFailed,
    Written,
)
from refresher.core.model import Declined, Holding, Outcome, Reason, SecretStr, Verdict, Verification
from refresher.core.notifications import (
    KeyLoaded,
    KeyProven,
    KeySourceFailed,
    LifetimeShortened,
    OutputDisturbed,
    OutputFailed,
    OutputHeld,
    OutputWritten,
    TokenAdopted,
    TokenMinted,
)
from refresher.core.state import NEVER, Credential, OutputState, Retry
from tests.core.builders import (
    KEY,
    KEY_REFUSED,
    NEW_KEY,
    NOW,
    SERVER_ERROR,
    UNREACHABLE,
    Driver,
    at_work,
    held,
    output,
    policy,
    throttled,
    token,
    write,
)

TWO = policy(output("a"), output("b"))
LATER_KEY = SecretStr("key-3")
GONE = KeyUnreadable("key file /k: no such file")
FULL = "no space left on device"


def inspected_at(*found: Holding) -> Driver:
    """A driver that has a key and has inspected its outputs, and has begun nothing since."""
    driver = Driver(policy(*(output(name) for name in "ab"[: len(found)])), *found)
    driver.observe(KeyRead(KEY))
    for name, holding in zip("ab", found, strict=False):
        driver.observe(Found(name, holding))
    return driver


def changed(before, after) -> set[str]:
    """The names of the fields that differ."""
    return {name for name in before._fields if getattr(before, name) != getattr(after, name)}


def changes_by(driver: Driver, event) -> set[str]:
    """The names of the state's fields that `event` changes."""
    before = driver.state
    driver.observe(event)
    return changed(before, driver.state)


# --- Started.


def test_starting_a_mint_only_puts_it_in_flight():
    driver = inspected_at(Holding())
    assert changes_by(driver, Started(Mint(KEY, Reason.FIRST))) == {"in_flight"}
    assert driver.minting == Mint(KEY, Reason.FIRST)


@pytest.mark.parametrize("step", [write("b", token(), "new"), Inspect("b"), Inspect("b", first=True)])
def test_an_effect_makes_only_its_own_output_busy(step):
    driver = inspected_at(Holding(), Holding())
    before = driver.state
    driver.passes(5.0)
    assert changes_by(driver, Started(step)) == {"in_flight"}
    assert driver.state.outputs == before.outputs
    assert driver.state.busy_since(driver.state.output("a")) is None
    assert driver.state.busy_since(driver.state.output("b")) == driver.now.boot


def test_an_adopted_token_is_in_hand_not_minted_here_and_proves_its_key():
    found = held(token(age=60.0))
    driver = inspected_at(found)
    assert driver.observe(Started(Adopt("a", found))) == [TokenAdopted("a", found.facts)]
    assert (driver.state.facts, driver.state.token, driver.state.minted_here) == (
        found.facts,
        found.token,
        False,
    )
    assert (driver.state.proven, driver.state.candidate) == (Credential(KEY), None)


# --- KeyRead, KeyUnreadable.


def test_a_newer_key_replaces_the_candidate_without_its_failures():
    driver = at_work()
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.observe(KeyRead(LATER_KEY)) == [KeyLoaded(LATER_KEY.fingerprint, changed=True)]
    assert driver.state.candidate == Credential(LATER_KEY)
    assert driver.state.proven == Credential(KEY)


def test_the_same_new_key_read_again_keeps_its_back_off():
    driver = at_work()
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(SERVER_ERROR, NEW_KEY)
    before = driver.state
    assert driver.observe(KeyRead(NEW_KEY)) == []
    assert driver.state == before


def test_a_restored_key_is_tried_at_once_and_keeps_its_last_problem():
    driver = at_work()
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    driver.observe(KeyRead(NEW_KEY))
    driver.observe(KeyRead(KEY))
    proven = driver.state.proven
    assert proven.retry == Retry(1, NEVER, UNREACHABLE, driver.now.boot)


def test_an_unreadable_key_changes_only_the_key_problem():
    driver = at_work()
    driver.observe(KeyRead(NEW_KEY))
    assert changes_by(driver, GONE) == {"key_reads"}
    assert driver.observe(KeyUnreadable("key file /k: permission denied")) == [
        KeySourceFailed("key file /k: permission denied", kept=True)
    ]
    assert changes_by(driver, KeyRead(NEW_KEY)) == {"key_reads"}
    assert driver.state.key_problem is None


# --- Minted.


def test_a_minted_token_is_reported_with_its_reason_and_earlier_failures():
    driver = at_work()
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    driver.until(Mint)
    renewed = token(2, age=-2522.0)
    assert driver.observe(Minted(KEY, renewed, roll=0.0)) == [
        TokenMinted(Reason.SCHEDULED, renewed.facts, failures=1)
    ]
    state = driver.state
    assert (state.facts, state.token, state.minted_here, driver.minting) == (
        renewed.facts,
        renewed,
        True,
        None,
    )
    assert state.proven == Credential(KEY)


def test_a_mint_does_not_change_the_outputs():
    driver = at_work(TWO)
    driver.until(Mint)
    before = driver.state.outputs
    driver.observe(Minted(KEY, token(2, age=-2520.0), roll=0.0))
    assert driver.state.outputs == before


def test_a_mint_in_flight_settles_a_report_made_during_it():
    driver = at_work()
    driver.until(Mint)
    driver.observe(ExpiryReported(token(1).facts.fingerprint))
    driver.observe(Minted(KEY, token(2, age=-2520.0), roll=0.0))
    assert driver.state.requested_reason is None


def test_a_token_of_the_proven_key_leaves_the_candidate_unproven():
    driver = at_work()
    driver.until(Mint)
    driver.observe(KeyRead(NEW_KEY))
    notifications = driver.observe(Minted(KEY, token(2, age=-2520.0), roll=0.0))
    assert not any(isinstance(each, KeyProven) for each in notifications)
    assert (driver.state.proven, driver.state.candidate) == (Credential(KEY), Credential(NEW_KEY))


def test_a_repeated_token_is_a_failure_but_proves_the_key():
    driver = at_work()
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.observe(Minted(NEW_KEY, token(1, key=NEW_KEY), roll=0.0))
    state = driver.state
    assert (state.proven.key, state.proven.retry.failures, state.candidate) == (NEW_KEY, 1, None)
    assert (state.facts, driver.minting) == (token(1).facts, None)


# --- MintFailed.


def test_a_failure_of_the_proven_key_does_not_change_the_candidate():
    driver = at_work()
    driver.until(Mint)
    driver.observe(KeyRead(NEW_KEY))
    assert changes_by(driver, MintFailed(KEY, UNREACHABLE, roll=0.0)) == {"in_flight", "proven"}
    assert driver.state.candidate == Credential(NEW_KEY)


def test_each_key_has_its_own_count_of_failures():
    driver = at_work()
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    before = driver.state.proven
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(SERVER_ERROR, NEW_KEY)
    assert driver.state.proven == before
    assert (driver.state.candidate.retry.failures, driver.state.candidate.retry.problem) == (1, SERVER_ERROR)


def test_a_failure_keeps_the_token_the_outputs_and_the_request():
    driver = at_work()
    driver.passes(1000.0)
    driver.observe(ExpiryReported(token().facts.fingerprint))
    driver.until(Mint)
    assert changes_by(driver, MintFailed(KEY, throttled(30.0), roll=0.0)) == {"in_flight", "proven"}
    assert driver.state.requested_reason is Reason.REPORTED_EXPIRED


@pytest.mark.parametrize("secret", ["access", "refresh_token"])
def test_a_message_is_kept_and_reported_without_the_token_in_hand(secret):
    driver = at_work(first=token(refresh="refresh"))
    driver.until(Mint)
    text = getattr(driver.state.token, secret).reveal()
    driver.declined(Declined(Outcome.SERVER_ERROR, f"500: {text} is unknown", request_id=f"id-{text}"))
    assert driver.state.proven.retry.problem == Declined(Outcome.SERVER_ERROR, f"500: {HIDDEN} is unknown")
    assert text not in repr(driver.notifications)


def test_the_wait_uses_the_random_number_of_the_event():
    waits = []
    for roll in (0.0, 0.5, 1.0):
        driver = at_work()
        driver.until(Mint)
        (failed,) = driver.declined(UNREACHABLE, roll=roll)
        assert driver.state.proven.retry.next_try == driver.now.boot + failed.wait
        waits.append(failed.wait)
    assert waits == [1.0, 1.5, 2.0]


# --- Written, WriteFailed.


def test_a_written_output_counts_as_inspected_and_others_do_not_change():
    driver = inspected_at(Holding(), Holding())
    driver.observe(WriteFailed("b", FULL, roll=1.0))
    before = driver.state.output("a")
    driver.passes(7.0)
    assert driver.observe(Written("b", token())) == [OutputWritten("b", "new", token().facts)]
    assert driver.state.output("b") == OutputState(
        "b",
        holding=Holding(token().facts, None, intact=True),
        published=token().facts.fingerprint,
        inspected_at=driver.now.boot,
        writable=True,
    )
    assert driver.state.output("a") == before


def test_an_output_state_does_not_keep_the_value_of_the_token():
    driver = at_work(TWO)
    assert [each.holding.token for each in driver.state.outputs] == [None, None]


def test_a_failed_write_keeps_the_holding():
    driver = at_work()
    driver.observe(Started(write("file", token(2), "new")))
    before = driver.state.output("file")
    driver.observe(WriteFailed("file", FULL, roll=0.0))
    after = driver.state.output("file")
    assert changed(before, after) == {"writes", "writable"}
    assert (after.writes.failures, after.problem) == (1, FULL)


@pytest.mark.parametrize(
    ("remaining", "wait"),
    [
        (3600.0, backoff.LONGEST_WITHOUT_TOKEN),
        (200.0, 20.0),
        (50.0, 5.0),
        (5.0, 1.0),
        (0.0, backoff.LONGEST_WITHOUT_TOKEN),
    ],
)
def test_a_write_is_retried_sooner_if_consumers_have_less_time(remaining, wait):
    driver = inspected_at(held(token(age=3600.0 - remaining)))
    for _ in range(10):
        driver.observe(WriteFailed("a", FULL, roll=1.0))
    assert driver.state.output("a").writes.next_try - driver.now.boot == pytest.approx(wait)


@pytest.mark.parametrize(
    ("passed", "wall"), [(3600.0, 3600.0), (60.0, 3600.0), (3600.0, 60.0)], ids=["both", "wall", "boot"]
)
def test_a_failed_write_is_reported_without_the_expiry_of_an_expired_token(passed, wall):
    driver = at_work()
    driver.passes(passed, wall=wall)
    assert driver.observe(WriteFailed("file", FULL, roll=0.0)) == [
        OutputFailed("file", FULL, None, writing=True)
    ]


# --- Found, InspectFailed.


def test_the_first_holding_counts_as_published():
    driver = Driver(policy())
    driver.observe(Started(Inspect("file", first=True)))
    driver.passes(3.0)
    assert driver.observe(Found("file", held(token(age=60.0)))) == []
    assert driver.state.output("file") == OutputState(
        "file",
        holding=held(token(age=60.0)),
        published=token().facts.fingerprint,
        inspected_at=driver.now.boot - 3.0,
    )


@pytest.mark.parametrize("found", [Holding(), held(token(), intact=False)], ids=["nothing", "not as written"])
def test_a_first_holding_that_is_not_intact_does_not_count_as_published(found):
    driver = Driver(policy())
    assert driver.observe(Found("file", found)) == []
    assert driver.state.output("file").published is None
    assert driver.observe(Found("file", Holding())) == []  # so it does not count as disturbed


def test_an_inspection_changes_only_its_output():
    driver = at_work(TWO)
    before = driver.state
    assert changes_by(driver, Found("b", Holding())) == {"outputs"}
    assert driver.state.output("a") == before.output("a")


def unwritten() -> Driver:
    """A driver with a second token in hand whose write failed: the output still holds the first one."""
    driver = at_work()
    driver.until(Mint)
    driver.minted(token(2, age=-2520.0))
    driver.observe(WriteFailed("file", FULL, roll=1.0))
    return driver


def test_an_inspection_does_not_clear_a_write_problem():
    driver = unwritten()
    before = driver.state.output("file")
    driver.observe(Found("file", held(token())))
    after = driver.state.output("file")
    assert after.writes == before.writes._replace(failures=1, problem=FULL)


def test_a_failed_write_whose_token_is_found_counts_as_successful():
    driver = unwritten()
    second = token(2, age=-2520.0)
    assert driver.observe(Found("file", held(second))) == [OutputWritten("file", "new", second.facts)]
    after = driver.state.output("file")
    assert (after.problem, after.writes.failures, after.published) == (None, 0, second.facts.fingerprint)
    assert driver.steps() == []
    assert driver.observe(Found("file", held(second))) == []


def test_an_output_that_another_process_writes_is_reported_once():
    driver = at_work()
    taken = Found("file", held(token()), held="process 7 writes it")
    assert driver.observe(taken) == [OutputHeld("file", "process 7 writes it")]
    assert driver.observe(taken) == []


def test_a_readable_output_still_reports_its_write_problem():
    driver = unwritten()
    driver.observe(InspectFailed("file", "permission denied"))
    driver.observe(Found("file", held(token())))
    assert driver.state.output("file").problem == FULL


def test_a_new_read_failure_after_a_recovery_is_reported():
    driver = at_work()
    failed = InspectFailed("file", "permission denied")
    assert len(driver.observe(failed)) == 1
    assert driver.observe(failed) == []
    driver.observe(Found("file", held(token())))
    assert driver.state.output("file").problem is None
    assert len(driver.observe(failed)) == 1


def test_a_different_read_failure_is_reported():
    driver = at_work()
    driver.observe(InspectFailed("file", "permission denied"))
    assert driver.observe(InspectFailed("file", "input/output error")) == [
        OutputFailed("file", "input/output error", None, writing=False)
    ]


def test_an_unreadable_output_counts_as_empty():
    driver = at_work()
    driver.observe(Started(Inspect("file")))
    driver.passes(3.0)
    driver.observe(InspectFailed("file", "permission denied"))
    after = driver.state.output("file")
    assert after.holding == Holding()
    assert after.inspected_at == driver.now.boot - 3.0  # when the inspection began
    assert after.published == token().facts.fingerprint  # so the next write is a repair


def test_an_output_out_of_sight_keeps_its_holding():
    driver = at_work()
    before = driver.state.output("file")
    driver.observe(Started(Inspect("file")))
    driver.passes(3.0)
    assert driver.observe(InspectFailed("file", "no route", out_of_sight=True)) == [
        OutputFailed("file", "no route", token().facts.expiry, writing=False)
    ]
    after = driver.state.output("file")
    assert (after.holding, after.published) == (before.holding, before.published)
    assert after.inspected_at == driver.now.boot - 3.0
    assert (after.problem, after.reads.failures, after.reads.next_try) == (
        "no route",
        1,
        driver.now.boot + 1.0,
    )


def test_the_holding_of_an_output_never_seen_is_unknown():
    driver = Driver(policy())
    driver.observe(InspectFailed("file", "no route", out_of_sight=True))
    assert driver.state.output("file").holding is None
    driver.observe(Found("file", Holding()))
    assert driver.state.output("file").holding == Holding()
    assert driver.state.output("file").reads.failures == 0


def test_retry_after_of_a_backend_is_honoured():
    driver = at_work()
    driver.observe(WriteFailed("file", "429", roll=0.0, retry_after=20.0))
    assert driver.state.output("file").writes.next_try == driver.now.boot + 20.0


def test_an_output_that_stays_empty_is_reported_as_disturbed_once():
    driver = at_work()
    assert driver.observe(Found("file", Holding())) == [OutputDisturbed("file")]
    assert driver.observe(Found("file", Holding())) == []


# --- ExpiryReported, RefreshRequested, Stopping.


@pytest.mark.parametrize("fingerprint", [token(7).facts.fingerprint, "", "nonsense"])
def test_a_report_about_another_token_changes_nothing(fingerprint):
    assert changes_by(at_work(), ExpiryReported(fingerprint)) == set()


def test_a_report_without_a_token_in_hand_changes_nothing():
    assert changes_by(inspected_at(held(token())), ExpiryReported(token().facts.fingerprint)) == set()


def test_a_report_shortens_the_expected_lifetime_of_the_next_token():
    driver = at_work()
    driver.passes(1200.0)
    before = driver.state
    assert driver.observe(ExpiryReported(token().facts.fingerprint)) == [
        LifetimeShortened(token().facts.fingerprint, 1200.0, 1200.0)
    ]
    assert changed(before, driver.state) == {"requested_reason", "observed_lifetime"}
    assert driver.state.requested_reason is Reason.REPORTED_EXPIRED
    driver.minted(token(2, age=-1200.0))
    assert (driver.state.facts.lifetime, driver.state.facts.requested) == (1200.0, 3600.0)


def test_a_repeated_report_changes_nothing():
    driver = at_work()
    driver.passes(1200.0)
    report = ExpiryReported(token().facts.fingerprint)
    assert len(driver.observe(report)) == 1
    driver.passes(10.0)
    assert driver.observe(report) == []
    assert driver.state.observed_lifetime == 1200.0


def test_a_report_at_the_expected_expiry_shortens_nothing():
    driver = at_work()
    driver.passes(3600.0)
    assert driver.observe(ExpiryReported(token().facts.fingerprint)) == []
    assert driver.state.observed_lifetime is None


def test_tokens_that_are_expired_at_birth_cause_no_storm_of_mints():
    """A report may be wrong, so it causes at most ten tokens in a lifetime."""
    driver = inspected_at(Holding())
    driver.policy = driver.policy._replace(verifies=True)
    times = []
    for number in range(2, 12):
        driver.steps()
        assert driver.minting is not None
        times.append(driver.now.boot)
        minted = token(number, age=NOW.boot - driver.now.boot)
        driver.minted(minted)
        driver.observe(Verified(minted.facts.fingerprint, Verification(Verdict.EXPIRED, "403")))
        driver.perform(driver.steps())
        assert driver.state.output("a").published == minted.facts.fingerprint
        assert driver.state.observed_lifetime == 360.0
        driver.until(Mint)
    assert min(later - earlier for earlier, later in pairwise(times)) >= 250.0


def test_reports_in_a_loop_cause_no_more_mints_than_the_schedule_allows():
    """A consumer reports every second whatever token it has: fewer than fifteen mints in an hour."""
    driver = at_work()
    times = [driver.now.boot]
    for _ in range(3 * 3600):
        driver.passes(1.0)
        driver.observe(ExpiryReported(driver.state.facts.fingerprint))
        steps = driver.steps()
        driver.perform([step for step in steps if not isinstance(step, Mint)])
        if driver.state.is_minting:
            times.append(driver.now.boot)
            driver.perform(driver.minted(token(len(times), age=NOW.boot - driver.now.boot)))
    assert len(times) > 3
    assert min(later - earlier for earlier, later in pairwise(times)) >= 250.0


def test_a_report_about_a_short_lived_token_causes_a_mint_sooner():
    driver = at_work(first=token(lifetime=60.0, requested=3600.0))
    driver.observe(ExpiryReported(token().facts.fingerprint))
    assert driver.until(Mint)[0] == pytest.approx(6.0)


def test_an_operators_request_clears_a_report():
    driver = at_work()
    driver.passes(1200.0)
    driver.observe(ExpiryReported(token().facts.fingerprint))
    driver.observe(RefreshRequested())
    assert driver.state.observed_lifetime is None


def test_an_operators_request_takes_precedence_over_a_report():
    driver = at_work()
    driver.observe(RefreshRequested())
    driver.observe(ExpiryReported(token().facts.fingerprint))
    assert driver.state.requested_reason is Reason.REQUESTED
    driver = at_work()
    driver.observe(ExpiryReported(token().facts.fingerprint))
    driver.observe(RefreshRequested())
    assert driver.state.requested_reason is Reason.REQUESTED


def test_an_operators_request_ends_the_waits_of_both_keys_and_keeps_their_failures():
    driver = at_work()
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    driver.observe(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    driver.observe(RefreshRequested())
    credentials = driver.state.proven, driver.state.candidate
    assert [each.retry.next_try for each in credentials] == [NEVER, NEVER]
    assert [each.retry.failures for each in credentials] == [1, 1]
    assert [each.retry.problem for each in credentials] == [UNREACHABLE, KEY_REFUSED]


def test_stopping_changes_only_its_flag():
    driver = at_work()
    assert changes_by(driver, Stopping()) == {"stopping"}


# --- Events in any order, late and repeated.

OUTPUTS = st.sampled_from(("a", "b"))
KEYS = st.sampled_from((KEY, NEW_KEY, LATER_KEY))
TOKENS = st.builds(token, st.integers(1, 4), age=st.floats(-60.0, 4000.0), key=KEYS)
HOLDINGS = st.just(Holding()) | st.builds(held, TOKENS, intact=st.booleans())
REASONS = st.sampled_from(("no space left on device", "permission denied"))
DECLINED = st.sampled_from((UNREACHABLE, SERVER_ERROR, KEY_REFUSED, throttled(60.0)))
ROLLS = st.floats(0.0, 1.0)
EVENTS = st.one_of(
    st.builds(KeyRead, KEYS),
    st.builds(KeyUnreadable, REASONS),
    st.builds(Minted, KEYS, TOKENS, ROLLS),
    st.builds(MintFailed, KEYS, DECLINED, ROLLS),
    st.builds(Written, OUTPUTS, TOKENS),
    st.builds(WriteFailed, OUTPUTS, REASONS, ROLLS),
    st.builds(Found, OUTPUTS, HOLDINGS),
    st.builds(InspectFailed, OUTPUTS, REASONS),
    st.builds(ExpiryReported, st.integers(1, 4).map(lambda number: token(number).facts.fingerprint)),
    st.just(RefreshRequested()),
    st.just(Stopping()),
)
STORIES = st.lists(st.tuples(st.floats(0.0, 2000.0), EVENTS), max_size=30)
SECRETS = [key.reveal() for key in (KEY, NEW_KEY, LATER_KEY)] + ["access-", "refresh-"]


@given(STORIES)
def test_no_order_of_events_raises_an_error_or_shows_a_secret(story):
    driver = Driver(TWO)
    for after, event in story:
        driver.passes(after)
        driver.observe(event)
        driver.steps()
        assert [each.name for each in driver.state.outputs] == ["a", "b"]
        assert (driver.state.token is None) or driver.state.token.facts == driver.state.facts
    shown = f"{driver.notifications} {driver.state}"
    assert not any(secret in shown for secret in SECRETS)


@given(STORIES)
def test_a_key_is_proven_only_by_a_token(story):
    driver = Driver(TWO)
    proven: set[str] = set()
    for after, event in story:
        driver.passes(after)
        driver.observe(event)
        if isinstance(event, Minted):
            proven.add(event.key.fingerprint)
        assert driver.state.proven is None or driver.state.proven.key.fingerprint in proven


def test_a_token_that_an_inspection_finds_again_is_in_memory_once():
    driver = at_work()
    again = token()
    driver.observe(Found("file", Holding(again.facts, again, intact=True)))
    assert driver.state.output("file").holding.token is driver.state.token


def test_a_token_without_its_refresh_token_is_not_taken_for_the_whole_one():
    driver = at_work()
    partial = token()._replace(refresh_token=None)
    driver.observe(Found("file", Holding(partial.facts, partial, intact=True)))
    assert driver.state.output("file").holding.token.refresh_token is None
