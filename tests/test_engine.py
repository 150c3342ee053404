"""The loop: several tokens at once, what keeps it alive, how it sleeps, and how it ends."""

import sys
import threading
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest

from refresher import exit_codes
from refresher.core.backoff import INSPECT_WATCHED
from refresher.core.effects import MINT_SLOT
from refresher.core.events import (
    LeadershipChanged,
    Minted,
    MintFailed,
    RefreshRequested,
)
from refresher.core.instant import Instant
from refresher.core.machine import STALLED
from refresher.core.model import Declined, Outcome, SecretStr
from refresher.core.notifications import (
    Hanging,
    IssuerAnswered,
    Notification,
    OutputAnswered,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    TokenMinted,
)
from refresher.core.process_notifications import Crashed, RequestIgnored
from refresher.core.state import State
from refresher.engine import GRACE, KEY_POLL, SLICE
from refresher.executor import GIVE_UP, LIMITS, MINT_GRACE, POLLS
from refresher.lanes import TIMING_OUT, WEDGED
from refresher.ports import Message
from tests.core.builders import token as new_token
from tests.simulation.site import HOUR, STOP, Output, Site

ERRAND = 0.1  # seconds; an effect takes less than this, unless a test makes it slower


# --- Several tokens


def test_several_tokens_are_minted_at_once_and_each_in_its_own_time():
    site = Site("a", "b", "c", takes=1.0).runs(1.5)
    assert [site.minted(name) for name in "abc"] == [1, 1, 1]  # not one after another


LIVES, LONG = 600.0, 3 * HOUR  # how long tokens live where a test needs many mints, and how long it runs
MANY = LONG // LIVES  # the mints that an undisturbed token needs at least


@cache
def with_trouble(trouble: Callable[[Site], None]) -> tuple[Site, list[int]]:
    """Three tokens of which b has this trouble, and how often each was minted. Only to be looked at."""
    site = Site("a", "b", "c", lifetime=LIVES)
    trouble(site)
    site.runs(LONG)
    return site, [site.minted(name) for name in "abc"]


def undisturbed(_site: Site) -> None:
    """No trouble at all."""


def without_key(site: Site) -> None:
    site.keys["b"].content = None


def with_refused_key(site: Site) -> None:
    site.keys["b"].content = "a key that is refused"


def with_broken_output(site: Site) -> None:
    site.outputs["b"].broken = True


@pytest.mark.parametrize("trouble", [without_key, with_refused_key, with_broken_output])
def test_the_trouble_of_one_is_none_of_the_others(trouble):
    _, expected = with_trouble(undisturbed)
    site, minted = with_trouble(trouble)
    assert expected[0] >= MANY
    assert abs(minted[0] - expected[0]) <= 1  # as often; the jitter falls otherwise
    assert abs(minted[2] - expected[2]) <= 1
    assert site.outputs["a"].content is not None
    assert site.outputs["b"].content is None


def test_a_hanging_output_of_one_is_none_of_the_others():
    site = Site("a", "b", hanging=["output of b"], lifetime=LIVES).runs(LONG)
    assert site.minted("a") >= MANY
    assert site.outputs["a"].content is not None


def test_a_letter_for_all_is_for_each_of_them():
    site = Site("a", "b")
    site.post(60.0, Message(None, RefreshRequested()))
    site.runs(120.0)
    assert (site.minted("a"), site.minted("b")) == (2, 2)


def test_a_letter_for_one_is_for_no_other():
    site = Site("a", "b")
    site.post(60.0, Message("b", RefreshRequested()))
    site.runs(120.0)
    assert (site.minted("a"), site.minted("b")) == (1, 2)


def test_what_concerns_the_whole_process_is_told_once_and_changes_nothing():
    site = Site("a", "b")
    site.post(60.0, Message(None, None, (RequestIgnored("not yet"),)))
    site.runs(120.0)
    ((_, token, _),) = [entry for entry in site.memory.entries if isinstance(entry[2], RequestIgnored)]
    assert token == ""
    assert (site.minted("a"), site.minted("b")) == (1, 1)


def test_what_is_said_with_an_event_is_told_before_what_follows_from_it():
    site = Site("a").runs(60.0)
    kinds = [type(said) for _, _, said in site.memory.entries]
    assert kinds.index(IssuerAnswered) < kinds.index(TokenMinted) < kinds.index(OutputWritten)


# --- What keeps it alive


