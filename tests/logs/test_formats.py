"""Log records as lines: no line contains a secret or looks like another entry."""

import json
import logging
import sys
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.model import SecretStr
from refresher.logs.formats import JsonFormatter, TextFormatter, entry_of
from refresher.logs.redaction import SecretIndex
from tests.core.builders import NOW

KEY = SecretStr('sesame"open/01')
FORMATTERS = (TextFormatter, JsonFormatter)
ESCAPE = "\x1b[2K\r"


def record(message: object = "hello", *arguments: object, name: str = "refresher", **extra: object):
    """A record as a logger makes it. `extra` may include `exc_info`."""
    trace = extra.pop("exc_info", None)
    made = logging.getLogger(name).makeRecord(
        name, logging.INFO, __file__, 1, message, arguments, trace, extra=extra
    )
    made.created, made.msecs = NOW.wall, 0.0
    return made


def formatted(formatter: type[TextFormatter] | type[JsonFormatter], made: logging.LogRecord) -> str:
    index = SecretIndex()
    index.hold("studio", [KEY])
    return formatter(index.blot_out).format(entry_of(made))


def raised(error: Exception, cause: Exception | None = None) -> tuple:
    """What `sys.exc_info` returns for a raised error."""

    def fail() -> None:
        raise error from cause

    try:
        fail()
    except Exception:  # noqa: BLE001 -- whatever it is
        return sys.exc_info()


def entry(made: logging.LogRecord) -> dict[str, object]:
    return json.loads(formatted(JsonFormatter, made))


# --- The form of a line.


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.INFO, "2027-01-15T08:00:00Z INFO    studio: minted"),
        (logging.WARNING, "2027-01-15T08:00:00Z WARNING studio: minted"),
        (logging.ERROR, "2027-01-15T08:00:00Z ERROR   studio: minted"),
    ],
)
def test_a_line_of_text(level, line):
    made = record("studio: minted")
    made.levelno, made.levelname = level, logging.getLevelName(level)
    assert formatted(TextFormatter, made) == line


def test_a_line_of_another_logger_names_it():
    text = formatted(TextFormatter, record("pool is full: %s", "h", name="urllib3"))
    assert text == "2027-01-15T08:00:00Z INFO    urllib3: pool is full: h"


def test_a_line_of_json():
    assert entry(record("studio: minted", token="studio", failures=0, left=1.5, gone=None, kept=True)) == {
        "ts": "2027-01-15T08:00:00.000Z",
        "level": "INFO",
        "logger": "refresher",
        "message": "studio: minted",
        "token": "studio",
        "failures": 0,
        "left": 1.5,
        "gone": None,
        "kept": True,
    }


@given(st.floats(1.6e9, 4e9))
def test_the_milliseconds_belong_to_the_second(created):
    made = record()
    made.created, made.msecs = created, (created - int(created)) * 1000
    seconds = formatted(TextFormatter, made).partition("Z")[0]
    assert entry(made)["ts"].startswith(f"{seconds}.")


def test_no_extra_replaces_a_standard_field():
    made = record("hello")
    made.__dict__ |= {"level": "DEBUG", "ts": "never", "logger": "somebody"}
    assert entry(made) == entry(record("hello"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1]}, "{'a': [1]}"),
        (float("nan"), "nan"),  # RFC 8259 has no number for it
        (float("-inf"), "-inf"),
        (KEY, repr(KEY)),
    ],
)
def test_a_value_that_is_not_a_json_number_is_logged_as_text(value, text):
    assert entry(record(given=value))["given"] == text


# --- Secrets.

NESTED = {"headers": [{"Authorization": f"Bearer {KEY.reveal()}"}]}
LEAKS = {
    "message": record(f"Bearer {KEY.reveal()}"),
    "arguments": record("%s asked with %r", "x", KEY.reveal()),
    "message that is an object": record(ValueError(KEY.reveal())),
    "extra": record(header=f"Bearer {KEY.reveal()}"),
    "bytes in an extra": record(header=KEY.reveal().encode()),
    "extra in containers": record(request=NESTED),
    "key of a mapping in an extra": record(request={KEY.reveal(): 1}),
    "object in an extra": record(error=ValueError(KEY.reveal())),
    "exception": record(exc_info=raised(ValueError(KEY.reveal()))),
    "exception's arguments": record(exc_info=raised(ValueError({"key": KEY.reveal()}))),
    "cause": record(exc_info=raised(ValueError("x"), ValueError(f"Bearer {KEY.reveal()}"))),
    "group of exceptions": record(exc_info=raised(ExceptionGroup("x", [ValueError(KEY.reveal())]))),
}


