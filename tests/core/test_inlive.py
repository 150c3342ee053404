"""Inlive's wire format: each side reads what the other writes."""

import json

import pytest

from refresher.core import inlive
from refresher.core.http_response import Response
from refresher.core.issuer_response import classify
from refresher.core.model import Granted, SecretStr

KEY = SecretStr("inlive-4f7c91d2aa")


@pytest.mark.parametrize(("lifetime", "seconds"), [(3600.0, 3600), (90.25, 91)])
def test_a_mint_request_has_whole_seconds(lifetime, seconds):
    assert inlive.mint_request(lifetime) == {"expiry_seconds": seconds}


@pytest.mark.parametrize(
    ("status", "ok"), [(199, False), (200, True), (299, True), (300, False), (403, False)]
)
def test_the_envelope_contains_the_status_and_whether_it_is_a_success(status, ok):
    assert inlive.envelope(status, "why") == {"code": status, "ok": ok, "message": "why", "data": None}


@pytest.mark.parametrize(("refresh", "read"), [("r3fresh", SecretStr("r3fresh")), ("", None)])
def test_the_client_reads_what_a_mint_endpoint_writes(refresh, read):
    body = json.dumps(inlive.envelope(200, "", inlive.issued("T0ken", refresh))).encode()
    response = Response(200, {"content-type": "application/json"}, body)
    assert classify(response, KEY, 60.0, 0.0) == Granted(SecretStr("T0ken"), read, 60.0)


def test_the_sdk_object_is_an_envelope_with_the_mint_url():
    auth = inlive.sdk_auth("https://host/inlive/", "T0ken", "", 60)
    data = {"accessToken": "T0ken", "refreshToken": "", "expirySeconds": 60}
    assert auth == {"url": "https://host/inlive/v1/keys/accesstoken"} | inlive.envelope(200, "", data)
    assert inlive.sdk_tokens(auth) == ("T0ken", "")


@pytest.mark.parametrize("document", [None, [], {}, {"data": {}}, {"data": {"accessToken": "T0ken"}}])
def test_other_documents_have_no_sdk_tokens(document):
    assert inlive.sdk_tokens(document) is None
