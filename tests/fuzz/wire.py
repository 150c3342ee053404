"""Input over the network: from the issuer, from clients of the endpoints, from a daemon."""

import json
import math
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http import HTTPStatus

from refresher.core.formats import NAMES, Format, read_back, render
from refresher.core.http_response import Response
from refresher.core.issuer_response import classify
from refresher.core.model import Declined, Granted, Token, TokenFacts
from refresher.http.server import messages
from refresher.http.server.limits import Limits
from refresher.http.server.protocol import Phase, Protocol
from refresher.status import page as status_page
from refresher.status import table as status_table
from tests.fuzz.target import (
    HEADERS,
    JSON_WORDS,
    KEY,
    NOW,
    TELLTALE,
    URL,
    Target,
    answer_in,
    expect_printable,
    loaded,
    placed,
)


def issuer(octets: bytes) -> None:
    code, headers, body = answer_in(octets)
    said = classify(Response(code, headers, body), KEY, 3600.0, NOW.wall)
    ahead = Response(code, headers, body).clock_skew(NOW.wall, NOW.wall)
    assert ahead is None or math.isfinite(ahead)
    if isinstance(said, Declined):
        expect_printable(said.message, KEY.reveal())
        assert len(said.message) < 2500, "200 characters, each escaped at worst, and a sentence"
        _expect_no_token(said.message, classify(Response(code, headers, b"{}"), KEY, 3600.0, NOW.wall), body)
        assert said.retry_after is None or 0 <= said.retry_after < math.inf
        return
    lifetime = said.lifetime
    assert 200 <= code <= 299
    assert 0 < lifetime <= 3600.0
    key, access = KEY.fingerprint, said.access.fingerprint
    facts = TokenFacts(NOW, lifetime, 3600.0, key, access, has_refresh_token=False, issuer=URL)
    for format_ in map(Format, NAMES[:-1]):
        found = read_back(format_, render(format_, Token(facts, said.access, said.refresh_token), NOW, URL))
        assert found is not None, format_
        assert found[0] == said.access


def _expect_no_token(message: str, without: Granted | Declined, body: bytes) -> None:
    """Check that no token of `body` is in `message`, except words that are also in the message `without`
    it."""
    ours = without.message if isinstance(without, Declined) else ""
    tokens = placed(loaded(body), "data")
    for token in tokens.values() if isinstance(tokens, dict) else ():
        if isinstance(token, str) and len(token) >= TELLTALE and token not in ours:
            assert token not in message


def _issuer_seeds() -> Iterator[bytes]:
    granted = json.dumps({"ok": True, "data": {"access_token": "acc3ss-token", "refresh_token": "r3fresh"}})
    yield f"200\nContent-Type: application/json\n\n{granted}".encode()
    part = urlsafe_b64encode(b'{"iat": 1000, "exp": 2800.5}').decode().rstrip("=")
    yield f'200\ncontent-type: application/json\n\n{{"data": {{"access_token": "e30.{part}.x"}}}}'.encode()
    yield b'401\nContent-Type: application/json\n\n{"message": "no such key", "data": {"k": "abcdefgh"}}'
    yield b"503\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\nDate: Sun, 06 Nov 1994 08:39:37 GMT\n\n<html>"
    yield b"429\nRetry-After: 120\n\n"
    yield f'400\ncontent-type: application/json\n\n{{"message": "key {KEY.reveal()[3:12]}"}}'.encode()
    yield b'200\ncontent-type: application/json\n\n{"ok": false, "message": "it says \\u001b why"}'


def page(octets: bytes) -> None:
    """Input of a client of our server, in pieces; the first byte is their size."""
    application = _Recorder()
    protocol = Protocol(application, Limits(), 0.0)
    size = octets[0] + 1 if octets else 1
    for start in range(1, len(octets), size):
        protocol.receive(octets[start : start + size], 0.0)
        _exchange(protocol, application)
    protocol.receive(b"", 0.0)
    _exchange(protocol, application)
    assert protocol.phase is Phase.OVER


