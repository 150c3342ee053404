"""Clients that do something wrong get a response, and never cause a traceback."""

import contextlib
import json
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refresher.emulator.server import Emulator

HEAD = b"POST /v1/keys/accesstoken HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-application-key\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/x.y\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"BREW /v1/keys/accesstoken HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: many\r\n\r\n", 400),
        (HEAD + b"Content-Length: 65537\r\n\r\n", 413),
        (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
        (HEAD + b"Content-Length: 300000\r\n\r\n" + b" " * 300_000, 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411),
        (HEAD + b"Content-Length: 1\r\n\r\n{", 400),
        (HEAD + b"Content-Length: 65536\r\n\r\n" + b" " * 65536, 200),
        (b"HEAD /v1/keys/accesstoken HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ],
)
def test_a_bad_request_gets_a_response_in_json(
    raw: Callable[[bytes], bytes], capfd: pytest.CaptureFixture[str], sent: bytes, status: int
) -> None:
    head, _, body = raw(sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert body == b"" if sent.startswith(b"HEAD") else json.loads(body)["code"] == status
    assert capfd.readouterr().err == ""


def test_the_response_to_a_bad_request_does_not_quote_it(raw: Callable[[bytes], bytes]) -> None:
    assert b"secret" not in raw(b"the secret\tis out here\r\n\r\n")


def test_an_incomplete_body_gets_no_response(raw: Callable[[bytes], bytes], emulator: Emulator) -> None:
    assert raw(HEAD + b"Content-Length: 24\r\n\r\n{") == b""
    assert emulator.counts.mints == 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=300)
    | st.builds(
        lambda method, path, lines, body: (
            method + b" " + path + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body
        ),
        st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"PATCH"]),
        st.sampled_from([b"/v1/keys/accesstoken", b"/v1/rooms/create", b"/v1/rooms/x", b"/_emulator/keys/x",
                         b"/_emulator/faults", b"/_emulator/keys", b"/_emulator/state", b"/_emulator/"]),
        st.lists(
            st.sampled_from([b"Authorization: Bearer the-application-key", b"Content-Length: 20", b"Host: x",
                             b"Host: localhost", b"X-Emulator-Control: 1"])
            | st.binary(max_size=40),
            max_size=5,
        ),
        st.binary(max_size=40) | st.sampled_from([b"{}", b'{"key": "\\ud800"}', b"[[]]"]),
    )
)  # fmt: skip
def test_any_input_leaves_the_emulator_running_without_a_traceback(
    raw: Callable[[bytes], bytes], capfd: pytest.CaptureFixture[str], sent: bytes
) -> None:
    with contextlib.suppress(ConnectionResetError):  # closed before it read all our bytes
        raw(sent)
    assert raw(b"GET /_emulator/state HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert capfd.readouterr().err == ""


def test_requests_follow_each_other_on_one_connection(
    raw: Callable[[bytes], bytes], emulator: Emulator
) -> None:
    received = raw((HEAD + b"\r\n") * 3)
    assert received.count(b"HTTP/1.1 200") == 3
    assert emulator.counts.mints == 3


def test_an_http_1_0_client_learns_whether_the_connection_stays(raw: Callable[[bytes], bytes]) -> None:
    old = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert b"\r\nConnection: close\r\n" in raw(old + b"\r\n")
    assert raw((old + b"Connection: keep-alive\r\n\r\n") * 2).count(b"\r\nConnection: keep-alive\r\n") == 2


def test_a_client_can_ask_to_close_the_connection(raw: Callable[[bytes], bytes]) -> None:
    received = raw((HEAD + b"Connection: close\r\n\r\n") * 2)
    assert received.count(b"HTTP/1.1 200") == 1
    assert b"\r\nConnection: close\r\n" in received


def test_a_client_that_goes_away_disturbs_no_other(
    emulator: Emulator,
    mint: Callable[..., Any],
    capfd: pytest.CaptureFixture[str],
    eventually: Callable[..., None],
) -> None:
    emulator.faults(endless="close", count=5)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as sock:
            sock.sendall(HEAD + b"\r\n")
            sock.recv(10)
    eventually(lambda: emulator.counts.mints == 5)
    assert mint().status == 200
    assert capfd.readouterr().err == ""


def test_a_page_may_call_the_product_and_see_the_expired_header(call: Callable[..., Any]) -> None:
    preflight = call("OPTIONS", "/v1/rooms/create")
    assert preflight.status == 204
    for answer in (
        preflight,
        call("POST", "/v1/rooms/create", "unknown"),
        call("POST", "/v1/keys/accesstoken"),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert "X-Access-Token-Expired" in answer.headers["Access-Control-Expose-Headers"]


def test_the_access_log_has_a_line_for_each_request_and_no_secret() -> None:
    lines: list[str] = []
    with (
        Emulator(keys=["the-application-key"], log=lines.append) as emulator,
        socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as sock,
    ):
        sock.sendall(HEAD + b"\r\n")
        received = sock.recv(65536)
        emulator.faults(status=503)
        sock.sendall(
            HEAD
            + b"\r\n"
            + b"GET /%1b[31m?the-application-key HTTP/1.1\r\nHost: x\r\n\r\n"
            + b"nonsense\r\n\r\n"
        )
        while block := sock.recv(65536):
            received += block
    access = re.findall(rb'"access_token": "([^"]+)"', received)[0].decode()
    assert len(lines) == 4
    ids = re.findall(rb"X-Request-Id: (\S+)", received)
    assert len(set(ids)) == 3  # of each readable request
    named = [f" id={found.decode()}" for found in ids]
    assert lines[0].startswith(f"POST /v1/keys/accesstoken 200{named[0]} key ")
    assert lines[1].startswith(f"POST /v1/keys/accesstoken 503{named[1]} ")
    assert lines[1].endswith("fault: status=503")
    assert lines[2] == f"GET /%1b[31m 404{named[2]}"
    assert lines[3] == "unreadable request 400"
    assert not [line for line in lines if access in line or "the-application-key" in line]