def with_a_mistake_of_ours(site: Site) -> None:
    """A policy that the configuration would never let through: the rules do not know what to make of it."""
    managed = site.managed_tokens["b"]
    site.managed_tokens["b"] = managed._replace(policy=managed.policy._replace(refresh_at="soon"))


def test_a_mistake_in_the_rules_of_one_token_is_reported_and_the_others_live_on():
    site, minted = with_trouble(with_a_mistake_of_ours)
    crashes = site.memory.of(Crashed)
    assert crashes
    assert {name for _, name, said in site.memory.entries if isinstance(said, Crashed)} == {"b"}
    assert minted[0] >= MANY
    assert minted[2] >= MANY


def test_a_mistake_that_repeats_itself_is_no_storm():
    site, _ = with_trouble(with_a_mistake_of_ours)
    assert len(site.memory.of(Crashed)) <= 2 * LONG / SLICE + 2  # the alarm's, and a look's


class MistakenOutput(Output):
    """One of our own, with a mistake in it."""

    def inspect(self, now):
        raise RuntimeError("nobody has foreseen this")


def test_a_mistake_in_an_output_is_reported_and_the_token_gets_to_the_others():
    site = Site("a")
    good = site.outputs["a"]
    site.give("a", MistakenOutput(site.process, "mistaken"), good)
    site.runs(HOUR)
    assert good.content is not None
    assert all(said.what == "Inspect" for _, said in site.memory.of(Crashed))
    assert site.memory.of(Crashed)


@pytest.mark.parametrize(
    "answer",
    [Minted(SecretStr("key"), None, roll=0.0), MintFailed(SecretStr("key"), None, roll=0.0)],
    ids=["minted", "failed"],
)
def test_an_answer_that_cannot_be_understood_is_not_waited_for_for_ever(answer):
    site = Site("a", hanging=["issuer"])
    site.at(5.0, site.hang)
    site.post(10.0, Message("a", answer))
    site.runs(60.0)
    assert len(site.memory.of(Crashed)) == 1
    assert site.outputs["a"].content is not None


# --- How it sleeps


def test_no_sleep_is_longer_than_a_slice():
    """Clocks jump and machines are suspended, and nobody tells us."""
    names = [f"token-{number}" for number in range(POLLS)]
    site = Site(*names, hanging=["keys"], lifetime=24 * HOUR)
    for name in names:
        site.keys[name].lane = f"key:{name}"  # so all polls hang, and no poll ends a sleep
    site.runs(HOUR / 2)
    assert SLICE - ERRAND < max(site.mailbox.sleeps) <= SLICE


def test_a_wall_clock_that_jumps_is_noticed_within_a_slice():
    site = Site("a", lifetime=24 * HOUR)
    site.outputs["a"].watched = True  # so no inspection wakes the token

    def jump() -> None:
        site.machine.wall_ahead += 48 * HOUR

    site.at(HOUR, jump)
    site.runs(2 * HOUR)
    (first, _), (second, _) = site.memory.of(TokenMinted)
    assert first - site.began < 1.0
    assert HOUR <= second - site.began <= HOUR + SLICE + ERRAND


def inspected_after(site: Site, seconds: float) -> int:
    """How often the output of `a` was called from then on, in the hour that the site runs."""
    before = []
    site.at(seconds, lambda: before.append(site.outputs["a"].calls))
    site.runs(HOUR)
    return site.outputs["a"].calls - before[0]


def test_an_output_whose_changes_are_reported_is_inspected_rarely():
    site = Site("a", lifetime=24 * HOUR)
    site.outputs["a"].watched = True
    assert HOUR / INSPECT_WATCHED - 1 <= inspected_after(site, 60.0) <= 2 * HOUR / INSPECT_WATCHED + 1


def test_a_change_of_a_watched_output_is_noticed_within_half_a_minute():
    site = Site("a", lifetime=24 * HOUR)
    output = site.outputs["a"]
    output.watched = True

    def alter() -> None:
        output.content, output.altered = None, True

    site.at(100.0, alter)
    site.runs(HOUR)
    _, (restored, _) = output.written
    assert restored - site.began <= 100.0 + SLICE


def test_an_output_that_cannot_be_compared_because_of_a_bug_is_inspected_as_often_as_others():
    site = Site("a", lifetime=24 * HOUR)
    output = site.outputs["a"]
    output.watched, output.has_changed = True, lambda: 1 / 0
    assert inspected_after(site, 60.0) >= (HOUR - 60.0) / SLICE - 2
    assert site.memory.of(Crashed)


