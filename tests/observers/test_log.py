"""The log as a whole: notifications in, lines out; and what becomes of it when its stream is broken."""

import io
import json
import logging
import os
import subprocess
import sys
import threading

import pytest

from refresher.core.model import Outcome, Reason, SecretStr
from refresher.core.notifications import (
    Crashed,
    KeyLoaded,
    Notification,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    RequestIgnored,
    TokenMinted,
)
from refresher.observers.log import LogObserver, configure
from refresher.observers.log_stream import BackgroundStream
from refresher.observers.redaction import SecretIndex
from tests.commands.daemon import eventually
from tests.core.builders import KEY, NEW_KEY, NOW, token

FILE = "file:/run/inlive/token"
FACTS = token().facts
SECRET = SecretStr("open-sesame-01")


@pytest.fixture(autouse=True)
def _as_before():
    """Leave logging, which is the whole process's, as it was."""
    root, urllib3 = logging.getLogger(), logging.getLogger("urllib3")
    before = root.handlers[:], root.level, urllib3.level, sys.excepthook, threading.excepthook
    for handler in root.handlers[:]:  # configure() closes what it finds
        root.removeHandler(handler)
    yield
    root.handlers[:], level, of_urllib3, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    urllib3.setLevel(of_urllib3)


def redact(text: str) -> str:
    index = SecretIndex()
    index.hold("studio", [SECRET])
    return index.blot_out(text)


class Log:
    """What an observer writes, on a virtual clock."""

    def __init__(self, log_format: str = "json", level: str = "info") -> None:
        self.stream = io.StringIO()
        self.now = NOW
        configure(log_format, level, self.stream, redact)
        self.observer = LogObserver()

    def lines(self) -> list[str]:
        """What was written since the last call."""
        written = self.stream.getvalue().splitlines()
        self.stream.seek(0)
        self.stream.truncate()
        return written

    def of(self, notification: Notification, *, after: float = 0.0, token: str = "studio") -> dict | None:
        """The entry for an notification, or None if it has no line."""
        self.now += after
        self.observer.on_notification(token, notification, self.now)
        lines = self.lines()
        assert len(lines) <= 1
        return json.loads(lines[0]) if lines else None


def refresh_failed(message: str = "500", *, left: float = 600.0, key: SecretStr = KEY) -> RefreshFailed:
    return RefreshFailed(
        Reason.SCHEDULED, Outcome.SERVER_ERROR, message, key.fingerprint, wait=2.0, left=left
    )


def write_failed(message: str = "no space") -> OutputFailed:
    return OutputFailed(FILE, message, FACTS.expiry, writing=True)


MINTED = TokenMinted(Reason.SCHEDULED, FACTS, failures=2)
WRITTEN = OutputWritten(FILE, "new", FACTS)


# --- One line for what happened.


def test_an_announcement_is_one_line_with_the_tokens_name():
    entry = Log().of(KeyLoaded("00000000000000aa", changed=False))
    del entry["ts"]
    assert entry == {
        "level": "INFO",
        "logger": "refresher",
        "message": "studio: read the key 00000000000000aa",
        "event": "KeyLoaded",
        "token": "studio",
        "key_fingerprint": "00000000000000aa",
    }


def test_what_concerns_the_whole_process_names_no_token():
    entry = Log().of(RequestIgnored("SIGHUP: not supported"), token="")
    assert entry["message"] == "SIGHUP: not supported"
    assert "token" not in entry


def test_a_percent_sign_in_a_message_is_no_placeholder():
    assert "100%s full" in Log().of(write_failed("100%s full"))["message"]


def test_our_own_mistake_is_told_with_its_traceback():
    entry = Log().of(Crashed("Write", KeyError("studio")))
    assert entry["level"] == "ERROR"
    assert entry["exc"].endswith("KeyError: 'studio'")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_is_told_whatever_is_announced(log_format):
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


def test_a_failure_that_repeats_itself_has_a_line_in_five_minutes_that_tells_how_often():
    log = Log()
    first = log.of(refresh_failed())
    assert (first["since"], first["failures"]) == ("2027-01-15T08:00:00Z", 1)
    assert "failing since" not in first["message"]
    assert [log.of(refresh_failed(), after=60.0) for _ in range(4)] == [None] * 4
    again = log.of(refresh_failed(), after=60.0)
    assert (again["since"], again["failures"]) == ("2027-01-15T08:00:00Z", 6)
    assert again["message"].endswith(
        "; failing since 2027-01-15T08:00:00Z, 6 times so far, 4 of them not logged"
    )


