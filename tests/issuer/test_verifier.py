"""The verifier uses a new token at a URL before it is published."""

import pytest

from refresher import __version__
from refresher.core.model import SecretStr, Verdict
from refresher.issuer.client import UrlVerifier
from tests.issuer.peer import answering, peer, sending, silent

TOKEN = SecretStr("n3w-t0ken")
EXPIRED = "X-Access-Token-Expired: true"


def test_the_request_is_a_get_of_the_url_with_the_token() -> None:
    with peer(answering(200)) as product:
        UrlVerifier(f"{product.url}/v1/rooms/my-room").verify(TOKEN, 5.0)
        head, _, body = product.requests[0].partition("\r\n\r\n")
    first, *headers = head.split("\r\n")
    assert first == "GET /v1/rooms/my-room HTTP/1.1"
    assert f"Authorization: Bearer {TOKEN.reveal()}" in headers
    assert f"User-Agent: inlive-token-refresher/{__version__}" in headers
    assert body == ""


@pytest.mark.parametrize(
    ("status", "headers", "verdict"),
    [
        (200, (), Verdict.GOOD),
        (204, (), Verdict.GOOD),
        (401, (), Verdict.REJECTED),
        (403, (), Verdict.REJECTED),
        (403, (EXPIRED,), Verdict.EXPIRED),
        (401, ("x-access-token-expired: ",), Verdict.EXPIRED),
        (403, ("Content-Type: text/html",), Verdict.INCONCLUSIVE),
        (302, ("Location: http://127.0.0.1:1/",), Verdict.INCONCLUSIVE),
        (404, (), Verdict.INCONCLUSIVE),
        (404, (EXPIRED,), Verdict.INCONCLUSIVE),
        (429, (), Verdict.INCONCLUSIVE),
        (500, (), Verdict.INCONCLUSIVE),
    ],
)
def test_each_response_gives_a_verdict(status, headers, verdict) -> None:
    with peer(answering(status, TOKEN.reveal().encode(), *headers)) as product:
        found = UrlVerifier(product.url).verify(TOKEN, 5.0)
        assert len(product.requests) == 1  # no redirect is followed, and no retry made
    assert found.verdict is verdict
    assert (found.message == "") == (verdict is Verdict.GOOD)
    assert TOKEN.reveal() not in found.message


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (silent, "no complete response from"),
        (sending(b"what?\r\n\r\n"), "does not speak HTTP"),
        (sending(), ""),
    ],
    ids=["hangs", "speaks something else", "hangs up"],
)
def test_a_failed_request_is_described_and_inconclusive(script, message) -> None:
    with peer(script) as product:
        found = UrlVerifier(product.url).verify(TOKEN, 0.3)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert message in found.message
    assert f"127.0.0.1:{product.port}" in found.message
