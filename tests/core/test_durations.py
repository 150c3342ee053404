"""Durations as text."""

import pytest

from refresher.core.durations import humanized, shown_seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0s"),
        (0.9, "0s"),  # rounded down
        (59.9, "59s"),
        (60.0, "1m"),
        (61.0, "1m1s"),
        (3599.0, "59m59s"),
        (3600.0, "1h"),
        (3900.0, "1h5m"),
        (3905.0, "1h5m"),  # the two largest units
        (3605.0, "1h"),  # only adjacent units: not hours and seconds
        (86400.0, "1d"),
        (273600.0, "3d4h"),
        (8640000.0, "100d"),
        (-0.5, "0s"),
        (-8.0, "-8s"),
        (-3900.0, "-1h5m"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds, words):
    assert humanized(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.3, "0.3"), (0.299, "0.3"), (0.0, "0"), (9.991, "10"), (10.0, "10"), (119.95, "120")],
)
def test_seconds_in_a_message_are_rounded_up_to_the_configured_limit(seconds, shown):
    assert shown_seconds(seconds) == shown
