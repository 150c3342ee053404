"""Notifications become log lines; failures that repeat themselves are logged every five minutes."""

import pytest

from refresher.core.model import Outcome, Reason, SecretStr
from refresher.core.notifications import (
    KeyLoaded,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    TokenMinted,
)
from refresher.core.process_notifications import Crashed, RequestIgnored
from tests.core.builders import KEY, NEW_KEY, NOW, token
from tests.logs.captured import SECRET, Log

FILE = "file:/run/inlive/token"
FACTS = token().facts


def refresh_failed(message: str = "500", *, left: float = 600.0, key: SecretStr = KEY) -> RefreshFailed:
    return RefreshFailed(
        Reason.SCHEDULED, Outcome.SERVER_ERROR, message, key.fingerprint, wait=2.0, left=left
    )


def write_failed(message: str = "no space") -> OutputFailed:
    return OutputFailed(FILE, message, FACTS.expiry, writing=True)


MINTED = TokenMinted(Reason.SCHEDULED, FACTS, failures=2)
WRITTEN = OutputWritten(FILE, "new", FACTS)


# --- One line for what happened.


def test_a_notification_is_one_line_with_the_name_of_the_token():
    entry = Log().of(KeyLoaded("00000000000000aa", changed=False))
    assert entry.pop("ts")
    assert entry.pop("message").startswith("studio: ")
    assert entry == {
        "level": "INFO",
        "logger": "refresher",
        "event": "KeyLoaded",
        "token": "studio",
        "key_fingerprint": "00000000000000aa",
    }


def test_a_notification_for_the_whole_process_names_no_token():
    entry = Log().of(RequestIgnored("SIGHUP: not supported"), token="")
    assert entry["message"] == "SIGHUP: not supported"
    assert "token" not in entry


def test_a_percent_sign_in_a_message_is_not_a_placeholder():
    assert "100%s full" in Log().of(write_failed("100%s full"))["message"]


def test_an_internal_error_is_logged_with_its_traceback():
    entry = Log().of(Crashed("Write", KeyError("studio")))
    assert entry["level"] == "ERROR"
    assert entry["exc"].endswith("KeyError: 'studio'")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_notification_leaks_a_secret(log_format):
    log = Log(log_format)
    cause = ValueError(f"header Authorization: Bearer {SECRET.reveal()}")
    error = RuntimeError("x")
    error.__cause__ = cause
    for notification in (
        refresh_failed(f"500: {SECRET.reveal()}"),
        write_failed(SECRET.reveal()),
        Crashed("Mint", error),
        RequestIgnored(SECRET.reveal()),
    ):
        log.observer.on_notification("studio", notification, NOW)
    assert SECRET.reveal() not in log.stream.getvalue()
    assert log.stream.getvalue().count(repr(SECRET)) == 4


# --- Failures that repeat themselves.


def test_a_repeated_failure_is_logged_every_five_minutes_with_its_count():
    log = Log()
    first = log.of(refresh_failed())
    assert (first["since"], first["failures"]) == ("2027-01-15T08:00:00Z", 1)
    assert [log.of(refresh_failed(), after=60.0) for _ in range(4)] == [None] * 4
    again = log.of(refresh_failed(), after=60.0)
    assert (again["since"], again["failures"]) == ("2027-01-15T08:00:00Z", 6)
    history = again["message"].removeprefix(first["message"])
    assert [fact for fact in ("2027-01-15T08:00:00Z", " 6 ", " 4 ") if fact not in history] == []


@pytest.mark.parametrize(
    ("first", "then", "because"),
    [
        (refresh_failed(), refresh_failed(left=0.0), "it has become an error: consumers have no valid token"),
        (refresh_failed("500"), refresh_failed("502"), "it has another message"),
        (refresh_failed(), refresh_failed(key=NEW_KEY), "it is another key"),
        (write_failed(), OutputFailed(FILE, "no space", None, writing=True), "what it held has expired"),
        (write_failed(), OutputFailed("file:/b", "no space", FACTS.expiry, writing=True), "another output"),
        (Crashed("Write", KeyError("a")), Crashed("Write", KeyError("b")), "it is another error"),
        (Crashed("Write", KeyError("a")), Crashed("Mint", KeyError("a")), "it happened elsewhere"),
    ],
)
def test_another_failure_is_logged_at_once(first, then, because):
    log = Log()
    log.of(first)
    assert log.of(first) is None
    assert log.of(then) is not None, because


def test_each_token_has_its_own_failures():
    log = Log()
    log.of(refresh_failed())
    assert log.of(refresh_failed(), token="other") is not None


def test_a_success_is_logged_each_time():
    log = Log()
    assert [log.of(WRITTEN)["event"] for _ in range(2)] == ["OutputWritten"] * 2


@pytest.mark.parametrize(("failure", "success"), [(refresh_failed(), MINTED), (write_failed(), WRITTEN)])
def test_the_first_success_reports_since_when_it_had_failed_and_ends_the_episode(failure, success):
    log = Log()
    log.of(failure)
    log.of(failure, after=60.0)
    assert log.of(success, after=60.0)["message"].endswith("; had failed since 2027-01-15T08:00:00Z")
    assert "had failed" not in log.of(success)["message"]
    assert log.of(failure)["failures"] == 1


def test_a_successful_write_also_ends_the_failures_to_read():
    log = Log()
    log.of(OutputFailed(FILE, "permission denied", None, writing=False))
    log.of(write_failed(), after=60.0)
    assert log.of(WRITTEN)["message"].endswith("; had failed since 2027-01-15T08:00:00Z")


def test_a_success_with_another_key_does_not_end_the_failures_of_a_key():
    log = Log()
    log.of(refresh_failed(key=NEW_KEY))
    assert "had failed" not in log.of(MINTED)["message"]
    assert log.of(refresh_failed(key=NEW_KEY)) is None