@pytest.mark.parametrize(
    ("first", "then", "because"),
    [
        (refresh_failed(), refresh_failed(left=0.0), "it has become an error: consumers are without"),
        (refresh_failed("500"), refresh_failed("502"), "it says something else"),
        (refresh_failed(), refresh_failed(key=NEW_KEY), "it is another key"),
        (write_failed(), OutputFailed(FILE, "no space", None, writing=True), "what it held has expired"),
        (write_failed(), OutputFailed("file:/b", "no space", FACTS.expiry, writing=True), "another output"),
        (Crashed("Write", KeyError("a")), Crashed("Write", KeyError("b")), "it is another mistake"),
        (Crashed("Write", KeyError("a")), Crashed("Mint", KeyError("a")), "elsewhere"),
    ],
)
def test_what_differs_is_told_at_once(first, then, because):
    log = Log()
    log.of(first)
    assert log.of(first) is None
    assert log.of(then) is not None, because


def test_tokens_are_told_of_separately():
    log = Log()
    log.of(refresh_failed())
    assert log.of(refresh_failed(), token="other") is not None


def test_what_is_no_failure_is_told_each_time():
    log = Log()
    assert [log.of(WRITTEN)["message"] for _ in range(2)] == [
        f"studio: wrote {FILE}, valid until 2027-01-15T09:00:00Z"
    ] * 2


@pytest.mark.parametrize(("failure", "success"), [(refresh_failed(), MINTED), (write_failed(), WRITTEN)])
def test_the_first_success_tells_since_when_it_had_failed_and_the_next_failure_is_a_new_one(failure, success):
    log = Log()
    log.of(failure)
    log.of(failure, after=60.0)
    assert log.of(success, after=60.0)["message"].endswith("; it had failed since 2027-01-15T08:00:00Z")
    assert "it had failed" not in log.of(success)["message"]
    assert log.of(failure)["failures"] == 1


def test_a_write_that_succeeds_ends_what_failed_in_reading_too():
    log = Log()
    log.of(OutputFailed(FILE, "permission denied", None, writing=False))
    log.of(write_failed(), after=60.0)
    assert log.of(WRITTEN)["message"].endswith("; it had failed since 2027-01-15T08:00:00Z")


def test_another_keys_success_does_not_end_a_keys_failures():
    log = Log()
    log.of(refresh_failed(key=NEW_KEY))
    assert "it had failed" not in log.of(MINTED)["message"]
    assert log.of(refresh_failed(key=NEW_KEY)) is None


# --- Where to, and how much.


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "INFO"])
def test_what_is_below_the_level_is_left_out(level):
    log = Log("text", level)
    for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("refresher").log(each, "hello")
    told = [line.split()[1].lower() for line in log.lines()]
    order = ["debug", "info", "warning", "error"]
    assert told == order[order.index(level.lower()) :]


@pytest.mark.parametrize(("level", "told"), [("info", ["WARNING"]), ("debug", ["DEBUG", "INFO", "WARNING"])])
def test_of_the_http_client_warnings_are_told_and_the_rest_where_details_are_wanted(level, told):
    log = Log("text", level)
    for each in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger("urllib3.connectionpool").log(each, "hello")
    assert [line.split()[1] for line in log.lines()] == told


def test_auto_is_json_where_no_terminal_is():
    log = Log("auto")
    logging.getLogger("refresher").info("hello")
    assert json.loads(log.lines()[0])["message"] == "hello"


def test_auto_is_text_on_a_terminal():
    ours, theirs = os.openpty()
    with open(theirs, "w", encoding="utf-8") as terminal, open(ours, "rb", buffering=0) as screen:
        configure("auto", "info", terminal, str)
        logging.getLogger("refresher").info("hello")
        assert screen.read(1000).endswith(b" INFO    hello\r\n")


JOURNAL = """
import logging, os, sys
from refresher.observers.log import configure
status = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}" if sys.argv[1] == "journal" else "8:1"
configure("auto", "debug", sys.stderr, str)
logging.getLogger("refresher").debug("a detail")
logging.getLogger("refresher").info("hello")
logging.getLogger("refresher").warning("look")
logging.getLogger("refresher").error("no", exc_info=ValueError("why"))
"""


def test_each_line_in_the_journal_has_a_level_that_it_can_be_found_by():
    """systemd says to which stream the journal is connected (systemd.exec(5)); another one is none."""

    def written(where: str) -> list[str]:
        ask = [sys.executable, "-c", JOURNAL, where]
        return subprocess.run(ask, capture_output=True, text=True, check=True).stderr.splitlines()

    assert written("journal") == [
        "<7>DEBUG   a detail",
        "<6>INFO    hello",
        "<4>WARNING look",
        "<3>ERROR   no",
        "<3>  ValueError: why",
    ]
    assert json.loads(written("elsewhere")[1])["message"] == "hello"


def test_configuring_again_replaces_what_was_configured():
    before, log = Log(), Log()
    logging.getLogger("refresher").info("hello")
    assert before.lines() == []
    assert len(log.lines()) == 1


# --- Who does the work.


