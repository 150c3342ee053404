"""What people see of a status document, which may come from a daemon of another version."""

import pytest

from refresher.core.problems import of_lease
from refresher.core.status import LeaseStatus
from refresher.status.page import page
from refresher.status.rows import UNKNOWN, headline, lease_lines, problems_of_daemon, rows, shown
from refresher.status.table import table
from tests.core.builders import NOW
from tests.observed import at_work
from tests.status.documents import document

A, B = "inlive/a", "inlive/b"
UNANSWERED = of_lease("no answer", None, NOW)


@pytest.mark.parametrize(
    ("leases", "lines"),
    [
        ([], []),
        ([LeaseStatus(A, leads=True)], ["leader: this process holds the lease inlive/a"]),
        ([LeaseStatus(A, leads=False, holder="pod-2")], ["standby: pod-2 holds the lease inlive/a"]),
        ([LeaseStatus(A, leads=False)], ["standby: no process is known to hold the lease inlive/a"]),
        (
            [LeaseStatus(A, leads=False, holder="pod-2", problem=UNANSWERED), LeaseStatus(B, leads=True)],
            [
                "standby: pod-2 held the lease inlive/a when it was last read",
                "leader: this process holds the lease inlive/b",
            ],
        ),
    ],
)
def test_table_and_page_show_above_the_tokens_who_leads(leases: list[LeaseStatus], lines: list[str]) -> None:
    status = document(at_work("studio"), *leases)
    assert list(lease_lines(status)) == lines
    assert table(status).splitlines()[: len(lines) + 1] == [headline(status), *lines]
    assert all(line in page(status) for line in lines)


def test_the_problem_of_a_lease_has_its_age_and_advice_below() -> None:
    *_, problem, advice, _, _, _, _ = table(
        document(at_work("studio"), LeaseStatus(A, False, "", UNANSWERED))
    ).splitlines()
    assert problem.startswith("! lease_failed for ")
    assert problem.endswith(", once): no answer")
    assert advice.startswith("> check the API server")


@pytest.mark.parametrize("foreign", [7, "x", {}, [7]])
def test_leases_that_are_no_objects_are_ignored(foreign: object) -> None:
    assert lease_lines({"leases": foreign}) == ()


@pytest.mark.parametrize("foreign", [{}, {"leads": "yes", "lease": 1, "holder": [], "problem": 7}])
def test_fields_of_a_lease_that_are_missing_or_misformed_are_unknown(foreign: dict[str, object]) -> None:
    assert "lease -" in lease_lines({"leases": [foreign]})[0]
    assert all(problem.code == UNKNOWN for problem in problems_of_daemon({"leases": [foreign]}))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf"), 1e300, "60", True])
def test_an_invalid_number_of_seconds_is_a_dash(seconds: object) -> None:
    (row,) = rows({"tokens": [{"remaining_seconds": seconds}]})
    assert row.left == UNKNOWN


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines", "two\\nlines"),
        ("\u202eright to left", "\\u202eright to left"),
        ("\udcff", "\\udcff"),
        ("zürich 深い", "zürich 深い"),
        ("", "-"),
        (None, "-"),
        (7, "-"),
    ],
)
def test_control_characters_are_escaped(text: object, seen: str) -> None:
    assert shown(text) == seen