def _exchange(protocol: Protocol, application: "_Recorder") -> None:
    """Respond to every valid request; a refusal ends the connection."""
    while True:
        asked = protocol.next_request(0.0)
        if asked is not None:
            assert application.admitted.pop() == asked._replace(body=b"")
            assert len(asked.body) <= Limits().body_size
            assert asked.host or asked.old or not asked.headers["host"]
            assert all(name == name.lower() for name in asked.headers)
            assert not any(set(value) & {"\r", "\n", "\0"} for value in asked.headers.values())
            protocol.respond(messages.Response(200), 0.0)
        if not protocol.outgoing:
            return
        sent = bytes(protocol.outgoing)
        assert sent.startswith(b"HTTP/1.1 ")
        protocol.sent(len(sent), 0.0)
        assert not application.refused or protocol.phase in (Phase.FAREWELL, Phase.OVER)


class _Recorder:
    """An application that records the requests to admit, and whether it refused one."""

    def __init__(self) -> None:
        self.admitted: list[messages.Request] = []
        self.refused = False

    def admit(self, request: messages.Request) -> messages.Response | None:
        self.admitted.append(request)
        return None

    def answer(self, request: messages.Request) -> messages.Response:
        raise AssertionError("the protocol does not ask for answers")

    def refuse(self, status: HTTPStatus) -> messages.Response:
        self.refused = True
        return messages.Response(status)


def _page_seeds() -> Iterator[bytes]:
    yield b"\xffGET /metrics HTTP/1.1\r\nHost: h\r\nAccept: text/plain\r\n\r\n"
    yield b"\x07HEAD http://h:9/status?x HTTP/1.0\r\nAccept: a\r\nAccept: c\r\n\r\n"
    yield b"\x20POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGET / HT"
    yield b"\x40POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
    yield b"\x00\r\nGET /\n\n"


NARROW = 60  # columns; the least that a table promises to fit into


def neighbour(octets: bytes) -> None:
    """A status document, from a daemon or from another server at its address."""
    report = loaded(octets)
    if not isinstance(report, dict) or not isinstance(report.get("tokens"), list):
        return  # refused earlier (commands/status.py)
    for line in status_table.table(report).splitlines():
        assert line.isprintable()
    for line in status_table.table(report, NARROW).splitlines():
        assert status_table.columns(line) <= NARROW
    status_page.page(report).encode()


def _neighbour_seeds() -> Iterator[bytes]:
    output = {"name": "file:/t", "valid": False, "remaining_seconds": -3.5, "problem": "no space left"}
    token = {"name": "studio", "valid": True, "expires_at": "2026-11-05T11:00:00Z", "remaining_seconds": 60,
             "next_refresh_at": "2026-11-05T10:42:00Z", "next_reason": "scheduled", "problems": ["x"],
             "outputs": [output]}  # fmt: skip
    report = {"version": "1", "time": "2026-11-05T10:00:00Z", "valid": True, "tokens": [token]}
    yield json.dumps(report).encode()


TARGETS = {
    "issuer": Target(
        issuer,
        _issuer_seeds,
        (*HEADERS, *JSON_WORDS, "access_token", "refresh_token", '"data"', '"message"'),
        document=b"\n\n",
    ),
    "page": Target(
        page,
        _page_seeds,
        (
            *("\r\n", "\r\n\r\n", "GET ", " HTTP/1.1\r\n", " HTTP/0.9", ": ", "http://", "Host: h\r\n"),
            *("Connection: ", "close", "keep-alive", "Content-Length: ", "Transfer-Encoding: chunked\r\n"),
            "Expect: 100-continue\r\n",
        ),
    ),
    "neighbour": Target(
        neighbour,
        _neighbour_seeds,
        (*JSON_WORDS, '"tokens"', '"outputs"', "2026-11-05T10:42:00Z", '"problems"'),
        document=b"",
    ),
}
