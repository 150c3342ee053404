"""The log line of each notification: its level, its fields, and the facts in its sentence.

The wording of a sentence may change. The level, the fields and the facts are what people filter and act upon.
"""

import logging
from typing import NamedTuple, get_args

import pytest

from refresher.core.advice import ADVICE, ADVICE_ON, Code
from refresher.core.effects import HOOK, MINT_SLOT, VERIFY_SLOT, Slot
from refresher.core.model import Outcome, Reason, SecretStr, Try, Verdict
from refresher.core.notifications import (
    ConsumersUnserved,
    Hanging,
    HookFailed,
    HookRan,
    IssuerAnswered,
    KeyLoaded,
    KeyProven,
    KeySourceFailed,
    LifetimeShortened,
    Notification,
    OutputAnswered,
    OutputDeleted,
    OutputDisturbed,
    OutputFailed,
    OutputForged,
    OutputHeld,
    OutputNotDeleted,
    OutputRemoved,
    OutputWritten,
    RefreshFailed,
    TokenAdopted,
    TokenMinted,
    TokenRemoved,
    TokenVerified,
)
from refresher.core.object_notifications import (
    ObjectAccepted,
    ObjectRefused,
    StatusNotWritten,
    StatusWritten,
    WatchFailed,
    WatchRecovered,
)
from refresher.core.process_notifications import (
    ConfigurationApplied,
    ConfigurationRefused,
    Crashed,
    LeaderChanged,
    LeaseFailed,
    RequestIgnored,
    ThreadsRefused,
)
from refresher.logs.lines import line_of
from tests.core.builders import NOW, token

FILE = "file:/run/inlive/token"
LEASE = "inlive/refresher"
KEY = "00000000000000aa"
DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
UNSERVED = "CONSUMERS HAVE NO VALID TOKEN"  # people search for it, and alerts may

WHOLE = token().facts  # issued at 08:00:00 for an hour
SHORTENED = token(lifetime=600.0, requested=3600.0).facts
END, SHORTENED_END = "2027-01-15T09:00:00Z", "2027-01-15T08:10:00Z"
OF_TOKEN = {
    "token_fingerprint": WHOLE.fingerprint,
    "key_fingerprint": WHOLE.key_fingerprint,
    "issued_at": "2027-01-15T08:00:00Z",
    "expires_at": END,
}


def failed(outcome: Outcome, message: str, left: float) -> RefreshFailed:
    return RefreshFailed(Reason.SCHEDULED, outcome, message, KEY, wait=8.25, left=left)


def of_failure(outcome: str, left: float) -> dict[str, object]:
    return {
        "reason": "scheduled",
        "outcome": outcome,
        "advice": ADVICE[Outcome(outcome)],
        "key_fingerprint": KEY,
        "wait_seconds": 8.25,
        "left_seconds": left,
    }


NO_LEASE: dict[str, object] = {"lease": LEASE, "advice": ADVICE_ON[Code.LEASE_FAILED]}
NO_KEY: dict[str, object] = {"advice": ADVICE_ON[Code.KEY_UNREADABLE]}


class Case(NamedTuple):
    notification: Notification
    level: int
    fields: dict[str, object]
    facts: tuple[str, ...] = ()  # in the sentence


