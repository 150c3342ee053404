"""What each event changes, and what it leaves alone.

What the machine then does is told in test_machine*; here is what is kept in mind, announced, and not touched.
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


def looked_at(*found: Holding) -> Driver:
    """A driver that has a key and has looked at its outputs, and has taken up nothing since."""
    driver = Driver(policy(*(output(name) for name in "ab"[: len(found)])), *found)
    driver.tell(KeyRead(KEY))
    for name, holding in zip("ab", found, strict=False):
        driver.tell(Found(name, holding))
    return driver


def changed(before, after) -> set[str]:
    """The names of the fields that differ."""
    return {name for name in before._fields if getattr(before, name) != getattr(after, name)}


def told(driver: Driver, event) -> set[str]:
    """Tell the driver of an event; the names of what it changed in the state."""
    before = driver.state
    driver.tell(event)
    return changed(before, driver.state)


# --- Started.


def test_a_mint_that_is_started_is_in_flight_and_nothing_else_changes():
    driver = looked_at(Holding())
    assert told(driver, Started(Mint(KEY, Reason.FIRST))) == {"in_flight"}
    assert driver.state.minting == Mint(KEY, Reason.FIRST)


@pytest.mark.parametrize("step", [write("b", token(), "new"), Inspect("b"), Inspect("b", first=True)])
def test_a_step_on_an_output_makes_that_one_busy_and_no_other(step):
    driver = looked_at(Holding(), Holding())
    before = driver.state
    driver.passes(5.0)
    assert told(driver, Started(step)) == {"in_flight"}
    assert driver.state.outputs == before.outputs
    assert driver.state.busy_since(driver.state.output("a")) is None
    assert driver.state.busy_since(driver.state.output("b")) == driver.now.boot


def test_what_is_adopted_is_in_hand_but_not_our_own_and_its_key_has_proven_itself():
    found = held(token(age=60.0))
    driver = looked_at(found)
    assert driver.tell(Started(Adopt("a", found))) == [TokenAdopted("a", found.facts)]
    assert (driver.state.facts, driver.state.token, driver.state.minted_here) == (
        found.facts,
        found.token,
        False,
    )
    assert (driver.state.proven, driver.state.candidate) == (Credential(KEY), None)


# --- KeyRead, KeyUnreadable.


def test_a_newer_key_takes_the_place_of_one_not_proven_yet_with_nothing_held_against_it():
    driver = at_work()
    driver.tell(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    assert driver.tell(KeyRead(LATER_KEY)) == [KeyLoaded(LATER_KEY.fingerprint, changed=True)]
    assert driver.state.candidate == Credential(LATER_KEY)
    assert driver.state.proven == Credential(KEY)


def test_the_same_new_key_read_again_keeps_its_back_off():
    driver = at_work()
    driver.tell(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(SERVER_ERROR, NEW_KEY)
    before = driver.state
    assert driver.tell(KeyRead(NEW_KEY)) == []
    assert driver.state == before


def test_a_key_that_is_put_back_is_tried_at_once_but_what_it_failed_of_is_not_forgotten():
    driver = at_work()
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    driver.tell(KeyRead(NEW_KEY))
    driver.tell(KeyRead(KEY))
    proven = driver.state.proven
    assert proven.retry == Retry(1, NEVER, UNREACHABLE)


def test_an_unreadable_key_changes_nothing_but_what_is_known_to_be_wrong():
    driver = at_work()
    driver.tell(KeyRead(NEW_KEY))
    assert told(driver, GONE) == {"key_problem"}
    assert driver.tell(KeyUnreadable("key file /k: permission denied")) == [
        KeySourceFailed("key file /k: permission denied", kept=True)
    ]
    assert told(driver, KeyRead(NEW_KEY)) == {"key_problem"}
    assert driver.state.key_problem is None


# --- Minted.


def test_a_token_is_told_with_why_it_was_asked_for_and_what_failed_before():
    driver = at_work()
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    driver.until(Mint)
    renewed = token(2, age=-2522.0)
    assert driver.tell(Minted(KEY, renewed, roll=0.0)) == [
        TokenMinted(Reason.SCHEDULED, renewed.facts, failures=1)
    ]
    state = driver.state
    assert (state.facts, state.token, state.minted_here, state.minting) == (
        renewed.facts,
        renewed,
        True,
        None,
    )
    assert state.proven == Credential(KEY)


def test_a_mint_does_not_touch_what_is_known_of_the_outputs():
    driver = at_work(TWO)
    driver.until(Mint)
    before = driver.state.outputs
    driver.tell(Minted(KEY, token(2, age=-2520.0), roll=0.0))
    assert driver.state.outputs == before


def test_a_report_that_comes_while_a_mint_is_in_flight_is_done_with_by_that_mint():
    driver = at_work()
    driver.until(Mint)
    driver.tell(ExpiryReported(token(1).facts.fingerprint))
    driver.tell(Minted(KEY, token(2, age=-2520.0), roll=0.0))
    assert driver.state.requested_reason is None


def test_the_proven_keys_token_leaves_a_newer_key_to_be_proved():
    driver = at_work()
    driver.until(Mint)
    driver.tell(KeyRead(NEW_KEY))
    said = driver.tell(Minted(KEY, token(2, age=-2520.0), roll=0.0))
    assert not any(isinstance(each, KeyProven) for each in said)
    assert (driver.state.proven, driver.state.candidate) == (Credential(KEY), Credential(NEW_KEY))


def test_the_same_token_again_is_a_failure_of_a_key_that_is_accepted():
    driver = at_work()
    driver.tell(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.tell(Minted(NEW_KEY, token(1, key=NEW_KEY), roll=0.0))
    state = driver.state
    assert (state.proven.key, state.proven.retry.failures, state.candidate) == (NEW_KEY, 1, None)
    assert (state.facts, state.minting) == (token(1).facts, None)


# --- MintFailed.


def test_a_failure_of_the_proven_key_leaves_a_newer_one_to_be_proved():
    driver = at_work()
    driver.until(Mint)
    driver.tell(KeyRead(NEW_KEY))
    assert told(driver, MintFailed(KEY, UNREACHABLE, roll=0.0)) == {"in_flight", "proven"}
    assert driver.state.candidate == Credential(NEW_KEY)


def test_failures_are_counted_for_each_key_by_itself():
    driver = at_work()
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    before = driver.state.proven
    driver.tell(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(SERVER_ERROR, NEW_KEY)
    assert driver.state.proven == before
    assert (driver.state.candidate.retry.failures, driver.state.candidate.retry.problem) == (1, SERVER_ERROR)


def test_a_failure_leaves_the_token_and_the_outputs_and_what_was_asked_for():
    driver = at_work()
    driver.passes(1000.0)
    driver.tell(ExpiryReported(token().facts.fingerprint))
    driver.until(Mint)
    assert told(driver, MintFailed(KEY, throttled(30.0), roll=0.0)) == {"in_flight", "proven"}
    assert driver.state.requested_reason is Reason.REPORTED_EXPIRED


@pytest.mark.parametrize("secret", ["access", "refresh_token"])
def test_a_message_that_repeats_the_token_in_hand_is_kept_and_told_without_it(secret):
    driver = at_work(first=token(refresh="refresh"))
    driver.until(Mint)
    text = getattr(driver.state.token, secret).reveal()
    driver.declined(Declined(Outcome.SERVER_ERROR, f"500: {text} is unknown"))
    assert driver.state.proven.retry.problem == Declined(Outcome.SERVER_ERROR, f"500: {HIDDEN} is unknown")
    assert text not in repr(driver.said)


def test_chance_is_taken_from_the_event():
    waits = []
    for roll in (0.0, 0.5, 1.0):
        driver = at_work()
        driver.until(Mint)
        (failed,) = driver.declined(UNREACHABLE, roll=roll)
        assert driver.state.proven.retry.next_try == driver.now.boot + failed.wait
        waits.append(failed.wait)
    assert waits == [1.0, 1.5, 2.0]


# --- Written, WriteFailed.


def test_what_was_written_is_known_without_looking_and_next_looked_at_half_a_minute_later():
    driver = looked_at(Holding(), Holding())
    driver.tell(WriteFailed("b", FULL, roll=1.0))
    before = driver.state.output("a")
    driver.passes(7.0)
    assert driver.tell(Written("b", token())) == [OutputWritten("b", "new", token().facts)]
    assert driver.state.output("b") == OutputState(
        "b",
        holding=Holding(token().facts, None, intact=True),
        published=token().facts.fingerprint,
        looked_at=driver.now.boot,
        writable=True,
    )
    assert driver.state.output("a") == before


def test_nobody_keeps_the_value_of_a_token_in_mind_for_each_output():
    driver = at_work(TWO)
    assert [each.holding.token for each in driver.state.outputs] == [None, None]


def test_an_output_that_cannot_be_written_still_holds_what_it_held():
    driver = at_work()
    driver.tell(Started(write("file", token(2), "new")))
    before = driver.state.output("file")
    driver.tell(WriteFailed("file", FULL, roll=0.0))
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
def test_a_write_is_tried_again_the_sooner_the_less_time_is_left_to_consumers(remaining, wait):
    driver = looked_at(held(token(age=3600.0 - remaining)))
    for _ in range(10):
        driver.tell(WriteFailed("a", FULL, roll=1.0))
    assert driver.state.output("a").writes.next_try - driver.now.boot == pytest.approx(wait)


@pytest.mark.parametrize(
    ("passed", "wall"), [(3600.0, 3600.0), (60.0, 3600.0), (3600.0, 60.0)], ids=["both", "wall", "boot"]
)
def test_what_has_expired_by_either_clock_is_no_consolation_for_a_failed_write(passed, wall):
    driver = at_work()
    driver.passes(passed, wall=wall)
    assert driver.tell(WriteFailed("file", FULL, roll=0.0)) == [
        OutputFailed("file", FULL, None, writing=True)
    ]


# --- Found, InspectFailed.


def test_what_is_found_first_is_what_was_published_and_disturbs_nobody():
    driver = Driver(policy())
    driver.tell(Started(Inspect("file", first=True)))
    driver.passes(3.0)
    assert driver.tell(Found("file", held(token(age=60.0)))) == []
    assert driver.state.output("file") == OutputState(
        "file",
        holding=held(token(age=60.0)),
        published=token().facts.fingerprint,
        looked_at=driver.now.boot - 3.0,
    )


@pytest.mark.parametrize("found", [Holding(), held(token(), intact=False)], ids=["nothing", "not as written"])
def test_what_is_not_intact_at_the_first_look_was_published_by_nobody(found):
    driver = Driver(policy())
    assert driver.tell(Found("file", found)) == []
    assert driver.state.output("file").published is None
    assert driver.tell(Found("file", Holding())) == []  # and so it is not missed


def test_looking_changes_nothing_but_that_output():
    driver = at_work(TWO)
    before = driver.state
    assert told(driver, Found("b", Holding())) == {"outputs"}
    assert driver.state.output("a") == before.output("a")


def unwritten() -> Driver:
    """A driver with a second token in hand that could not be written: the first is in place."""
    driver = at_work()
    driver.until(Mint)
    driver.minted(token(2, age=-2520.0))
    driver.tell(WriteFailed("file", FULL, roll=1.0))
    return driver


def test_looking_does_not_mend_what_ails_writing():
    driver = unwritten()
    before = driver.state.output("file")
    driver.tell(Found("file", held(token())))
    after = driver.state.output("file")
    assert after.writes == before.writes._replace(failures=1, problem=FULL)


def test_a_write_whose_answer_was_lost_has_gone_well_when_it_is_seen():
    driver = unwritten()
    second = token(2, age=-2520.0)
    assert driver.tell(Found("file", held(second))) == [OutputWritten("file", "new", second.facts)]
    after = driver.state.output("file")
    assert (after.problem, after.writes.failures, after.published) == (None, 0, second.facts.fingerprint)
    assert driver.steps() == []
    assert driver.tell(Found("file", held(second))) == []


def test_an_output_that_another_process_writes_is_reported_once():
    driver = at_work()
    taken = Found("file", held(token()), held="process 7 writes it")
    assert driver.tell(taken) == [OutputHeld("file", "process 7 writes it")]
    assert driver.tell(taken) == []


def test_an_output_that_can_be_read_again_but_not_written_is_told_of_as_such():
    driver = unwritten()
    driver.tell(InspectFailed("file", "permission denied"))
    driver.tell(Found("file", held(token())))
    assert driver.state.output("file").problem == FULL


def test_an_output_that_can_be_read_again_ails_no_more_and_is_told_of_when_it_fails_anew():
    driver = at_work()
    failed = InspectFailed("file", "permission denied")
    assert len(driver.tell(failed)) == 1
    assert driver.tell(failed) == []
    driver.tell(Found("file", held(token())))
    assert driver.state.output("file").problem is None
    assert len(driver.tell(failed)) == 1


def test_another_reason_why_an_output_cannot_be_read_is_told():
    driver = at_work()
    driver.tell(InspectFailed("file", "permission denied"))
    assert driver.tell(InspectFailed("file", "input/output error")) == [
        OutputFailed("file", "input/output error", None, writing=False)
    ]


def test_an_output_that_cannot_be_read_is_not_relied_on():
    driver = at_work()
    driver.tell(Started(Inspect("file")))
    driver.passes(3.0)
    driver.tell(InspectFailed("file", "permission denied"))
    after = driver.state.output("file")
    assert after.holding == Holding()
    assert after.looked_at == driver.now.boot - 3.0  # as of when it began
    assert after.published == token().facts.fingerprint  # so that writing it again is a repair


def test_an_output_that_is_out_of_sight_is_believed_to_hold_what_it_held():
    driver = at_work()
    before = driver.state.output("file")
    driver.tell(Started(Inspect("file")))
    driver.passes(3.0)
    assert driver.tell(InspectFailed("file", "no route", out_of_sight=True)) == [
        OutputFailed("file", "no route", token().facts.expiry, writing=False)
    ]
    after = driver.state.output("file")
    assert (after.holding, after.published) == (before.holding, before.published)
    assert after.looked_at == driver.now.boot - 3.0
    assert (after.problem, after.reads.failures, after.reads.next_try) == (
        "no route",
        1,
        driver.now.boot + 1.0,
    )


def test_what_an_output_holds_that_was_never_seen_is_unknown_until_it_is():
    driver = Driver(policy())
    driver.tell(InspectFailed("file", "no route", out_of_sight=True))
    assert driver.state.output("file").holding is None
    driver.tell(Found("file", Holding()))
    assert driver.state.output("file").holding == Holding()
    assert driver.state.output("file").reads.failures == 0


def test_whoever_keeps_an_output_is_left_alone_for_as_long_as_asked():
    driver = at_work()
    driver.tell(WriteFailed("file", "429", roll=0.0, retry_after=20.0))
    assert driver.state.output("file").writes.next_try == driver.now.boot + 20.0


def test_an_output_that_comes_back_empty_is_not_said_to_be_disturbed_again():
    driver = at_work()
    assert driver.tell(Found("file", Holding())) == [OutputDisturbed("file")]
    assert driver.tell(Found("file", Holding())) == []


# --- ExpiryReported, RefreshRequested, Stopping.


@pytest.mark.parametrize("fingerprint", [token(7).facts.fingerprint, "", "nonsense"])
def test_a_report_about_another_token_than_the_one_in_hand_changes_nothing(fingerprint):
    assert told(at_work(), ExpiryReported(fingerprint)) == set()


def test_a_report_before_there_is_a_token_changes_nothing():
    assert told(looked_at(held(token())), ExpiryReported(token().facts.fingerprint)) == set()


def test_a_report_is_kept_in_mind_and_shortens_what_is_believed_of_the_next():
    driver = at_work()
    driver.passes(1200.0)
    before = driver.state
    assert driver.tell(ExpiryReported(token().facts.fingerprint)) == [
        LifetimeShortened(token().facts.fingerprint, 1200.0, 1200.0)
    ]
    assert changed(before, driver.state) == {"requested_reason", "observed_lifetime"}
    assert driver.state.requested_reason is Reason.REPORTED_EXPIRED
    driver.minted(token(2, age=-1200.0))
    assert (driver.state.facts.lifetime, driver.state.facts.requested) == (1200.0, 3600.0)


def test_a_report_that_comes_again_is_no_news():
    driver = at_work()
    driver.passes(1200.0)
    report = ExpiryReported(token().facts.fingerprint)
    assert len(driver.tell(report)) == 1
    driver.passes(10.0)
    assert driver.tell(report) == []
    assert driver.state.observed_lifetime == 1200.0


def test_a_report_that_comes_at_its_end_shortens_nothing():
    driver = at_work()
    driver.passes(3600.0)
    assert driver.tell(ExpiryReported(token().facts.fingerprint)) == []
    assert driver.state.observed_lifetime is None


def test_a_token_that_was_born_expired_is_published_and_replaced_but_is_no_storm():
    """Whoever reports may be wrong: no more than ten tokens in a lifetime for that."""
    driver = looked_at(Holding())
    driver.policy = driver.policy._replace(verifies=True)
    times = []
    for number in range(2, 12):
        driver.steps()
        assert driver.state.minting is not None
        times.append(driver.now.boot)
        minted = token(number, age=NOW.boot - driver.now.boot)
        driver.minted(minted)
        driver.tell(Verified(minted.facts.fingerprint, Verification(Verdict.EXPIRED, "403")))
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
        driver.tell(ExpiryReported(driver.state.facts.fingerprint))
        steps = driver.steps()
        driver.perform([step for step in steps if not isinstance(step, Mint)])
        if driver.state.minting:
            times.append(driver.now.boot)
            driver.perform(driver.minted(token(len(times), age=NOW.boot - driver.now.boot)))
    assert len(times) > 3
    assert min(later - earlier for earlier, later in pairwise(times)) >= 250.0


def test_a_report_is_heeded_the_sooner_the_shorter_a_token_says_itself_that_it_lives():
    driver = at_work(first=token(lifetime=60.0, requested=3600.0))
    driver.tell(ExpiryReported(token().facts.fingerprint))
    assert driver.until(Mint)[0] == pytest.approx(6.0)


def test_an_operators_word_makes_a_report_forgotten():
    driver = at_work()
    driver.passes(1200.0)
    driver.tell(ExpiryReported(token().facts.fingerprint))
    driver.tell(RefreshRequested())
    assert driver.state.observed_lifetime is None


def test_an_operators_word_weighs_more_than_a_report():
    driver = at_work()
    driver.tell(RefreshRequested())
    driver.tell(ExpiryReported(token().facts.fingerprint))
    assert driver.state.requested_reason is Reason.REQUESTED
    driver = at_work()
    driver.tell(ExpiryReported(token().facts.fingerprint))
    driver.tell(RefreshRequested())
    assert driver.state.requested_reason is Reason.REQUESTED


def test_an_operators_word_ends_the_waits_of_both_keys_but_forgets_none_of_their_failures():
    driver = at_work()
    driver.until(Mint)
    driver.declined(UNREACHABLE)
    driver.tell(KeyRead(NEW_KEY))
    driver.until(Mint)
    driver.declined(KEY_REFUSED, NEW_KEY)
    driver.tell(RefreshRequested())
    credentials = driver.state.proven, driver.state.candidate
    assert [each.retry.next_try for each in credentials] == [NEVER, NEVER]
    assert [each.retry.failures for each in credentials] == [1, 1]
    assert [each.retry.problem for each in credentials] == [UNREACHABLE, KEY_REFUSED]


def test_stopping_changes_nothing_else():
    driver = at_work()
    assert told(driver, Stopping()) == {"stopping"}


# --- Whatever happens, in whichever order: messages come late, and twice.

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
def test_no_order_of_events_makes_the_rules_stumble_or_a_secret_show(story):
    driver = Driver(TWO)
    for after, event in story:
        driver.passes(after)
        driver.tell(event)
        driver.steps()
        assert [each.name for each in driver.state.outputs] == ["a", "b"]
        assert (driver.state.token is None) or driver.state.token.facts == driver.state.facts
    shown = f"{driver.said} {driver.state}"
    assert not any(secret in shown for secret in SECRETS)


@given(STORIES)
def test_a_key_is_proven_only_by_a_token(story):
    driver = Driver(TWO)
    proven: set[str] = set()
    for after, event in story:
        driver.passes(after)
        driver.tell(event)
        if isinstance(event, Minted):
            proven.add(event.key.fingerprint)
        assert driver.state.proven is None or driver.state.proven.key.fingerprint in proven
