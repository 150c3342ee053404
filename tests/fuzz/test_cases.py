"""What fuzzing begins from, and what it once found: every target meets all of it as it should. `make fuzz`
looks for more (tests/fuzz/run.py)."""

from pathlib import Path

import pytest

from tests.fuzz.table import TARGETS

CASES = sorted((Path(__file__).parent / "cases").glob("*/*"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_is_met_as_it_should_be(case):
    TARGETS[case.parent.name].check(case.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_begins_from_is_met_as_it_should_be(name):
    for seed in TARGETS[name].seeds():
        TARGETS[name].check(seed)
