"""The status as a document, and the reasons for not being ready."""

import json
from typing import Any

import pytest

from refresher.core.advice import ADVICE_ON, Code
from refresher.core.events import MintFailed, WriteFailed
from refresher.core.problems import of_lease
from refresher.core.process_notifications import ConfigurationApplied
from refresher.core.status import LeaseStatus
from refresher.status.document import (
    MOST_REASONS,
    OUTPUTS,
    Origin,
    status_document,
    unready_outputs,
)
from tests.core.builders import KEY, NOW, UNREACHABLE, token
from tests.observed import Daemon, at_work
from tests.status.documents import FILE, ONE, document, elapse, in_trouble, refuse

NO_TOKEN = {
    "code": "no_token",
    "message": "holds no token known to be valid",
    "since": None,
    "count": None,
    "advice": ADVICE_ON[Code.NO_TOKEN],
}
FULL = {
    "code": "not_written",
    "message": "cannot write /full/token: no space left",
    "since": "2027-01-15T08:00:00Z",
    "count": 1,
    "advice": ADVICE_ON[Code.NOT_WRITTEN],
}


def unready(daemon: Daemon) -> list[dict[str, Any]]:
    return unready_outputs(daemon.view(), daemon.clock.now())


def test_the_document_of_a_token_at_work() -> None:
    daemon = at_work("studio", outputs=ONE)
    daemon.clock.time += 600.25
    assert document(daemon) == {
        "source": "daemon",
        "version": "1.2.3",
        "host": "host-1",
        "started_at": "2027-01-15T08:00:00Z",
        "time": "2027-01-15T08:10:00Z",
        "valid": True,
        "leases": [],
        "config": None,
        "tokens": [
            {
                "name": "studio",
                "valid": True,
                "issued_at": "2027-01-15T08:00:00Z",
                "expires_at": "2027-01-15T09:00:00Z",
                "remaining_seconds": 2999.75,
                "lifetime_seconds": 3600.0,
                "lifetime_shortfall_seconds": 0.0,
                "headroom_seconds": 1010.0,
                "refresh_due_at": "2027-01-15T08:42:00Z",
                "next_refresh_at": "2027-01-15T08:42:00Z",
                "next_reason": "scheduled",
                "key_fingerprint": KEY.fingerprint,
                "key_accepted": True,
                "token_fingerprint": token().facts.fingerprint,
                "problems": [],
                "outputs": [
                    {
                        "name": FILE,
                        "valid": True,
                        "issued_at": "2027-01-15T08:00:00Z",
                        "expires_at": "2027-01-15T09:00:00Z",
                        "remaining_seconds": 2999.75,
                        "token_fingerprint": token().facts.fingerprint,
                        "owner": None,
                        "problem": None,
                        "hook": None,
                    }
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    "leases",
    [
        (),
        (
            LeaseStatus("inlive/a", leads=False, holder="pod-2", problem=of_lease("no answer", None, NOW)),
            LeaseStatus("inlive/b", leads=True),
        ),
    ],
)
def test_each_lease_is_an_object(leases: tuple[LeaseStatus, ...]) -> None:
    shown = json.loads(json.dumps(document(at_work("studio"), *leases)))["leases"]
    problems = [each.pop("problem") for each in shown]
    assert shown == [{"lease": each.lease, "leads": each.leads, "holder": each.holder} for each in leases]
    assert (
        problems
        == [
            {
                "code": "lease_failed",
                "message": "no answer",
                "since": "2027-01-15T08:00:00Z",
                "count": 1,
                "advice": ADVICE_ON[Code.LEASE_FAILED],
            },
            None,
        ][: len(leases)]
    )


def test_a_status_that_no_daemon_gave_names_its_source() -> None:
    now = at_work("studio").clock.now()
    read = status_document((), now, Origin(OUTPUTS, "1.2.3", "host-1"))
    assert (read["source"], read["started_at"]) == ("outputs", None)


def test_an_unknown_value_is_null() -> None:
    (shown,) = document(Daemon("studio"))["tokens"]
    assert shown.keys() == document(at_work("studio"))["tokens"][0].keys()
    unknown = {name for name, value in shown.items() if value is None}
    assert unknown == {
        "issued_at",
        "expires_at",
        "remaining_seconds",
        "lifetime_shortfall_seconds",
        "refresh_due_at",
        "next_refresh_at",
        "next_reason",
        "key_fingerprint",
        "key_accepted",
        "token_fingerprint",
    }
    assert shown["outputs"][0]["expires_at"] is None


def test_a_duration_in_the_past_is_negative() -> None:
    daemon = at_work("studio")
    daemon.clock.time += 3660.0
    shown = document(daemon)
    assert shown["valid"] is False
    assert shown["tokens"][0]["outputs"][0]["remaining_seconds"] == -60.0


def test_a_retry_does_not_move_the_time_when_the_token_was_due() -> None:
    daemon = at_work("studio", outputs=ONE)
    elapse(daemon, 2700.0)
    daemon.observe("studio", MintFailed(KEY, UNREACHABLE, roll=1.0))
    (shown,) = document(daemon)["tokens"]
    assert shown["refresh_due_at"] == "2027-01-15T08:42:00Z"
    assert shown["next_refresh_at"] == "2027-01-15T08:45:02Z"


def test_a_refused_configuration_has_a_problem_for_each_mistake_until_it_is_mended() -> None:
    daemon = at_work("studio", outputs=ONE)
    for mistakes in (("c.yaml:3: a",), ("c.yaml:3: a", "c.yaml:9: b")):
        daemon.clock.time += 60.0
        refuse(daemon, *mistakes)
    common = {"code": "configuration_refused", "since": "2027-01-15T08:01:00Z", "count": 2}
    common["advice"] = ADVICE_ON[Code.CONFIGURATION_REFUSED]
    assert document(daemon)["config"] == {
        "loaded_at": "2027-01-15T08:00:00Z",
        "problems": [common | {"message": mistake} for mistake in mistakes],
    }
    assert document(daemon)["valid"] is True
    applied = ConfigurationApplied(added=0, changed=0, removed=0)
    daemon.counters.on_notification("", applied, daemon.clock.now())
    assert document(daemon)["config"] == {"loaded_at": "2027-01-15T08:02:00Z", "problems": []}


def test_one_invalid_token_makes_the_whole_invalid() -> None:
    daemon = at_work("studio")
    daemon.tokens |= Daemon("radio").tokens
    assert document(daemon)["valid"] is False


def test_the_document_is_json_without_secrets() -> None:
    secret = token()
    assert secret.refresh_token is not None
    text = json.dumps([document(at_work("studio")), document(in_trouble())], allow_nan=False)
    assert "key_refused" in text
    for each in (KEY, secret.access, secret.refresh_token):
        assert each.reveal() not in text


# --- Outputs that are not ready.


def test_each_output_without_a_valid_token_is_not_ready() -> None:
    assert unready(in_trouble()) == [
        {"token": "studio", "output": FILE, "problem": NO_TOKEN},
        {
            "token": "studio",
            "output": "file:/full/token",
            "problem": FULL,
        },
    ]


def test_of_many_outputs_without_a_token_the_first_are_listed() -> None:
    """All of ten thousand would take a tenth of a second for each probe."""
    names = [f"token-{number}" for number in range(MOST_REASONS + 1)]
    listed = [reason["token"] for reason in unready(Daemon(*names))]
    assert listed == names[:MOST_REASONS]


def test_a_failing_output_that_holds_a_valid_token_is_ready() -> None:
    daemon = at_work("studio", outputs=ONE)
    daemon.observe("studio", WriteFailed(FILE, "no space left", roll=1.0))
    assert document(daemon)["tokens"][0]["outputs"][0]["problem"]["message"] == "no space left"
    assert unready(daemon) == []