def test_lines_are_made_by_the_thread_that_writes_them(tmp_path):
    """Redaction takes longer than whoever logs should wait."""
    redacting: list[threading.Thread] = []

    def redact(text: str) -> str:
        redacting.append(threading.current_thread())
        return text

    with open(tmp_path / "log", "w", encoding="utf-8") as file:
        stream = BackgroundStream(file)
        dropped = configure("text", "info", stream, redact)
        logging.getLogger("refresher").info("hello")
        stream.end()
    assert (tmp_path / "log").read_text().endswith(" INFO    hello\n")
    assert [thread.name for thread in redacting] == ["log"]
    assert dropped() == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk that is always full")
def test_missing_lines_are_reported_in_the_format_of_the_log(tmp_path):
    path = tmp_path / "log"
    with open("/dev/full", "w", encoding="utf-8") as full, open(path, "wb") as roomy:
        stream = BackgroundStream(full)
        dropped = configure("json", "info", stream, str)
        logging.getLogger("refresher").info("lost")
        eventually(lambda: dropped() == 1, "a line could not be written")
        os.dup2(roomy.fileno(), full.fileno())
        stream.end()
    entry = json.loads(path.read_text())
    assert (entry["level"], entry["event"], entry["dropped"]) == ("WARNING", "LinesDropped", 1)
    assert entry["message"] == "1 line is missing here: nobody read it, or it could not be written"


# --- What cannot be told.


def test_a_record_that_cannot_be_rendered_is_told_of_without_its_arguments():
    log = Log()
    logging.getLogger("urllib3").warning("%d tries", SECRET.reveal())
    (line,) = log.lines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"]) == ("WARNING", "urllib3")
    assert entry["message"].startswith("a record of urllib3, test_log.py:")
    assert entry["message"].endswith(" cannot be written: TypeError")


def test_when_redaction_fails_nothing_of_the_record_is_told():
    stream = io.StringIO()

    def broken(text: str) -> str:
        raise LookupError(SECRET.reveal())

    configure("text", "info", stream, broken)
    logging.getLogger("refresher").warning("header %s", SECRET.reveal(), exc_info=ValueError(SECRET.reveal()))
    assert stream.getvalue().endswith("a record of refresher cannot be written: LookupError\n")
    assert SECRET.reveal() not in stream.getvalue()


def process(code: str, **streams: object) -> subprocess.CompletedProcess[str]:
    """A process that configures its log, as the program does, and then runs `code`."""
    cli_options = (
        "import logging, sys, threading\n"
        "from refresher.__main__ import _prepare_streams\n"
        "from refresher.core.model import SecretStr\n"
        "from refresher.observers.log import configure\n"
        "from refresher.observers.redaction import SecretIndex\n"
        "_prepare_streams()\n"
        "index = SecretIndex()\n"
        f"index.hold('studio', [SecretStr({SECRET.reveal()!r})])\n"
        "configure('json', 'info', sys.stderr, index.blot_out)\n"
        "log = logging.getLogger('refresher')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", cli_options + code],
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams),
        # Without buffers nothing would be left to fail over at the end.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        text=True,
        check=False,
        timeout=60,
    )


LOG_MUCH = "for number in range(1000): log.info('line %d', number)\nprint('done')"


def test_the_process_lives_on_and_ends_well_when_the_reader_of_its_log_has_gone():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = process(LOG_MUCH, stderr=writing)
    finally:
        os.close(writing)
    assert (ended.stdout, ended.returncode) == ("done\n", 0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk that is always full")
def test_the_process_lives_on_and_ends_well_when_the_disk_of_its_log_is_full():
    with open("/dev/full", "w", encoding="utf-8") as full:
        ended = process(LOG_MUCH, stderr=full)
    assert (ended.stdout, ended.returncode) == ("done\n", 0)


def test_the_process_lives_on_when_its_log_is_closed():
    assert process(f"import os\nos.close(2)\n{LOG_MUCH}").stdout == "done\n"


def test_an_exception_that_ends_the_process_is_told_like_everything_else():
    ended = process(f"raise ValueError({SECRET.reveal()!r})")
    entry = json.loads(ended.stderr)
    assert ended.returncode == 1
    assert entry["level"] == "ERROR"
    assert entry["message"].startswith("a mistake of the refresher itself ended the process")
    assert repr(SECRET) in entry["exc"]
    assert SECRET.reveal() not in ended.stderr


def test_an_exception_that_ends_a_thread_is_told_like_everything_else():
    ended = process(
        f"def work(): raise ValueError({SECRET.reveal()!r})\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()"
    )
    entry = json.loads(ended.stderr)
    assert entry["message"].startswith("a mistake of the refresher itself ended a thread")
    assert repr(SECRET) in entry["exc"]
    assert SECRET.reveal() not in ended.stderr
