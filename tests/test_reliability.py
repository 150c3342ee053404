"""docs/reliability.md: its table is the program's own arithmetic."""

import re
from pathlib import Path

import pytest

from refresher.config.durations import format_duration, parse_duration
from refresher.core.schedule import headroom

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "reliability.md").read_text()
ROWS = re.findall(r"^\| (\S+) \| (\d+)% \| (\S+) \| (\S+) \|$", PAGE, re.MULTILINE)
PROPAGATION_DELAYS = (0.0, 120.0)  # seconds, of a file and a Secret


def test_there_is_a_table():
    assert len(ROWS) >= 5


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_the_headroom_in_the_table_is_the_one_of_the_program(row):
    lifetime, refresh_at, *told = row
    seconds = [
        headroom(parse_duration(lifetime), int(refresh_at) / 100, propagation_delay, timeout=10.0)
        for propagation_delay in PROPAGATION_DELAYS
    ]
    assert told == [format_duration(round(each)) for each in seconds]