CASES = [
    Case(
        TokenMinted(Reason.FIRST, WHOLE, failures=0),
        INFO,
        {"reason": "first", "failures": 0, **OF_TOKEN},
        ("first", END),
    ),
    Case(
        TokenMinted(Reason.SCHEDULED, SHORTENED, failures=3),
        INFO,
        {"reason": "scheduled", "failures": 3, **OF_TOKEN, "expires_at": SHORTENED_END},
        ("scheduled", SHORTENED_END, " 10m", " 1h", " 3 attempts"),
    ),
    Case(TokenAdopted(FILE, WHOLE), INFO, {"output": FILE, **OF_TOKEN}, (FILE, END)),
    Case(
        failed(Outcome.UNREACHABLE, "api.inlive.app:443: Connection refused", left=1080.0),
        WARNING,
        of_failure("unreachable", 1080.0),
        (
            "scheduled",
            "unreachable: api.inlive.app:443: Connection refused",
            "2027-01-15T08:18:00Z",
            "18m",
            " 8s",
        ),
    ),
    Case(
        failed(Outcome.SERVER_ERROR, "500", left=0.0),
        ERROR,
        of_failure("server_error", 0.0),
        ("server_error: 500", UNSERVED, " 8s"),
    ),
    Case(
        failed(Outcome.KEY_REFUSED, "403: revoked", left=1080.0),
        ERROR,
        of_failure("key_refused", 1080.0),
        (KEY, "403: revoked", "2027-01-15T08:18:00Z", " 8s", "LoadCredential="),
    ),
    Case(
        failed(Outcome.OK, "the issuer gave the same token as before", left=1080.0),
        WARNING,
        of_failure("ok", 1080.0),
        (": the issuer gave the same token as before;",),
    ),
    Case(OutputWritten(FILE, "new", WHOLE), INFO, {"output": FILE, "reason": "new", **OF_TOKEN}, (FILE, END)),
    Case(
        OutputWritten(FILE, "repair", WHOLE),
        INFO,
        {"output": FILE, "reason": "repair", **OF_TOKEN},
        (FILE, END, "restored"),
    ),
    Case(
        OutputFailed(FILE, f"{FILE} cannot be written: no space", WHOLE.expiry, writing=True),
        ERROR,
        {"output": FILE, "expires_at": END, "advice": ADVICE_ON[Code.NOT_WRITTEN]},
        (f"{FILE} cannot be written: no space", END),
    ),
    Case(
        OutputFailed(FILE, f"{FILE} cannot be written: no space", None, writing=True),
        ERROR,
        {"output": FILE, "advice": ADVICE_ON[Code.NOT_WRITTEN]},
        (f"{FILE} cannot be written: no space", "NO VALID TOKEN"),
    ),
    Case(
        OutputFailed(FILE, f"{FILE} cannot be read: permission denied", WHOLE.expiry, writing=False),
        WARNING,
        {"output": FILE, "expires_at": END, "advice": ADVICE_ON[Code.NOT_READ]},
        (f"{FILE} cannot be read: permission denied", END),
    ),
    Case(OutputAnswered(FILE), INFO, {"output": FILE}, (FILE, "again")),
    Case(
        Hanging(MINT_SLOT, "the issuer", 10.0, left=5.0),
        WARNING,
        {"seconds": 10.0, "left_seconds": 5.0},
        ("the issuer", " 10 s", " 5s"),
    ),
    Case(
        failed(Outcome.SERVER_ERROR, "500", left=1080.0)._replace(request_id="4bf92f35"),
        WARNING,
        {**of_failure("server_error", 1080.0), "request_id": "4bf92f35"},
        ("server_error: 500", "4bf92f35"),
    ),
    Case(OutputDisturbed(FILE), WARNING, {"output": FILE}, (FILE,)),
    Case(OutputForged(FILE), WARNING, {"output": FILE}, (FILE, "sealed")),
    Case(
        OutputHeld(FILE, f"{FILE} belongs to the refresher with process 7"),
        WARNING,
        {"output": FILE},
        (f"{FILE} belongs to the refresher with process 7",),
    ),
    Case(HookRan(FILE, "ran /bin/true"), INFO, {"output": FILE}, (FILE, "ran /bin/true")),
    Case(
        HookFailed(FILE, "no such process", wait=4.0),
        ERROR,
        {"output": FILE, "wait_seconds": 4.0, "advice": ADVICE_ON[Code.HOOK_FAILED]},
        (FILE, "no such process", "may use the former token", "next run in "),
    ),
    Case(KeyLoaded(KEY, changed=False), INFO, {"key_fingerprint": KEY}, (KEY,)),
    Case(KeyLoaded(KEY, changed=True), INFO, {"key_fingerprint": KEY}, (KEY, "changed")),
    Case(
        KeySourceFailed("/k cannot be read: gone", kept=True), WARNING, NO_KEY, ("/k cannot be read: gone",)
    ),
    Case(KeySourceFailed("/k cannot be read: gone", kept=False), ERROR, NO_KEY, ("/k cannot be read: gone",)),
    Case(KeyProven(KEY), INFO, {"key_fingerprint": KEY}, (KEY,)),
    Case(
        IssuerAnswered((Try(Outcome.SERVER_ERROR, 0.25), Try(Outcome.OK, 0.0421)), skew=-1.25),
        DEBUG,
        {"requests": 2, "clock_skew_seconds": -1.25},
        ("server_error in 0.250 s, ok in 0.042 s", "1.2 s behind"),
    ),
    Case(
        IssuerAnswered((Try(Outcome.OK, 1.0),), skew=3.0), DEBUG, {"requests": 1, "clock_skew_seconds": 3.0}
    ),
    Case(IssuerAnswered((), skew=None), DEBUG, {"requests": 0}),
    Case(
        TokenVerified("aa", Verdict.GOOD, ""),
        DEBUG,
        {"token_fingerprint": "aa", "verdict": "good"},
        ("good",),
    ),
    Case(
        TokenVerified("aa", Verdict.REJECTED, "401"),
        WARNING,
        {"token_fingerprint": "aa", "verdict": "rejected"},
        ("rejected", "401", "not publishing", "verify of the issuer"),
    ),
    Case(
        TokenVerified("aa", Verdict.INCONCLUSIVE, "500"),
        INFO,
        {"token_fingerprint": "aa", "verdict": "inconclusive"},
        ("inconclusive", "500", "; publishing", "verify of the issuer"),
    ),
    Case(
        LifetimeShortened("aa", 1200.0, 1800.0),
        WARNING,
        {"token_fingerprint": "aa", "age_seconds": 1200.0, "believed_seconds": 1800.0},
        ("aa", "20m", "30m", "SIGUSR1"),
    ),
    Case(LeaderChanged(LEASE, leads=True, holder=""), INFO, {"lease": LEASE, "leads": True}, (LEASE,)),
    Case(
        LeaderChanged(LEASE, leads=False, holder="pod-2"),
        INFO,
        {"lease": LEASE, "leads": False},
        (LEASE, "pod-2"),
    ),
    Case(
        LeaderChanged(LEASE, leads=False, holder=""),
        INFO,
        {"lease": LEASE, "leads": False},
        (LEASE, "no process is known to hold"),
    ),
    Case(LeaseFailed(LEASE, "no answer", leads=True), WARNING, NO_LEASE, (LEASE, "no answer", "leads until")),
    Case(
        LeaseFailed(LEASE, "no answer", leads=False), WARNING, NO_LEASE, (LEASE, "mints and writes nothing")
    ),
    Case(
        ConsumersUnserved(("secret:inlive/a", "secret:inlive/b")),
        ERROR,
        {"outputs": "secret:inlive/a, secret:inlive/b"},
        (UNSERVED, "secret:inlive/a, secret:inlive/b"),
    ),
    Case(ThreadsRefused("no thread for: issuer"), ERROR, {}, ("no thread for: issuer", "TasksMax=")),
    Case(TokenRemoved(), INFO, {}),
    Case(ObjectRefused(("a: x", "b: y")), WARNING, {"problems": 2}, ("a: x; b: y", "fresh")),
    Case(ObjectAccepted(), INFO, {}),
    Case(WatchFailed("the Secrets", "no answer"), WARNING, {"watched": "the Secrets"}, ("no answer",)),
    Case(WatchRecovered("the Secrets"), INFO, {"watched": "the Secrets"}),
    Case(StatusNotWritten("no answer"), WARNING, {}, ("no answer",)),
    Case(StatusWritten(), DEBUG, {}),
    Case(
        Crashed("Write", KeyError("studio")), ERROR, {"what": "Write"}, ("Write", "KeyError: 'studio'", "bug")
    ),
    Case(
        OutputRemoved("file:/a", taken_over=True),
        INFO,
        {"output": "file:/a"},
        ("file:/a", "another token"),
    ),
    Case(OutputDeleted("file:/a"), INFO, {"output": "file:/a"}, ("file:/a", "on_remove")),
    Case(
        OutputNotDeleted("file:/a", "permission denied"),
        ERROR,
        {"output": "file:/a"},
        ("file:/a", "permission denied"),
    ),
    Case(
        ConfigurationApplied(added=1, changed=2, removed=3),
        INFO,
        {"added": 1, "changed": 2, "removed": 3},
        ("added: 1", "changed: 2", "removed: 3"),
    ),
    Case(
        ConfigurationApplied(added=0, changed=0, removed=0, ignored=("listen", "serve")),
        WARNING,
        {"added": 0, "changed": 0, "removed": 0, "needs_restart": "listen, serve"},
        ("until a restart", "listen, serve"),
    ),
    Case(
        ConfigurationRefused(("c.yaml:3: tokens is wrong", "c.yaml:9: this too")),
        ERROR,
        {"problems": 2},
        ("c.yaml:3: tokens is wrong", "c.yaml:9: this too", "former"),
    ),
    Case(RequestIgnored("SIGHUP: not supported yet"), WARNING, {}, ("SIGHUP: not supported yet",)),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: type(case.notification).__name__)