def test_a_stop_does_not_wait_for_messages_that_keep_coming():
    site = Site("a")

    class Echo:
        """Each notification posts a message with another one."""

        def on_notification(self, token, notification, now):
            site.mailbox.post(Message("a", None, (RequestIgnored("again"),)))

    def stop() -> None:
        site.observers.append(Echo())
        site.mailbox.post(STOP)
        site.mailbox.post(Message("a", None, (RequestIgnored("first"),)))

    site.at(60.0, stop)
    site.ends()
    assert site.passed <= 60.0 + GRACE


def test_that_it_turns_can_be_seen():
    site = Site("a", lifetime=24 * HOUR).runs(2 * HOUR)
    assert site.engine.last_turn.boot >= site.machine.now().boot - SLICE


def test_keys_are_read_every_two_seconds():
    site = Site("a").runs(600.0)
    reads = site.keys["a"].reads
    pauses = [after - before for before, after in pairwise(reads)]
    assert pauses == pytest.approx([KEY_POLL] * len(pauses), abs=0.01)
    assert len(reads) >= 299


def test_a_reading_of_keys_that_hangs_is_not_joined_by_another_and_holds_nothing_up():
    site = Site("a", lifetime=LIVES)
    site.at(60.0, lambda: site.hang("keys"))
    site.runs(LONG)
    assert len(site.keys["a"].reads) <= 31
    assert site.minted("a") >= MANY


# --- How it ends


def test_stopping_with_nothing_in_flight_ends_at_once():
    site = Site("a")
    site.post(60.0, STOP)
    assert site.ends().passed == pytest.approx(60.0)


def test_what_is_in_flight_is_finished_and_published():
    """The issuer has perhaps granted it already."""
    site = Site("a", takes=3.0)
    site.post(1.0, STOP)
    site.ends()
    assert site.outputs["a"].content is not None
    assert 3.0 < site.passed < 3.0 + 3 * ERRAND


def test_no_mint_is_begun_any_more():
    site = Site("a", "b", takes=3.0)
    site.keys["b"].content = "refused"  # it fails, and would be repeated
    site.post(1.0, STOP)
    site.post(2.0, Message(None, RefreshRequested()))
    site.ends()
    assert len(site.issuer.asked) == 2


def test_stopping_before_the_first_mint_asks_nobody():
    site = Site("a")
    site.post(0.0, STOP)
    site.ends()
    assert site.issuer.asked == []
    assert site.passed < ERRAND


def test_no_key_is_read_any_more():
    site = Site("a", takes=3.5)
    site.post(0.5, STOP)
    site.ends()
    assert site.passed > KEY_POLL
    assert len(site.keys["a"].reads) == 1


def test_what_takes_too_long_is_left_behind():
    site = Site("a", takes=10.0)
    site.post(1.0, STOP)
    assert site.ends().passed == pytest.approx(1.0 + GRACE)
    assert site.outputs["a"].content is None
    assert len(site.mailbox.sleeps) < 12  # and it sleeps until then


def test_whoever_asks_twice_is_not_kept_waiting():
    site = Site("a", takes=10.0)
    site.post(1.0, STOP)
    site.post(2.0, STOP)
    assert site.ends().passed == pytest.approx(2.0)


# --- Once: everything that is due now, each thing once


def test_settling_mints_and_publishes_and_ends():
    site = Site("a", "b", takes=1.0).settles()
    assert all(output.content is not None for output in site.outputs.values())
    assert site.passed < 1.0 + 3 * ERRAND
    assert exit_codes.of_states(site.states.values(), site.machine.now()) == 0


def test_settling_with_everything_in_place_asks_nobody():
    before = Site("a").settles()
    after = Site("a", after=before)
    after.outputs["a"].content = before.outputs["a"].content
    after.settles()
    assert after.issuer.asked == []
    assert after.passed < 2 * ERRAND


def failing_issuer(site: Site) -> None:
    site.issuer.failing = Declined(Outcome.SERVER_ERROR, "500")


@pytest.mark.parametrize(
    ("trouble", "code"),
    [(without_key, 78), (with_refused_key, 77), (with_broken_output, 73), (failing_issuer, 75)],
)
def test_settling_tries_once_whatever_fails(trouble, code):
    site = Site("a", "b")
    trouble(site)
    site.settles()
    assert exit_codes.of_states(site.states.values(), site.machine.now()) == code
    assert len(site.issuer.asked) <= 2
    assert site.passed < 5 * ERRAND


