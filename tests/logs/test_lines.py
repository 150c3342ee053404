"""The line for each notification: why, until when consumers are served, what to do, and how grave it is."""

import logging
from typing import NamedTuple, get_args

import pytest

from refresher.core.advice import ADVICE
from refresher.core.model import Outcome, Reason, Try, Verdict
from refresher.core.notifications import (
    ConsumersUnserved,
    Crashed,
    IssuerAnswered,
    KeyLoaded,
    KeyProven,
    KeySourceFailed,
    LeaderChanged,
    LeaseFailed,
    LifetimeShortened,
    Notification,
    OutputDisturbed,
    OutputFailed,
    OutputForged,
    OutputHeld,
    OutputWritten,
    RefreshFailed,
    RequestIgnored,
    ThreadsRefused,
    TokenAdopted,
    TokenMinted,
    TokenVerified,
)
from refresher.logs.lines import told
from tests.core.builders import NOW, token

FILE = "file:/run/inlive/token"
KEY = "00000000000000aa"
DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

WHOLE = token().facts  # issued at 08:00:00 for an hour
SHORTENED = token(lifetime=600.0, requested=3600.0).facts
OF_TOKEN = {
    "token_fingerprint": WHOLE.fingerprint,
    "key_fingerprint": WHOLE.key_fingerprint,
    "issued_at": "2027-01-15T08:00:00Z",
    "expires_at": "2027-01-15T09:00:00Z",
}


def failed(outcome: Outcome, message: str, left: float) -> RefreshFailed:
    return RefreshFailed(Reason.SCHEDULED, outcome, message, KEY, wait=8.25, left=left)


def of_failure(outcome: str, left: float) -> dict[str, object]:
    return {
        "reason": "scheduled",
        "outcome": outcome,
        "key_fingerprint": KEY,
        "wait_seconds": 8.25,
        "left_seconds": left,
    }


class Case(NamedTuple):
    said: Notification
    level: int
    text: str
    fields: dict[str, object]


