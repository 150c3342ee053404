"""What a fault answers, and how it is told."""

import json

import pytest

from refresher.emulator.faults import Fault, Script


def test_the_answer_to_a_status_is_inlives_envelope_unless_a_body_is_given() -> None:
    assert json.loads(Fault(status=500).answer().body)["code"] == 500
    assert Fault(status=500, body=b"<html>").answer().body == b"<html>"


def test_a_redirect_names_its_location_and_may_be_any_of_the_300s() -> None:
    assert Fault(redirect="http://other/").answer().headers == (("Location", "http://other/"),)
    assert Fault(redirect="http://other/").answer().status == 307
    assert Fault(redirect="http://other/", status=301).answer().status == 301


def test_garbage_is_not_json() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (either no text or no JSON)
        json.loads(Fault(garbage=True).answer().body)


@pytest.mark.parametrize(
    ("fault", "replaces"),
    [
        (Fault(), False),
        (Fault(latency=1), False),
        (Fault(drip=0.1, cut_body=True, content_type="text/html", clock_offset=5), False),
        (Fault(same_token=True), False),
        (Fault(lifetime=0.5), False),
        (Fault(status=200), True),
        (Fault(body=b""), True),
        (Fault(garbage=True), True),
        (Fault(redirect="/"), True),
        (Fault(endless="close"), True),
        (Fault(hang=True), True),
        (Fault(reset=True), True),
    ],
)
def test_which_faults_stand_in_for_the_usual_answer(fault: Fault, replaces: bool) -> None:
    assert fault.replaces is replaces


def test_a_fault_is_told_by_what_differs_and_its_body_by_its_size_only() -> None:
    told = Fault(status=500, body=b"secret", latency=1.5).describe()
    assert told == {"status": 500, "body": "<6 bytes>", "latency": 1.5}


def test_a_script_tells_how_often_each_fault_still_applies() -> None:
    script = Script([Fault(status=500, count=3), Fault(status=503)])
    script.take("mint")
    assert script.describe() == [{"status": 500, "count": 2}, {"status": 503}]


def test_a_product_request_does_not_use_up_a_fault_of_the_mint() -> None:
    script = Script([Fault(status=500, count=1)])
    assert script.take("product") is None
    assert script.take("mint") == Fault(status=500, count=1)
    assert script.take("mint") is None