@each_case
def test_a_notification_has_a_line_with_its_level_and_fields_and_a_sentence_with_its_facts(case):
    line = line_of(case.notification, NOW)
    assert (logging.getLevelName(line.level), line.fields) == (logging.getLevelName(case.level), case.fields)
    assert line.text
    assert [fact for fact in case.facts if fact not in line.text] == []


def test_every_kind_of_notification_has_a_line():
    assert {type(case.notification) for case in CASES} == set(get_args(Notification))


def test_different_notifications_have_different_sentences():
    sentences = [line_of(case.notification, NOW).text for case in CASES]
    assert len(set(sentences)) == len(CASES)


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("left", [1080.0, 0.0])
def test_a_failed_refresh_is_an_error_if_consumers_have_no_token_or_the_key_is_refused(outcome, left):
    line = line_of(failed(outcome, "no", left), NOW)
    is_grave = left == 0.0 or outcome is Outcome.KEY_REFUSED
    assert line.level == (ERROR if is_grave else WARNING)
    assert (UNSERVED in line.text) == (left == 0.0)
    assert ADVICE[outcome] in line.text


def test_a_line_claims_nothing_about_an_output_that_cannot_be_read():
    """What the output holds is unknown; or it is a file beside it that cannot be read."""
    message = "cannot be read: permission denied"
    line = line_of(OutputFailed(FILE, message, None, writing=False), NOW)
    assert line.text == f"{FILE} {message}; {ADVICE_ON[Code.NOT_READ]}"


