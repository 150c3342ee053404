"""Logging of the whole process: formats, levels, threads, and streams that are broken."""

import io
import json
import logging
import os
import subprocess
import sys
import threading

import pytest

from refresher.logs.setup import configure
from refresher.logs.stream import BackgroundStream
from tests.commands.daemon import eventually
from tests.logs.captured import SECRET, Log

# --- Format and level.


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "INFO"])
def test_lines_below_the_level_are_omitted(level):
    log = Log("text", level)
    for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("refresher").log(each, "hello")
    levels = [line.split()[1].lower() for line in log.lines()]
    order = ["debug", "info", "warning", "error"]
    assert levels == order[order.index(level.lower()) :]


@pytest.mark.parametrize(
    ("level", "logged"), [("info", ["WARNING"]), ("debug", ["DEBUG", "INFO", "WARNING"])]
)
def test_the_http_client_logs_warnings_and_below_them_only_at_level_debug(level, logged):
    log = Log("text", level)
    for each in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger("urllib3.connectionpool").log(each, "hello")
    assert [line.split()[1] for line in log.lines()] == logged


def test_auto_is_json_without_a_terminal():
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
from refresher.logs.setup import configure
status = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}" if sys.argv[1] == "journal" else "8:1"
configure("auto", "debug", sys.stderr, str)
logging.getLogger("refresher").debug("a detail")
logging.getLogger("refresher").info("hello")
logging.getLogger("refresher").warning("look")
logging.getLogger("refresher").error("no", exc_info=ValueError("why"))
"""


def test_each_line_in_the_journal_has_its_level():
    """JOURNAL_STREAM names the stream that leads to the journal (systemd.exec(5)); no other stream does."""

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


def test_configuring_again_replaces_the_configuration():
    before, log = Log(), Log()
    logging.getLogger("refresher").info("hello")
    assert before.lines() == []
    assert len(log.lines()) == 1


# --- The writing thread.


def test_the_writing_thread_formats_and_redacts_the_lines(tmp_path):
    """Redaction takes too long for the thread that logs."""
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
    assert entry["message"].startswith("1 line is missing here")


# --- Records that cannot be written, and streams that fail.


def test_a_record_that_cannot_be_formatted_is_reported_without_its_arguments():
    log = Log()
    logging.getLogger("urllib3").warning("%d tries", SECRET.reveal())
    (line,) = log.lines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"]) == ("WARNING", "urllib3")
    assert "urllib3, test_setup.py:" in entry["message"]
    assert "TypeError" in entry["message"]
    assert SECRET.reveal() not in line


def test_if_redaction_fails_the_record_is_not_written():
    stream = io.StringIO()

    def broken(text: str) -> str:
        raise LookupError(SECRET.reveal())

    configure("text", "info", stream, broken)
    logging.getLogger("refresher").warning("header %s", SECRET.reveal(), exc_info=ValueError(SECRET.reveal()))
    assert stream.getvalue().endswith(" cannot be written: LookupError\n")
    assert SECRET.reveal() not in stream.getvalue()


def process(code: str, **streams: object) -> subprocess.CompletedProcess[str]:
    """A process that configures its log, as the program does, and then runs `code`."""
    preparation = (
        "import logging, sys, threading\n"
        "from refresher.__main__ import _prepare_streams\n"
        "from refresher.core.model import SecretStr\n"
        "from refresher.logs.setup import configure\n"
        "from refresher.logs.redaction import SecretIndex\n"
        "_prepare_streams()\n"
        "index = SecretIndex()\n"
        f"index.hold('studio', [SecretStr({SECRET.reveal()!r})])\n"
        "configure('json', 'info', sys.stderr, index.blot_out)\n"
        "log = logging.getLogger('refresher')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", preparation + code],
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams),
        # Without buffers nothing would remain to be written at the end.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        text=True,
        check=False,
        timeout=60,
    )


LOG_MUCH = "for number in range(1000): log.info('line %d', number)\nprint('done')"


def test_the_process_survives_a_log_whose_reader_has_gone():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = process(LOG_MUCH, stderr=writing)
    finally:
        os.close(writing)
    assert (ended.stdout, ended.returncode) == ("done\n", 0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk that is always full")
def test_the_process_survives_a_log_on_a_full_disk():
    with open("/dev/full", "w", encoding="utf-8") as full:
        ended = process(LOG_MUCH, stderr=full)
    assert (ended.stdout, ended.returncode) == ("done\n", 0)


def test_the_process_survives_a_closed_log():
    assert process(f"import os\nos.close(2)\n{LOG_MUCH}").stdout == "done\n"


def test_an_exception_that_ends_the_process_is_logged_and_redacted():
    ended = process(f"raise ValueError({SECRET.reveal()!r})")
    entry = json.loads(ended.stderr)
    assert ended.returncode == 1
    assert entry["level"] == "ERROR"
    assert "ended the process" in entry["message"]
    assert repr(SECRET) in entry["exc"]
    assert SECRET.reveal() not in ended.stderr


def test_an_exception_that_ends_a_thread_is_logged_and_redacted():
    ended = process(
        f"def work(): raise ValueError({SECRET.reveal()!r})\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()"
    )
    entry = json.loads(ended.stderr)
    assert "ended a thread" in entry["message"]
    assert repr(SECRET) in entry["exc"]
    assert SECRET.reveal() not in ended.stderr
