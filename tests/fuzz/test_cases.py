"""Every target handles the initial examples and the earlier findings of fuzzing correctly. `make fuzz`
searches for more (tests/fuzz/run.py)."""

from pathlib import Path

import pytest

from tests.fuzz.table import TARGETS

CASES = sorted((Path(__file__).parent / "cases").glob("*/*"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_earlier_finding_is_handled_correctly(case):
    TARGETS[case.parent.name].check(case.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_an_initial_example_is_handled_correctly(name):
    for seed in TARGETS[name].seeds():
        TARGETS[name].check(seed)