@each_case
def test_a_line_with_foreign_text_is_not_vouched_for(case):
    foreign = {"message", "error", "holder", "problems"} & set(case.notification._fields)
    assert line_of(case.notification, NOW).vouched == (not foreign)


def test_an_internal_error_is_logged_with_its_traceback():
    error = KeyError("studio")
    assert line_of(Crashed("Write", error), NOW).error is error


def test_a_process_that_does_not_retry_announces_no_attempt():
    text = line_of(failed(Outcome.KEY_REFUSED, "403", left=1080.0), NOW, retries=False).text
    assert "8s" not in text
    assert "LoadCredential=" not in text


def test_a_process_that_does_not_retry_leaves_an_output_to_its_owner():
    assert line_of(OutputHeld(FILE, "of another"), NOW, retries=False).level == INFO


# --- Which failure a line reports, and which ones it ends.

REPEATED = {
    ConfigurationRefused,
    Crashed,
    Hanging,
    HookFailed,
    KeySourceFailed,
    LeaseFailed,
    ObjectRefused,
    OutputFailed,
    RefreshFailed,
    StatusNotWritten,
    WatchFailed,
}


@each_case
def test_failures_that_repeat_themselves_name_their_subject_and_other_lines_none(case):
    assert (line_of(case.notification, NOW).failure is not None) == (type(case.notification) in REPEATED)


FAILED_MINT = failed(Outcome.TIMEOUT, "no", 60.0)._replace(key_fingerprint=WHOLE.key_fingerprint)
FAILED_READ = OutputFailed(FILE, "no", None, writing=False)
FAILED_WRITE = OutputFailed(FILE, "no", None, writing=True)
FAILED_KEY = KeySourceFailed("no", kept=True)
FAILED_LEASE = LeaseFailed(LEASE, "no", leads=True)
FAILED_OBJECT, FAILED_STATUS = ObjectRefused(("no",)), StatusNotWritten("no")
FAILED_WATCH = WatchFailed("the Secrets", "no")
BY_ANOTHER_KEY = token(key=SecretStr("another-key-000")).facts
SLOW_MINT, SLOW_VERIFY, SLOW_HOOK = (
    Hanging(slot, "it", 10.0, 5.0) for slot in (MINT_SLOT, VERIFY_SLOT, Slot(HOOK, FILE))
)


@pytest.mark.parametrize(
    ("success", "ended"),
    [
        (TokenMinted(Reason.SCHEDULED, WHOLE, failures=1), {FAILED_MINT, SLOW_MINT}),
        (TokenVerified("aa", Verdict.GOOD, ""), {SLOW_VERIFY}),
        (HookRan(FILE, "ran"), {SLOW_HOOK}),
        (OutputAnswered(FILE), {FAILED_READ}),
        (OutputWritten(FILE, "new", WHOLE), {FAILED_READ, FAILED_WRITE}),
        (LeaderChanged(LEASE, leads=True, holder=""), {FAILED_LEASE}),
        (LeaderChanged(LEASE, leads=False, holder="pod-2"), {FAILED_LEASE}),
        (LeaderChanged(LEASE, leads=False, holder="", failing=True), set()),
        (
            TokenMinted(Reason.SCHEDULED, BY_ANOTHER_KEY, failures=1),
            {SLOW_MINT},
        ),
        (OutputWritten("file:/other", "new", WHOLE), set()),
        (LeaderChanged("inlive/other", leads=True, holder=""), set()),
        (KeyProven(WHOLE.key_fingerprint), set()),
        (KeyLoaded(WHOLE.key_fingerprint, changed=False), {FAILED_KEY}),
        (ObjectAccepted(), {FAILED_OBJECT}),
        (WatchRecovered("the Secrets"), {FAILED_WATCH}),
        (WatchRecovered("the Leases"), set()),
        (StatusWritten(), {FAILED_STATUS}),
    ],
)
def test_a_success_ends_the_failures_of_the_same_subject(success, ended):
    recovered = line_of(success, NOW).recovered
    slow = (SLOW_MINT, SLOW_VERIFY, SLOW_HOOK)
    of_objects = (FAILED_OBJECT, FAILED_WATCH, FAILED_STATUS)
    failures = (FAILED_KEY, FAILED_MINT, FAILED_READ, FAILED_WRITE, FAILED_LEASE, *of_objects, *slow)
    assert {each for each in failures if line_of(each, NOW).failure.subject in recovered} == ended