def noted() -> Exception:
    error = ValueError("x")
    error.add_note(f"the header was {KEY.reveal()}")
    return error


LEAKS["note on an exception"] = record(exc_info=raised(noted()))


def without_escapes(line: str) -> str:
    """`line` as a person, or a second JSON parser, reads it."""
    return line.replace("\\", "")


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize("where", LEAKS)
def test_no_line_contains_a_secret(formatter, where):
    line = formatted(formatter, LEAKS[where])
    assert KEY.reveal() not in without_escapes(line)
    if formatter is JsonFormatter or "extra" not in where:  # the text has no extras at all
        assert repr(KEY) in line


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_a_vouched_record_is_not_searched(formatter):
    searched: list[str] = []

    def redact(text: str) -> str:
        searched.append(text)
        return text

    formatter(redact).format(entry_of(record(vouched=True, token="studio")))
    assert searched == []
    formatter(redact).format(entry_of(record(token="studio")))
    assert searched != []


def test_a_line_does_not_show_that_it_is_vouched_for():
    assert "vouched" not in entry(record(vouched=True))


# --- Injection.

HOSTILE = (
    "401: no\n2027-01-15T08:00:00Z INFO    studio: minted a token",
    f"401: {ESCAPE}all is well",
    "401: \u202eevas si gnihton\u2028\x85\x9b31m\x7f",
)


@pytest.mark.parametrize("message", HOSTILE)
def test_a_hostile_message_stays_on_one_line_without_control_characters(message):
    text, line = formatted(TextFormatter, record(message)), formatted(JsonFormatter, record(message))
    assert text.isprintable()
    assert "\n" not in line
    assert "\x1b" not in line
    assert json.loads(line)["message"] == message


def test_unprintable_characters_are_escaped():
    text = formatted(TextFormatter, record("é\n\x1b[31m\u2028"))
    assert text.endswith(r" é\n\x1b[31m\u2028")


@given(st.text(max_size=60))
def test_every_message_is_one_line(message):
    made = record("%s", message, given=message)
    assert formatted(TextFormatter, made).isprintable()
    line = formatted(JsonFormatter, made)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["given"] == message


@given(st.text(max_size=60))
def test_no_line_of_a_traceback_looks_like_an_entry(message):
    first, *others = formatted(TextFormatter, record("hello", exc_info=raised(ValueError(message)))).split(
        "\n"
    )
    assert first == "2027-01-15T08:00:00Z INFO    hello"
    assert all(line.startswith("  ") and line.isprintable() for line in others)


def test_a_traceback_is_part_of_its_json_line():
    line = formatted(JsonFormatter, record(exc_info=raised(ValueError("x\ny"), KeyError("z"))))
    assert len(line.splitlines()) == 1
    assert "KeyError: 'z'" in json.loads(line)["exc"]
    assert json.loads(line)["exc"].endswith("ValueError: x\ny")


# --- The entry is made at once, its line later.


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_a_line_shows_the_objects_as_they_were_when_logged(formatter):
    words, error = ["then"], ValueError(["then"])
    made = entry_of(record("%s", words, given=words, exc_info=raised(error)))
    words.append("now")
    error.args[0].append("now")
    line = formatter(str).format(made)
    assert "then" in line
    assert "now" not in line


def test_an_entry_keeps_no_object_of_the_exceptions_frames_alive():
    def fail() -> None:
        around = Around()
        remembered.append(weakref.ref(around))
        raise ValueError("x")

    remembered: list[weakref.ref] = []
    try:
        fail()
    except ValueError:
        made = entry_of(record(exc_info=sys.exc_info()))
    assert "ValueError: x" in TextFormatter(str).format(made)
    assert remembered[0]() is None


class Around:
    """Represents the response of an issuer that contains a token."""
