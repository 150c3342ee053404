"""The deadline of a request: it ends in time, at whatever point the peer stops or dawdles."""

import contextlib
import socket
import ssl
import sys
from collections.abc import Iterator

import pytest

from refresher.clock import SystemClock
from refresher.core.model import Granted, MintResult, Outcome
from refresher.issuer.client import InliveIssuer
from tests.issuer.ask import KEY, declined, mint, outcomes
from tests.issuer.peer import GRANT, Caller, Script, dripping, granting, peer, silent

pytestmark = pytest.mark.timeout(20)  # where the deadline fails, most of these would not end

BUDGET = 0.3  # seconds
GRACE = (
    2.0  # seconds by which a busy machine may be late; without a deadline a peer here goes on for 10 and more
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def assert_ended_in_time(result: MintResult) -> None:
    assert outcomes(result) == [Outcome.TIMEOUT]
    assert BUDGET * 0.9 <= result.tries[0].seconds < BUDGET + GRACE


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(silent, id="no answer"),
        pytest.param(dripping(), id="a drip that is no head"),
        pytest.param(dripping(b"HTTP/1.1 200"), id="a status line without an end"),
        pytest.param(dripping(HEAD + b"X: "), id="a header without an end"),
        pytest.param(dripping(HEAD, each=b"X: y\r\n"), id="headers without an end"),
        pytest.param(dripping(each=b"HTTP/1.1 100 Continue\r\n\r\n"), id="100 Continue for ever"),
        pytest.param(dripping(each=b"HTTP/1.1 103 Early Hints\r\n\r\n"), id="early hints for ever"),
        pytest.param(dripping(HEAD + b"\r\n"), id="a body without an end"),
        pytest.param(dripping(HEAD + b"Content-Length: 9999\r\n\r\n"), id="a long body, slowly"),
        pytest.param(dripping(CHUNKED, each=b"1\r\n \r\n"), id="chunks without an end"),
        pytest.param(dripping(CHUNKED, each=b"0"), id="a chunk's size without an end"),
        pytest.param(dripping(CHUNKED + b"0\r\n", each=b"X: y\r\n"), id="trailers without an end"),
        pytest.param(dripping(b"HTTP/1.1 307 X\r\nLocation: /\r\n\r\n"), id="a redirect without an end"),
        pytest.param(dripping(b"HTTP/1.1 500 X\r\n\r\n"), id="a failure without an end"),
    ],
)
def test_an_answer_that_does_not_come_ends_with_the_budget(script: Script) -> None:
    with peer(script) as issuer:
        result = mint(issuer.url, BUDGET)
    assert_ended_in_time(result)
    assert declined(result).message == f"no whole answer from 127.0.0.1:{issuer.port} within 0.3 s"


@pytest.mark.parametrize(
    "script", [silent, dripping(HEAD + b"X: "), dripping(CHUNKED)], ids=["silence", "a head", "a body"]
)
def test_the_same_holds_over_tls(script: Script, tls: ssl.SSLContext, ca_file: str) -> None:
    with peer(script, tls=tls) as issuer:
        assert_ended_in_time(mint(issuer.url, BUDGET, ca_file))


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x03\x40\x00"], ids=["silence", "a record, byte by byte"])
def test_a_handshake_that_does_not_end_ends_with_the_budget(first: bytes, ca_file: str) -> None:
    def stalling(caller: Caller) -> None:
        caller.sock.recv(65536)
        if first:
            caller.send(first)
            caller.drip()
        caller.peer.over.wait()

    with peer(stalling) as issuer:
        assert_ended_in_time(mint(issuer.url.replace("http:", "https:"), BUDGET, ca_file))


@contextlib.contextmanager
def full() -> Iterator[int]:
    """A port whose queue of connections is full: further ones are neither taken nor refused (listen(2))."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.skipif(sys.platform != "linux", reason="others refuse what does not fit into the queue")
def test_a_connection_that_is_not_taken_ends_with_the_budget() -> None:
    with full() as port:
        result = mint(f"http://127.0.0.1:{port}", BUDGET)
    assert_ended_in_time(result)
    assert declined(result).message == f"no connection to 127.0.0.1:{port} within 0.3 s"


def test_a_pooled_connection_has_the_time_of_its_new_request() -> None:
    def once_and_never_again(caller: Caller) -> None:
        caller.request()
        caller.answer(200, GRANT)
        silent(caller)

    with peer(once_and_never_again) as server:
        issuer = InliveIssuer(server.url, SystemClock())
        assert isinstance(issuer.mint(KEY, 60.0, 60.0).answer, Granted)
        assert_ended_in_time(issuer.mint(KEY, 60.0, BUDGET))
        issuer.close()


def test_after_a_timeout_the_next_request_has_a_connection_of_its_own() -> None:
    with peer(silent, granting) as server:
        issuer = InliveIssuer(server.url, SystemClock())
        assert_ended_in_time(issuer.mint(KEY, 60.0, BUDGET))
        assert isinstance(issuer.mint(KEY, 60.0, 5.0).answer, Granted)
        issuer.close()
        assert server.connections == 2