def test_settling_is_ended_by_a_signal_too():
    site = Site("a", takes=10.0)
    site.post(1.0, STOP)
    assert site.settles().passed == pytest.approx(1.0 + GRACE)
    assert exit_codes.of_states(site.states.values(), site.machine.now()) == 75, (
        "cut short, with no token anywhere"
    )


@pytest.mark.parametrize(
    ("hanging", "code", "problem"),
    [
        ("output of b", 73, "OutputFailed(output='output of b', message='has not answered"),
        ("issuer", 75, "the issuer, or the resolver of its name, has not answered"),
        ("keys", 78, "key of a: its directory does not answer"),
        ("threads", 78, "the source of the key does not answer"),
    ],
)
def test_settling_ends_whatever_hangs(hanging, code, problem):
    """A file system, the resolution of a name: cron would start one process after another."""
    site = Site("a", "b", hanging=[hanging]).settles()
    assert site.passed < 90.0
    assert exit_codes.of_states(site.states.values(), site.machine.now()) == code
    told = " ".join(str(said) for _, _, said in site.memory.entries)
    assert problem in told
    if hanging == "output of b":
        assert site.outputs["a"].content is not None


def test_settling_is_patient_with_an_issuer_that_takes_all_the_time_it_may():
    site = Site("a", takes=9.9).settles()
    assert site.outputs["a"].content is not None


def test_settling_ends_although_the_rules_have_a_mistake():
    site = Site("a", "b")
    with_a_mistake_of_ours(site)
    site.settles()
    assert site.outputs["a"].content is not None
    assert site.memory.of(Crashed)


# --- Leading


def test_whoever_does_not_lead_any_more_mints_nothing_although_the_news_is_still_on_its_way():
    """As after a suspension: the Lease has run out, and the message that says so is not there yet."""
    site = Site("a")
    site.managed_tokens["a"] = site.managed_tokens["a"]._replace(
        policy=site.managed_tokens["a"].policy._replace(elected=True)
    )
    site.leads = False
    site.post(5.0, Message(None, LeadershipChanged(leads=True)))
    site.at(60.0, lambda: setattr(site, "leads", True))
    site.runs(65.0)
    (minted,) = (at - site.began for at, _ in site.memory.of(TokenMinted))
    assert 60.0 <= minted <= 62.0


# --- Taking turns


def test_no_more_mints_than_agreed_are_under_way_and_the_rest_take_their_turn():
    site = Site("a", "b", "c", "d", "e", takes=10.0)
    site.mints_at_once = 2
    site.runs(60.0)
    minted = [round(at - site.began) for at, _ in site.memory.of(TokenMinted)]
    assert minted == [10, 10, 20, 20, 30]
    assert all(site.minted(name) == 1 for name in "abcde")


def test_whoever_is_in_line_for_a_mint_is_served_in_everything_else():
    """An issuer that hangs must not keep an output from being put right."""
    site = Site("a", "b")
    site.mints_at_once = 1
    site.at(100.0, lambda: setattr(site.issuer, "takes", 900.0))
    for output in site.outputs.values():
        site.at(2600.0, lambda output=output: setattr(output, "content", None))
    site.runs(2700.0)
    assert site.minted("a") + site.minted("b") == 2  # the third is on its way, and the fourth in line
    assert all(output.content for output in site.outputs.values())


def test_a_stop_begins_no_mint_that_is_in_line():
    site = Site("a", "b", "c", takes=2.0)
    site.mints_at_once = 1
    site.post(1.0, STOP)
    site.ends()
    assert len(site.issuer.asked) == 1
    assert sum(output.content is not None for output in site.outputs.values()) == 1


def test_settling_waits_for_those_in_line():
    site = Site("a", "b", "c")
    site.mints_at_once = 1
    site.settles()
    assert all(output.content for output in site.outputs.values())


# --- What others may look at


class MistakenObserver:
    """Cannot bear to hear of it."""

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        raise RuntimeError("no")


def test_an_observer_with_a_mistake_ends_nothing_and_is_heard_of(monkeypatch):
    heard: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda _kind, error, _trace: heard.append(error))
    site = Site("a")
    site.observers.insert(0, MistakenObserver())
    site.runs(HOUR)
    assert site.minted("a") == 2
    assert {str(error) for error in heard} == {"no"}


