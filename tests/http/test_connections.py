"""A request ends in time, wherever the peer stops or slows down, and reads a limited response."""

import contextlib
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.clients import BOTH, Ask
from tests.issuer.peer import GRANT, Caller, Script, dripping, granting, peer, sending, silent, tunnelling

pytestmark = pytest.mark.timeout(20)  # without the time limit, most of these would not end

BUDGET = 0.3  # seconds
GRACE = 2.0  # seconds by which a busy machine may be late; without a deadline a peer goes on for 10 and more

BEHIND_A_PROXY = "https://issuer.test"  # reachable only through a proxy (RFC 6761, section 6.2)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NEVER_DONE = {
    "no answer": silent,
    "a drip that is no head": dripping(),
    "a status line without an end": dripping(b"HTTP/1.1 200"),
    "a header without an end": dripping(HEAD + b"X: "),
    "headers without an end": dripping(HEAD, each=b"X: y\r\n"),
    "100 Continue for ever": dripping(each=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints for ever": dripping(each=b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "a body without an end": dripping(HEAD + b"\r\n"),
    "a long body, slowly": dripping(HEAD + b"Content-Length: 9999\r\n\r\n"),
    "chunks without an end": dripping(CHUNKED, each=b"1\r\n \r\n"),
    "a chunk's size without an end": dripping(CHUNKED, each=b"0"),
    "trailers without an end": dripping(CHUNKED + b"0\r\n", each=b"X: y\r\n"),
    "a redirect without an end": dripping(b"HTTP/1.1 307 X\r\nLocation: /\r\n\r\n"),
    "a failure without an end": dripping(b"HTTP/1.1 500 X\r\n\r\n"),
}


def ended_in_time(ask: Ask) -> str:
    """The message of a request that can end only by its time limit."""
    began = time.monotonic()
    message = ask(BUDGET)
    assert BUDGET * 0.9 <= time.monotonic() - began < BUDGET + GRACE
    return message


@BOTH
@pytest.mark.parametrize("script", NEVER_DONE.values(), ids=NEVER_DONE.keys())
def test_a_request_without_a_complete_response_times_out(client, script: Script, tmp_path: Path) -> None:
    with peer(script) as server:
        message = ended_in_time(client(tmp_path, server.url))
    assert message == f"no complete response from 127.0.0.1:{server.port} within 0.3 s"


@BOTH
@pytest.mark.parametrize(
    "script", [silent, dripping(HEAD + b"X: "), dripping(CHUNKED)], ids=["silence", "a head", "a body"]
)
def test_a_request_over_tls_times_out(
    client, script: Script, tls: ssl.SSLContext, ca_file: str, tmp_path
) -> None:
    with peer(script, tls=tls) as server:
        assert "no complete response from" in ended_in_time(client(tmp_path, server.url, ca_file))


@BOTH
@pytest.mark.parametrize("first", [b"", b"\x16\x03\x03\x40\x00"], ids=["silence", "a record, byte by byte"])
def test_an_endless_handshake_times_out(client, first: bytes, ca_file: str, tmp_path: Path) -> None:
    def stalling(caller: Caller) -> None:
        caller.sock.recv(65536)
        if first:
            caller.send(first)
            caller.drip()
        caller.peer.over.wait()

    with peer(stalling) as server:
        url = server.url.replace("http:", "https:")
        assert "no complete response from" in ended_in_time(client(tmp_path, url, ca_file))


@contextlib.contextmanager
def full() -> Iterator[int]:
    """A port with a full queue of connections: more are neither accepted nor refused (listen(2))."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@BOTH
@pytest.mark.skipif(sys.platform != "linux", reason="others refuse what does not fit into the queue")
def test_a_connection_that_is_not_accepted_times_out(client, tmp_path: Path) -> None:
    with full() as port:
        message = ended_in_time(client(tmp_path, f"http://127.0.0.1:{port}"))
    assert message == f"no connection to 127.0.0.1:{port} within 0.3 s"


@BOTH
def test_a_pooled_connection_uses_the_time_limit_of_its_new_request(client, tmp_path: Path) -> None:
    def once_and_never_again(caller: Caller) -> None:
        caller.request()
        caller.answer(200, GRANT)
        silent(caller)

    with peer(once_and_never_again) as server:
        ask = client(tmp_path, server.url)
        assert ask(60.0) == ""
        assert "no complete response from" in ended_in_time(ask)
        assert server.connections == 1


@BOTH
def test_the_request_after_a_timeout_opens_a_new_connection(client, tmp_path: Path) -> None:
    with peer(silent, granting) as server:
        ask = client(tmp_path, server.url)
        assert "no complete response from" in ended_in_time(ask)
        assert ask(5.0) == ""
        assert server.connections == 2


@BOTH
def test_a_tunnel_that_never_opens_times_out(client, ca_file, tmp_path, monkeypatch) -> None:
    with peer(dripping(b"HTTP/1.1 200 ")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        message = ended_in_time(client(tmp_path, BEHIND_A_PROXY, ca_file))
    assert message.startswith("no complete response from issuer.test")


@BOTH
@pytest.mark.parametrize("where", ["the handshake", "the response"])
def test_the_time_limit_covers_a_tunnel_and_the_request_through_it(
    client, where: str, tls: ssl.SSLContext, ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 1.5

    def slow(caller: Caller) -> None:
        """Opens the tunnel slowly, and leaves little time for the rest."""
        caller.peer.over.wait(seconds * 0.8)
        tunnelling(lambda: server.port)(caller)

    def never_answering(caller: Caller) -> None:
        caller.request()
        silent(caller)

    stalling = peer(silent) if where == "the handshake" else peer(never_answering, tls=tls)
    with peer(slow) as proxy, stalling as server:
        monkeypatch.setenv("https_proxy", proxy.url)
        ask = client(tmp_path, BEHIND_A_PROXY, ca_file)
        began = time.monotonic()
        assert ask(seconds).endswith("within 1.5 s")
        assert time.monotonic() - began < seconds + 1.0  # two separate limits would allow 2.7 s


LONG = {
    "a flood of 100 Continue": sending(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000),
    "a flood of early hints": sending(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100_000),
    "headers of 900 kB": sending(
        HEAD, *(b"X-%d: %s\r\n" % (each, b"x" * 10_000) for each in range(90)), b"\r\n"
    ),
}


@BOTH
@pytest.mark.parametrize("script", LONG.values(), ids=LONG.keys())
def test_headers_beyond_128_kib_are_an_error(client, script: Script, tmp_path: Path) -> None:
    with peer(script) as server:
        message = client(tmp_path, server.url)(5.0)
    longest = "longer than 131072 bytes before its content begins"
    assert message == f"the response of 127.0.0.1:{server.port} is {longest}"
