import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.config.durations import LONGEST, format_duration, parse_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90.0),
        ("15m", 900.0),
        ("1h30m", 5400.0),
        ("1h30m15s", 5415.0),
        ("2.5s", 2.5),
        ("0.5h", 1800.0),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        ("30d", 2_592_000.0),
        ("90", 90.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (90, 90.0),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_text_with_units_or_a_number_of_seconds(written, seconds):
    assert parse_duration(written) == seconds


ODD_TEXTS = [
    "",
    " ",
    "1 h",
    "1h 30m",
    "30m1h",
    "1m1m",
    "1w",
    "1H",
    "h",
    "-1s",
    "+1s",
    "1e3",
    ".5s",
    "5.s",
    "1,5s",
]
ODD_TEXTS += ["inf", "nan", "\u0661s", "1s\n", "1" * 65, "9" * 60 + "d"]
ODD_VALUES = [-1, -0.001, math.inf, math.nan, 10**400, LONGEST + 1, True, False, None, [], {}]


@pytest.mark.parametrize("written", [*ODD_TEXTS, *ODD_VALUES])
def test_any_other_value_is_refused_with_what_is_accepted(written):
    with pytest.raises(ValueError, match="is not a duration; accepted: a duration such as 90s, 15m, 1h30m"):
        parse_duration(written)


def test_a_clock_notation_is_refused_because_it_has_two_meanings():
    with pytest.raises(ValueError, match="write 1m30s or 1h30m"):
        parse_duration("1:30")


def test_a_long_text_is_cut_in_the_message():
    with pytest.raises(ValueError, match="…") as caught:
        parse_duration("x" * 10_000)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "0.5s"),
        (2.5, "2.5s"),
        (59.9996, "1m"),
        (90, "1m30s"),
        (3600, "1h"),
        (5400, "1h30m"),
        (86400, "24h"),
        (172800, "2d"),
        (2_592_000, "30d"),
        (-5, "-5s"),
    ],
)
def test_a_duration_is_shown_as_people_write_it(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(0, int(LONGEST) * 1000))
def test_a_shown_duration_reads_back_to_the_millisecond(milliseconds):
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(
        milliseconds / 1000, abs=5e-4
    )


@given(st.text(alphabet="0123456789.dhms:-+e ") | st.text())
def test_any_text_gives_seconds_in_range_or_is_refused(text):
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds <= LONGEST