def test_the_register_knows_every_key_and_token_in_hand():
    site = Site("a", "b")

    def another_key() -> None:
        site.keys["a"].content = "a key that is refused"

    site.at(60.0, another_key)
    site.runs(120.0)
    for name, keys in {"a": {"key", "a key that is refused"}, "b": {"key"}}.items():
        token = site.states[name].token
        assert site.held[name] == keys | {token.access.reveal(), token.refresh_token.reveal()}


def test_a_secret_is_known_before_anything_is_said_of_it():
    """What is said with a new token is announced before the token is in a state."""
    site = Site("a")
    key = SecretStr("key")
    minted = Minted(key, new_token(key=key), 0.5)
    known: list[bool] = []

    class Listening:
        def on_notification(self, name: str, notification: Notification, now: Instant) -> None:
            if isinstance(notification, Crashed):
                known.append(minted.token.access.reveal() in site.held[name])

    site.observers.append(Listening())
    site.post(60.0, Message("a", minted, (Crashed("trying a token out", ValueError()),)))
    site.runs(61.0)
    assert known == [True]


def test_its_view_may_be_read_from_another_thread_at_any_time():
    site = Site("a", "b")
    engine, over, seen = site.engine, threading.Event(), []

    def look() -> None:
        while not over.is_set():
            seen.append([(policy.name, type(state)) for policy, state in engine.view()])

    reader = threading.Thread(target=look)
    reader.start()
    try:
        site.runs(HOUR)
    finally:
        over.set()
        reader.join()
    assert seen
    assert all(each == [("a", State), ("b", State)] for each in seen)


# --- What hangs


def failures_of(site: Site, name: str) -> list[RefreshFailed]:
    return [said for _, said in site.memory.of(RefreshFailed, name)]


def test_a_mint_that_hangs_is_given_up_and_reported_and_tried_anew():
    site = Site("a", hanging=["issuer"])
    site.at(60.0, lambda: site.hang())
    site.runs(120.0)
    first = failures_of(site, "a")[0]
    assert first.outcome is Outcome.TIMEOUT
    assert "resolver" in first.message
    assert site.memory.of(RefreshFailed)[0][0] - site.began == pytest.approx(10.0 + MINT_GRACE, abs=ERRAND)
    assert site.minted("a") == 1


def test_a_mint_that_hangs_is_reported_while_it_hangs():
    site = Site("a", hanging=["issuer"])
    site.at(60.0, lambda: site.hang())
    site.runs(120.0)
    at, hanging = site.memory.of(Hanging, "a")[0]
    assert at - site.began == pytest.approx(STALLED + TIMING_OUT, abs=ERRAND)
    assert (hanging.slot, hanging.left) == (MINT_SLOT, pytest.approx(MINT_GRACE - TIMING_OUT, abs=ERRAND))
    assert site.memory.of(RefreshFailed, "a")[0][0] > at


def test_an_output_that_answers_again_is_reported_once():
    site = Site("a", lifetime=24 * HOUR)
    site.at(60.0, lambda: site.hang("output of a"))
    site.at(65.0 + SLICE + STALLED, lambda: site.hang())
    site.runs(600.0)
    (answered,) = [at for at, _ in site.memory.of(OutputAnswered, "a")]
    assert answered > max(at for at, _ in site.memory.of(OutputFailed, "a"))


def test_a_write_that_hangs_is_reported_when_it_hangs_and_as_consumers_without_when_their_token_has_ended():
    site = Site("a", lifetime=600.0)
    site.at(60.0, lambda: site.hang("output of a"))
    site.runs(900.0)
    failed = [(at - site.began, said) for at, said in site.memory.of(OutputFailed)]
    assert 60.0 + STALLED <= failed[0][0] <= 60.0 + SLICE + STALLED + 1.0
    ended = [at for at, said in failed if said.expiry is None]
    assert 600.0 <= ended[0] <= 600.0 + 2 * SLICE


def test_an_output_that_hangs_is_tried_anew_beside_what_was_given_up():
    site = Site("a", hanging=["output of a"])
    site.at(5.0, lambda: site.hang())
    site.runs(GIVE_UP + 60.0)
    assert site.outputs["a"].content is not None
    assert site.memory.of(OutputWritten)[0][0] - site.began > GIVE_UP


