"""docs/troubleshooting.md has a row for each exit code, outcome and reason of an Event."""

import ast
import re
from pathlib import Path

import pytest

from refresher import exit_codes
from refresher.core.advice import ADVICE
from refresher.core.model import Outcome

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()


def rows(section: str) -> dict[str, list[str]]:
    """The cells of each row of the table in this section, by the first one."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {first.strip("` "): [cell.strip() for cell in rest] for first, *rest in table[2:]}


def reasons() -> set[str]:
    """The reasons of Events, from the reports in the code."""
    tree = ast.parse((ROOT / "refresher" / "kube" / "events.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    reports = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "_Report"]
    return {str(ast.literal_eval(call.args[2])) for call in reports}


def test_every_exit_code_has_a_row():
    codes = {str(value) for value in vars(exit_codes).values() if isinstance(value, int)}
    assert len(codes) == 6
    assert rows("Exit codes").keys() == codes


def test_every_outcome_has_a_row_with_the_advice_of_the_log():
    found = rows("Outcomes of a mint")
    assert {outcome: cells[-1] for outcome, cells in found.items()} == {
        outcome.value: ADVICE[outcome] for outcome in Outcome
    }


def test_every_reason_of_an_event_has_a_row():
    assert len(reasons()) == 8
    assert rows("Events of Kubernetes").keys() == reasons()


@pytest.mark.parametrize("section", ["Exit codes", "Outcomes of a mint", "Events of Kubernetes"])
def test_a_row_says_what_it_means_how_to_confirm_and_what_to_do(section):
    assert [row for row, cells in rows(section).items() if len(cells) != 3 or not all(cells)] == []


def test_the_gravest_code_comes_first():
    order = re.search(r"the first of ([\d, ]+) that applies", PAGE)
    assert order is not None
    codes = [int(code) for code in order[1].split(", ")]
    assert [exit_codes.gravest(codes[at:]) for at in range(len(codes))] == codes