CASES = [
    Case(
        TokenMinted(Reason.FIRST, WHOLE, failures=0),
        INFO,
        "minted a token (first), valid until 2027-01-15T09:00:00Z",
        {"reason": "first", "failures": 0, **OF_TOKEN},
    ),
    Case(
        TokenMinted(Reason.SCHEDULED, WHOLE, failures=1),
        INFO,
        "minted a token (scheduled), valid until 2027-01-15T09:00:00Z; 1 attempt had failed before",
        {"reason": "scheduled", "failures": 1, **OF_TOKEN},
    ),
    Case(
        TokenMinted(Reason.SCHEDULED, SHORTENED, failures=3),
        INFO,
        "minted a token (scheduled), valid until 2027-01-15T08:10:00Z: believed to live 10m, "
        "1h was asked for; 3 attempts had failed before",
        {"reason": "scheduled", "failures": 3, **OF_TOKEN, "expires_at": "2027-01-15T08:10:00Z"},
    ),
    Case(
        TokenAdopted(FILE, WHOLE),
        INFO,
        f"adopted the token in {FILE} instead of minting, valid until 2027-01-15T09:00:00Z",
        {"output": FILE, **OF_TOKEN},
    ),
    Case(
        failed(Outcome.UNREACHABLE, "api.inlive.app:443: Connection refused", left=1080.0),
        WARNING,
        "no new token (scheduled): unreachable: api.inlive.app:443: Connection refused; consumers are served "
        "until 2027-01-15T08:18:00Z (18m more); next attempt in 8s; is issuer.url right, and what is in "
        "between: name resolution, firewall, proxy, certificate?",
        of_failure("unreachable", 1080.0),
    ),
    Case(
        failed(Outcome.SERVER_ERROR, "500", left=0.0),
        ERROR,
        "no new token (scheduled): server_error: 500; CONSUMERS HAVE NO VALID TOKEN; next attempt in 8s; "
        "if this lasts, ask Inlive",
        of_failure("server_error", 0.0),
    ),
    Case(
        failed(Outcome.KEY_REFUSED, "403: revoked", left=1080.0),
        ERROR,
        f"no new token (scheduled): the issuer refuses the key {KEY}: 403: revoked; consumers are served "
        "until 2027-01-15T08:18:00Z (18m more); next attempt in 8s; put a valid key into the key's file "
        "(Inlive's integration page makes one): it is tried within seconds (by LoadCredential=: after a "
        "restart)",
        of_failure("key_refused", 1080.0),
    ),
    Case(
        failed(Outcome.OK, "the issuer gave the same token as before", left=1080.0),
        WARNING,
        "no new token (scheduled): the issuer gave the same token as before; consumers are served "
        "until 2027-01-15T08:18:00Z (18m more); next attempt in 8s; if this lasts, ask Inlive why it repeats "
        "itself",
        of_failure("ok", 1080.0),
    ),
    Case(
        OutputWritten(FILE, "new", WHOLE),
        INFO,
        f"wrote {FILE}, valid until 2027-01-15T09:00:00Z",
        {"output": FILE, "reason": "new", **OF_TOKEN},
    ),
    Case(
        OutputWritten(FILE, "repair", WHOLE),
        INFO,
        f"put right {FILE}, valid until 2027-01-15T09:00:00Z",
        {"output": FILE, "reason": "repair", **OF_TOKEN},
    ),
    Case(
        OutputFailed(FILE, f"{FILE} cannot be written: no space", WHOLE.expiry, writing=True),
        ERROR,
        f"{FILE} cannot be written: no space; it holds a token valid until 2027-01-15T09:00:00Z",
        {"output": FILE, "expires_at": "2027-01-15T09:00:00Z"},
    ),
    Case(
        OutputFailed(FILE, f"{FILE} cannot be written: no space", None, writing=True),
        ERROR,
        f"{FILE} cannot be written: no space; IT HOLDS NO VALID TOKEN",
        {"output": FILE},
    ),
    Case(
        OutputFailed(FILE, f"{FILE} cannot be read: permission denied", WHOLE.expiry, writing=False),
        WARNING,
        f"{FILE} cannot be read: permission denied; it holds a token valid until 2027-01-15T09:00:00Z",
        {"output": FILE, "expires_at": "2027-01-15T09:00:00Z"},
    ),
    Case(  # what it holds is not known, or it is debris beside it that cannot be read: nothing is claimed
        OutputFailed(FILE, f"{FILE} cannot be read: permission denied", None, writing=False),
        WARNING,
        f"{FILE} cannot be read: permission denied",
        {"output": FILE},
    ),
    Case(
        OutputDisturbed(FILE),
        WARNING,
        f"somebody else deleted or altered {FILE}; it is being put right",
        {"output": FILE},
    ),
    Case(KeyLoaded(KEY, changed=False), INFO, f"read the key {KEY}", {"key_fingerprint": KEY}),
    Case(
        KeyLoaded(KEY, changed=True),
        INFO,
        f"the key has changed, it is {KEY} now; one that works stays in use until the issuer has accepted "
        "this one",
        {"key_fingerprint": KEY},
    ),
    Case(
        KeySourceFailed("the key file /k cannot be read: gone", kept=True),
        WARNING,
        "the key file /k cannot be read: gone; the last key stays in use, but would not outlive a restart",
        {},
    ),
    Case(
        KeySourceFailed("the key file /k cannot be read: gone", kept=False),
        ERROR,
        "the key file /k cannot be read: gone; without a key nothing can be minted",
        {},
    ),
    Case(KeyProven(KEY), INFO, f"the issuer has accepted the key {KEY}", {"key_fingerprint": KEY}),
    Case(
        IssuerAnswered((Try(Outcome.SERVER_ERROR, 0.25), Try(Outcome.OK, 0.0421)), skew=-1.25),
        DEBUG,
        "the issuer: server_error in 0.250 s, ok in 0.042 s; our clock is -1.2 s from its",
        {"requests": 2, "clock_skew_seconds": -1.25},
    ),
    Case(IssuerAnswered((), skew=None), DEBUG, "the issuer: was not asked", {"requests": 0}),
    Case(
        Crashed("Write", KeyError("studio")),
        ERROR,
        "a mistake of the refresher itself (Write): KeyError: 'studio'; it goes on; please report it, with "
        "the traceback",
        {"what": "Write"},
    ),
    Case(
        LeaderChanged("inlive/refresher", leads=True, holder=""),
        INFO,
        "leads: holds the lease inlive/refresher",
        {"lease": "inlive/refresher", "leads": True},
    ),
    Case(
        LeaderChanged("inlive/refresher", leads=False, holder="pod-2"),
        INFO,
        "stands by: does not hold the lease inlive/refresher, pod-2 holds it",
        {"lease": "inlive/refresher", "leads": False},
    ),
    Case(
        LeaderChanged("inlive/refresher", leads=False, holder=""),
        INFO,
        "stands by: does not hold the lease inlive/refresher, nobody is known to hold it",
        {"lease": "inlive/refresher", "leads": False},
    ),
    Case(
        LeaseFailed("inlive/refresher", "no answer", leads=True),
        WARNING,
        "lease inlive/refresher: no answer; it leads on until its time is up",
        {"lease": "inlive/refresher"},
    ),
    Case(
        LeaseFailed("inlive/refresher", "no answer", leads=False),
        WARNING,
        "lease inlive/refresher: no answer; nothing is minted or written meanwhile",
        {"lease": "inlive/refresher"},
    ),
    Case(
        TokenVerified("aa", Verdict.GOOD, ""),
        DEBUG,
        "the new token was tried out: it is good",
        {"token_fingerprint": "aa", "verdict": "good"},
    ),
    Case(
        TokenVerified("aa", Verdict.REJECTED, "401"),
        WARNING,
        "the new token was tried out: rejected: 401; it is not published; is issuer.verify right?",
        {"token_fingerprint": "aa", "verdict": "rejected"},
    ),
    Case(
        TokenVerified("aa", Verdict.INCONCLUSIVE, "500"),
        INFO,
        "the new token was tried out: inconclusive: 500; it is published all the same; "
        "is issuer.verify right?",
        {"token_fingerprint": "aa", "verdict": "inconclusive"},
    ),
    Case(
        LifetimeShortened("aa", 1200.0, 1200.0),
        WARNING,
        "the token aa expired after only 20m: the refresher now expects tokens to live no longer than 20m; "
        "ask Inlive how long tokens live, or send SIGUSR1 if that was a mistake",
        {"token_fingerprint": "aa", "age_seconds": 1200.0, "believed_seconds": 1200.0},
    ),
    Case(RequestIgnored("SIGHUP: not supported yet"), WARNING, "SIGHUP: not supported yet", {}),
    Case(
        OutputHeld("file:/run/token", "file:/run/token belongs to the refresher with process 7"),
        WARNING,
        "file:/run/token belongs to the refresher with process 7",
        {"output": "file:/run/token"},
    ),
    Case(
        OutputForged("file:/run/token"),
        WARNING,
        "the record of file:/run/token is not sealed with the key that it names: somebody else wrote it, "
        "or an early version did; its token is not believed, and is replaced",
        {"output": "file:/run/token"},
    ),
    Case(
        ConsumersUnserved(("secret:inlive/a", "secret:inlive/b")),
        ERROR,
        "CONSUMERS HAVE NO VALID TOKEN in secret:inlive/a, secret:inlive/b, and the process that leads does "
        "not mend it: look at its log, or end it so that another one takes over",
        {"outputs": "secret:inlive/a, secret:inlive/b"},
    ),
    Case(
        ThreadsRefused("no thread for: issuer"),
        ERROR,
        "the system refuses new threads: no thread for: issuer; raise pids.max, TasksMax= or ulimit -u",
        {},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case.said).__name__)
