"""The consumers' listener: whatever a client sends, it gets a response, and a token only if it may."""

from collections.abc import Iterator
from http import HTTPStatus

from refresher.core.instant import Instant
from refresher.core.model import SecretStr
from refresher.http.server.messages import Later, Request, Response, rendered
from refresher.http.server.parsing import RefusedError, end_of_head, parsed
from refresher.outputs.memory import MemoryOutput
from refresher.web import oauth2
from refresher.web.consumers import Consumers
from tests.fuzz.target import NOW, Target
from tests.outputs.tokens import SEALER, a_token

CLIENT_SECRET = "client-secret-7Zq"
TOKEN = a_token(issued=NOW + -400.0)
FORM = "application/x-www-form-urlencoded"
HEAD = "Host: localhost\r\nX-Token-Refresher: 1\r\n"


class _Clock:
    def now(self) -> Instant:
        return NOW


def _consumers() -> tuple[Consumers, MemoryOutput]:
    output = MemoryOutput("studio")
    output.write(TOKEN, NOW, SEALER)
    secret = SecretStr(CLIENT_SECRET)
    reports = _Reports()
    served = {"studio": output, "other": MemoryOutput("other")}
    return Consumers(lambda: served, reports, _Clock(), guarded=True, client_secret=lambda: secret), output


class _Reports:
    """Reports that are passed on: each names the token, whatever a client sent."""

    def __call__(self, name: str, fingerprint: str) -> None:
        assert (name, fingerprint) == ("studio", TOKEN.facts.fingerprint)


def consumer(octets: bytes) -> None:
    """One request, head and body."""
    try:
        end = end_of_head(bytearray(octets), 0, 2**14)
        if end is None:
            return
        head = parsed(octets[:end])
    except RefusedError:
        return
    request = head.request._replace(body=octets[end:])
    consumers, output = _consumers()
    reply = consumers.admit(request._replace(body=b"")) or consumers.answer(request)
    if isinstance(reply, Later):
        reply.future.cancel()
        assert not output._waiting, "a cancelled request waits no longer"
        reply = reply.otherwise
    assert isinstance(reply, Response)
    sent = rendered(reply)
    assert HTTPStatus(reply.status)
    if TOKEN.access.reveal().encode() in sent:
        _expect_permitted(request)
    assert CLIENT_SECRET.encode() not in sent


def _expect_permitted(request: Request) -> None:
    assert "origin" not in request.headers
    if request.path == oauth2.PATH:
        basic = request.headers.get("authorization", "")
        assert CLIENT_SECRET.encode() in request.body or basic or b"%" in request.body
    elif request.method != "POST" or request.path.startswith("/authorize"):
        assert request.headers["x-token-refresher"] == "1"


def _seeds() -> Iterator[bytes]:
    fingerprint = TOKEN.facts.fingerprint
    for line in (
        "GET /token/studio",
        "GET /authorize/studio/v1/rooms",
        f'GET /token/studio HTTP/1.1\r\nIf-None-Match: "{fingerprint}"',
        f"GET /authorize/studio HTTP/1.1\r\nX-Access-Token-Expired: {fingerprint}",
        f"POST /v1/keys/accesstoken HTTP/1.1\r\nAuthorization: Bearer studio:{fingerprint}",
        "POST /oauth2/token HTTP/1.1\r\nAuthorization: Basic c3R1ZGlvOmNsaWVudC1zZWNyZXQtN1px\r\n"
        f"Content-Type: {FORM}",
    ):
        first = line if " HTTP/1.1" in line else f"{line} HTTP/1.1"
        body = "grant_type=client_credentials" if "oauth2" in line else ""
        yield f"{first}\r\n{HEAD}\r\n{body}".encode()
    form = f"grant_type=client_credentials&client_id=studio&client_secret={CLIENT_SECRET}"
    yield f"POST /oauth2/token HTTP/1.1\r\n{HEAD}Content-Type: {FORM}\r\n\r\n{form}".encode()
    for body in (f'{{"fingerprint": "{fingerprint}"}}', f'{{"access_token": "{TOKEN.access.reveal()}"}}'):
        yield f"POST /expired/studio HTTP/1.1\r\n{HEAD}\r\n{body}".encode()


TARGETS = {
    "consumer": Target(
        consumer,
        _seeds,
        (
            *(
                "GET ",
                "POST ",
                "/token/",
                "/expired/",
                "/authorize/",
                "/oauth2/token",
                "/v1/keys/accesstoken",
            ),
            *(HEAD, "Origin: x\r\n", "\r\n\r\n", "Authorization: Basic ", "Authorization: Bearer "),
            *("grant_type=", "client_credentials", "&client_id=", "&client_secret=", "%00", "+"),
            *('{"access_token": "', '{"fingerprint": "', "X-Access-Token-Expired: true\r\n"),
        ),
    )
}
