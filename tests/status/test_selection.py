"""Which tokens a pattern selects."""

import pytest

from refresher.status.selection import matches


@pytest.mark.parametrize(
    ("pattern", "selected"),
    [
        ("", True),
        ("io-1", True),  # a part
        ("Studio", False),
        ("studio-*", True),  # the whole name
        ("tudio-*", False),
        ("*-1[a]", True),
        ("studio-?[a]", True),  # brackets are plain characters
        ("studio-?", False),
    ],
)
def test_a_pattern_is_a_part_of_the_name_or_describes_the_whole_name(pattern: str, selected: bool) -> None:
    assert matches("studio-1[a]", pattern) is selected
