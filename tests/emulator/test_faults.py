"""The response of a fault, and its description."""

import json

import pytest

from refresher.emulator.faults import Fault, Script


def test_a_status_without_a_body_is_sent_in_inlives_envelope() -> None:
    assert json.loads(Fault(status=500).answer().body)["code"] == 500
    assert Fault(status=500, body=b"<html>").answer().body == b"<html>"


def test_a_redirect_has_its_location_and_any_3xx_status() -> None:
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
def test_some_faults_replace_the_usual_response(fault: Fault, replaces: bool) -> None:
    assert fault.replaces is replaces


def test_a_description_lists_changed_fields_and_only_the_size_of_a_body() -> None:
    description = Fault(status=500, body=b"secret", latency=1.5).describe()
    assert description == {"status": 500, "body": "<6 bytes>", "latency": 1.5}


def test_a_script_describes_the_remaining_counts() -> None:
    script = Script([Fault(status=500, count=3), Fault(status=503)])
    script.take("mint")
    assert script.describe() == [{"status": 500, "count": 2}, {"status": 503}]


def test_a_product_request_uses_up_no_mint_fault() -> None:
    script = Script([Fault(status=500, count=1)])
    assert script.take("product") is None
    assert script.take("mint") == Fault(status=500, count=1)
    assert script.take("mint") is None