def test_what_hangs_for_ever_takes_no_more_threads_than_its_share():
    site = Site("a", "b", lifetime=LIVES)
    for name in "ab":
        site.outputs[name].lane = "file:/dead"
        site.give(
            name, site.outputs[name], site.output(f"{name} elsewhere", lane=f"file:/{name}"), lifetime=LIVES
        )
    before: list[int] = []

    def hang_both() -> None:
        site.hang("output of a", "output of b")
        before.extend(site.outputs[name].calls for name in "ab")

    site.at(60.5, hang_both)  # between two looks
    site.runs(8 * HOUR)
    for name, calls in zip("ab", before, strict=True):
        assert WEDGED < site.outputs[name].calls - calls < 4 * WEDGED
        assert site.minted(name) >= 8 * HOUR / LIVES
    messages = " ".join(said.message for _, said in site.memory.of(OutputFailed))
    assert f"{WEDGED} earlier operations still hang" in messages
    assert "elsewhere" not in messages  # nobody blames the wrong disk


def test_an_output_that_hung_for_hours_is_written_again_when_another_file_system_takes_the_place_of_its():
    """What hangs in the old one never ends."""
    site = Site("a")
    site.at(60.5, lambda: site.hang("output of a"))
    site.at(2 * HOUR, lambda: site.hang())
    site.runs(6 * HOUR)
    assert site.outputs["a"].content.facts.remaining(site.machine.now()) > 0


def test_an_answer_that_comes_after_it_was_given_up_is_used():
    site = Site("a", takes=30.0)
    site.runs(40.0)
    assert site.minted("a") == 1
    assert site.memory.of(TokenMinted)[0][0] - site.began == pytest.approx(30.0, abs=0.5)


# --- Waiting in line


def test_waiting_in_line_is_not_taken_for_silence():
    """Each token has an empty file and a Secret that holds a valid one; looks at Secrets take long. Tokens
    were minted that were there already, and outputs blamed that had never been asked."""
    names = [f"token-{number}" for number in range(150)]
    first = Site("a").settles()
    content = first.outputs["a"].content
    site = Site(*names, after=first)
    at_once = LIMITS["secret"].lane
    for name in names:
        secret = site.output(f"secret of {name}", lane="secret:", content=content, takes=2.0)
        site.give(name, site.outputs[name], secret)
    site.runs(25.0)
    assert STALLED < 2.0 * len(names) / at_once < 25.0  # the last in line waits for so long
    assert site.issuer.asked == []
    assert site.memory.of(OutputFailed) == []
    written = {output.content.facts.fingerprint for output in site.outputs.values()}
    assert written == {content.facts.fingerprint}


# --- The pace of an issuer


def test_a_paced_issuer_gets_no_two_requests_within_its_interval():
    names = [f"t{number}" for number in range(30)]
    site = Site(*names, lifetime=600.0)
    site.issuer.interval = 2.0
    site.runs(600.0)
    gaps = [after - before for before, after in pairwise(site.issuer.asked)]
    assert min(gaps) > 1.98  # a thread takes some milliseconds to begin
    assert max(gaps[: len(names) - 1]) < 2.1  # while tokens wait, none of the rate is lost
    assert all(site.outputs[name].content is not None for name in names)


def test_a_paced_issuer_serves_the_most_urgent_token_first():
    """After an outage, all tokens are due at once."""
    lifetimes = {"first": 86400.0, "long": 3600.0, "short": 300.0, "middle": 900.0}
    site = Site(*lifetimes)
    for name, lifetime in lifetimes.items():
        site.give(name, site.outputs[name], lifetime=lifetime)
    site.issuer.interval = 60.0
    site.post(1000.0, Message(None, RefreshRequested()))
    site.runs(1200.0)
    requested = site.began + 1000.0
    minted = [
        token for at, token, each in site.memory.entries if isinstance(each, TokenMinted) and at > requested
    ]
    assert minted[-3:] == ["short", "middle", "long"]


def test_tokens_that_always_fail_leave_a_paced_issuer_to_the_others():
    broken = [f"broken-{number}" for number in range(20)]
    site = Site(*broken, "good", lifetime=600.0)
    for name in broken:
        site.keys[name].content = "refused"
    site.issuer.interval = 10.0
    site.runs(3600.0)
    assert site.minted("good") >= 3600 / 600


def test_a_single_pass_waits_for_the_pace_of_its_issuer():
    site = Site("a", "b", "c")
    site.issuer.interval = 50.0
    site.settles()
    assert all(site.outputs[name].content is not None for name in "abc")
    assert 100.0 <= site.passed < 102.0
