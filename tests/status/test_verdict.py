"""The verdict of a monitoring plugin on a status document."""

from typing import Any

import pytest
from hypothesis import given, settings

from refresher.core.events import MintFailed, WriteFailed
from refresher.core.problems import of_lease
from refresher.core.status import LeaseStatus
from refresher.status.verdict import Level, Verdict, line, verdict
from tests.core.builders import KEY, KEY_REFUSED, NOW
from tests.observed import Daemon, at_work
from tests.status.documents import FILE, ONE, document, foreign_documents, in_trouble, refuse


def of(daemon: Daemon, *leases: LeaseStatus) -> Verdict:
    return verdict(document(daemon, *leases))


def test_all_is_well() -> None:
    daemon = at_work("studio", outputs=ONE)
    daemon.clock.time += 600.0
    summary = "OK - tokens: 1, all outputs hold a valid token; the first expires in 50m"
    assert of(daemon) == Verdict(Level.OK, summary)


def test_an_output_without_a_token_is_critical_and_comes_first() -> None:
    level, summary = of(in_trouble())
    assert level == Level.CRITICAL
    assert summary.startswith(f"CRITICAL - studio: {FILE} holds no valid token: key_refused for 0s (since ")
    assert "put a valid key into the key file" in summary
    assert summary.endswith("; and 4 more")


def test_a_failure_while_consumers_are_served_is_a_warning() -> None:
    daemon = at_work("studio", outputs=ONE)
    daemon.observe("studio", WriteFailed(FILE, "no space left", roll=1.0))
    level, summary = of(daemon)
    assert level == Level.WARNING
    assert summary.startswith(
        f"WARNING - studio: {FILE}: not_written for 0s (since 2027-01-15T08:00:00Z, once): "
    )


@pytest.mark.parametrize(
    ("age", "level"),
    # The headroom is 1010 s (tests/status/test_document.py): from 2590 s on less than all of it is left.
    [(2580.0, Level.OK), (2600.0, Level.WARNING), (3080.0, Level.WARNING), (3100.0, Level.CRITICAL)],
)
def test_a_late_refresh_is_critical_when_half_of_the_headroom_is_gone(age: float, level: Level) -> None:
    daemon = at_work("studio", outputs=ONE)
    daemon.clock.time += age
    assert of(daemon).level == level
    assert ("the refresh is late" in of(daemon).summary) == (level != Level.OK)


def test_a_late_refresh_names_its_cause() -> None:
    daemon = at_work("studio", outputs=ONE)
    daemon.clock.time += 3100.0
    daemon.observe("studio", MintFailed(KEY, KEY_REFUSED, roll=1.0))
    summary = of(daemon).summary
    assert summary.startswith(
        "CRITICAL - studio: the refresh is late, the token expires in 8m20s: key_refused"
    )


def test_tokens_that_live_shorter_than_requested_have_less_headroom() -> None:
    shown = document(at_work("studio", outputs=ONE))
    (token,) = shown["tokens"]
    token["lifetime_shortfall_seconds"] = 3000.0  # the token lives ten minutes; its headroom is 168 s
    token["outputs"][0]["remaining_seconds"] = 500.0
    assert verdict(shown).level == Level.OK
    token["outputs"][0]["remaining_seconds"] = 160.0
    assert verdict(shown).level == Level.WARNING


def test_the_problem_of_a_lease_is_a_warning() -> None:
    lease = LeaseStatus("inlive/a", leads=True, problem=of_lease("no answer", None, NOW))
    level, summary = of(at_work("studio"), lease)
    assert level == Level.WARNING
    assert summary.startswith("WARNING - lease_failed for ")
    assert ", once): no answer; check the API server" in summary


def test_a_refused_configuration_is_a_warning() -> None:
    daemon = at_work("studio")
    refuse(daemon, "c.yaml:3: tokens is wrong")
    level, summary = of(daemon)
    assert level == Level.WARNING
    assert summary.startswith("WARNING - configuration_refused for 0s (since ")
    assert "c.yaml:3: tokens is wrong; correct the file" in summary


def test_a_daemon_that_does_not_answer_is_a_warning_while_the_outputs_are_valid() -> None:
    shown = document(at_work("studio")) | {"is_fallback": True, "source_detail": "no daemon answers"}
    assert verdict(shown) == Verdict(Level.WARNING, "WARNING - no daemon answers")


@pytest.mark.parametrize("stranger", [{}, {"tokens": [], "valid": True}, {"tokens": [{}], "valid": "yes"}])
def test_a_document_without_a_known_status_is_unknown(stranger: dict[str, Any]) -> None:
    assert verdict(stranger).level == Level.UNKNOWN


def test_a_summary_is_one_line_without_performance_data() -> None:
    assert line(Level.UNKNOWN, "a\nb | c") == "UNKNOWN - a b / c"


@settings(deadline=None)
@given(foreign_documents())
def test_every_document_has_a_verdict(stranger: dict[str, Any]) -> None:
    level, summary = verdict(stranger)
    assert summary.startswith(f"{level.name} - ")
    assert "\n" not in summary
