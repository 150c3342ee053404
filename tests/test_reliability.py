"""The table in docs/reliability.md agrees with the program."""

import re
from pathlib import Path

import pytest

from refresher.config.durations import format_duration, parse_duration
from refresher.core.schedule import headroom

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "reliability.md").read_text()
ROWS = re.findall(r"^\| (\S+) \| (\d+)% \| (\S+) \| (\S+) \|$", PAGE, re.MULTILINE)
PROPAGATION_DELAYS = (0.0, 120.0)  # seconds: of a file, of a Secret


def test_the_page_has_a_table_of_headrooms():
    assert len(ROWS) >= 5


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_the_headroom_in_the_table_is_what_the_program_computes(row):
    lifetime, refresh_at, *shown = row
    seconds = [
        headroom(parse_duration(lifetime), int(refresh_at) / 100, propagation_delay, timeout=10.0)
        for propagation_delay in PROPAGATION_DELAYS
    ]
    assert shown == [format_duration(round(length)) for length in seconds]