def test_the_line_for(case):
    line = told(case.said, NOW)
    assert (line.text, line.fields) == (case.text, case.fields)
    assert logging.getLevelName(line.level) == logging.getLevelName(case.level)


def test_no_announcement_is_without_a_line():
    assert {type(case.said) for case in CASES} == set(get_args(Notification))


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("left", [1080.0, 0.0])
def test_a_failure_is_an_error_when_consumers_are_without_or_the_key_is_refused(outcome, left):
    line = told(failed(outcome, "no", left), NOW)
    grave = left == 0.0 or outcome is Outcome.KEY_REFUSED
    assert line.level == (ERROR if grave else WARNING)
    assert f"; {ADVICE[outcome]}" in line.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case.said).__name__)
def test_nothing_with_somebody_elses_words_in_it_is_vouched_for(case):
    others_words = {"message", "error", "holder"} & set(case.said._fields)
    assert told(case.said, NOW).vouched == (not others_words)


def test_the_traceback_of_our_own_mistake_belongs_to_its_line():
    error = KeyError("studio")
    assert told(Crashed("Write", error), NOW).error is error


def test_whoever_is_called_by_cron_does_not_announce_an_attempt_of_its_own():
    text = told(failed(Outcome.TIMEOUT, "no answer", left=1080.0), NOW, goes_on=False).text
    assert "next attempt with the next call" in text
    assert "next attempt in" not in text
