import contextlib
from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core import rfc3339

# From the first day of 1970 to the last of 9999, less a day for the largest offset.
wall_times = st.floats(min_value=0, max_value=253_402_214_400, allow_nan=False)


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1_793_872_800.0, "2026-11-05T10:00:00Z"),
        (1_793_872_800.999999, "2026-11-05T10:00:00Z"),
        (-0.5, "1969-12-31T23:59:59Z"),
    ],
)
def test_seconds_are_rounded_down(wall, text):
    assert rfc3339.to_second(wall) == text


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (1_793_872_800.0, "2026-11-05T10:00:00.000000Z"),
        (1_793_872_800.25, "2026-11-05T10:00:00.250000Z"),
        (1_793_872_800.1234567, "2026-11-05T10:00:00.123457Z"),
    ],
)
def test_microseconds_are_always_six_digits(wall, text):
    assert rfc3339.to_microsecond(wall) == text


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-05T10:00:00Z",
        "2026-11-05T10:00:00.000000Z",
        "2026-11-05T12:00:00+02:00",
        "2026-11-05T07:30:00-02:30",
    ],
)
def test_any_offset_names_the_same_moment(text):
    assert rfc3339.parse(text) == 1_793_872_800.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-05",
        "2026-11-05T10:00:00",
        "2026-13-05T10:00:00Z",
        "1793872800",
        "\ud800",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59.999999Z",
    ],
)
def test_an_ambiguous_or_impossible_time_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        rfc3339.parse(text)


@given(wall_times)
def test_a_wall_time_survives_to_the_microsecond(wall):
    # Two neighbouring floats are 32 µs apart in the year 9999, and a quarter of a microsecond today.
    assert rfc3339.parse(rfc3339.to_microsecond(wall)) == pytest.approx(wall, abs=4e-5, rel=0)


@given(wall_times)
def test_a_time_in_seconds_is_never_too_late(wall):
    assert 0 <= wall - rfc3339.parse(rfc3339.to_second(wall)) < 1


@given(st.text())
def test_any_text_is_a_moment_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert isinstance(rfc3339.parse(text), float)


@given(
    st.dates() | st.sampled_from([date.min, date.max]),
    st.times().map(time.isoformat),
    st.sampled_from(["Z", "+23:59", "-23:59", "+01:00"]),
)
def test_every_parsed_time_can_be_written_in_utc(day, hour, offset):
    try:
        wall = rfc3339.parse(f"{day}T{hour}{offset}")
    except ValueError:
        return
    assert rfc3339.parse(rfc3339.to_microsecond(wall)) == pytest.approx(wall, abs=4e-5, rel=0)
