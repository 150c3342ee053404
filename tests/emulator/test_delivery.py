"""Faults as a client sees them, over real sockets."""

import http.client
import json
import socket
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from refresher.emulator.faults import Fault
from refresher.emulator.server import Emulator

MINT = b"POST /v1/keys/accesstoken HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-application-key\r\n\r\n"
OLD_MINT = MINT.replace(b"HTTP/1.1", b"HTTP/1.0")


def read_some(emulator: Emulator, at_least: int, request: bytes = MINT) -> bytes:
    """The first bytes of a response that may be endless; then the client goes away."""
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as sock:
        sock.sendall(request)
        received = b""
        while len(received) < at_least:
            piece = sock.recv(65536)
            assert piece, "the answer ended"
            received += piece
        return received


def test_a_usual_response_has_length_type_and_date(mint: Callable[..., Any]) -> None:
    answer = mint()
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert answer.headers["Content-Type"] == "application/json"
    assert abs(parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()) < 5


def test_a_status_has_its_retry_after_and_its_body(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(
        status=503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT", body="busy", content_type="text/plain"
    )
    answer = mint()
    assert (answer.status, answer.body) == (503, b"busy")
    assert answer.headers["Retry-After"] == "Fri, 31 Dec 1999 23:59:59 GMT"
    assert answer.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(emulator: Emulator, mint: Callable[..., Any], status: int) -> None:
    emulator.faults(status=status)
    answer = mint()
    assert (answer.status, answer.body) == (status, b"")


def test_an_unknown_status_is_sent(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(status=599)
    assert mint().status == 599


def test_a_faulty_response_keeps_the_connection(emulator: Emulator) -> None:
    emulator.faults(status=500, count=1)
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=5)
    statuses = []
    local = set()
    for _ in range(2):
        connection.request(
            "POST", "/v1/keys/accesstoken", headers={"Authorization": "Bearer the-application-key"}
        )
        local.add(connection.sock.getsockname())
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    connection.close()
    assert statuses == [500, 200]
    assert len(local) == 1


def test_latency_precedes_every_other_fault(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(latency=0.1, status=502)
    began = time.monotonic()
    assert mint().status == 502
    assert time.monotonic() - began >= 0.1


def test_a_body_is_sent_verbatim(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(body={"ok": False, "data": {"access_token": 5}})
    answer = mint()
    assert (answer.status, answer.document) == (200, {"ok": False, "data": {"access_token": 5}})
    emulator.faults(body=b"\x00\xff")
    assert mint().body == b"\x00\xff"


def test_garbage_claims_to_be_json_and_is_not(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(garbage=True)
    answer = mint()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(ValueError):  # noqa: PT011 (either no text or no JSON)
        json.loads(answer.body)


def test_a_redirect_has_its_location(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(redirect="http://127.0.0.1:1/elsewhere")
    answer = mint()
    assert (answer.status, answer.headers["Location"]) == (307, "http://127.0.0.1:1/elsewhere")


def test_a_fault_can_change_the_content_type(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(content_type="text/html")
    answer = mint()
    assert answer.headers["Content-Type"] == "text/html"
    assert emulator.valid(answer.data["access_token"])


def test_a_cut_body_is_shorter_than_its_length(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(cut_body=True)
    with pytest.raises(http.client.IncompleteRead) as raised:
        mint()
    assert raised.value.expected is not None
    assert raised.value.expected > 0
    assert raised.value.partial.startswith(b'{"code": 200')


def test_a_reset_sends_no_response(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(reset=True, count=1)
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as sock:
        sock.sendall(MINT)
        with pytest.raises(ConnectionResetError):  # an orderly close would be an empty read
            sock.recv(1)
    assert mint().status == 200


def test_a_drip_sends_the_whole_response_byte_by_byte(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(drip=0.001, body="abcdefghij")
    began = time.monotonic()
    assert mint().body == b"abcdefghij"
    assert time.monotonic() - began >= 0.01


def test_a_drip_includes_the_head_only_with_drip_head(emulator: Emulator) -> None:
    emulator.faults(drip=60)
    assert read_some(emulator, 100).endswith(b"\r\n\r\n")
    emulator.faults(drip=0.3, drip_head=True, body="x")
    assert read_some(emulator, 1) == b"H"


def test_an_endless_body_comes_in_chunks(emulator: Emulator) -> None:
    emulator.faults(endless="chunked")
    received = read_some(emulator, 2_000_000)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    size = int(body.partition(b"\r\n")[0], 16)
    assert body.partition(b"\r\n")[2][:size].startswith(b'{"code": 200')


@pytest.mark.parametrize(("endless", "request_bytes"), [("close", MINT), ("chunked", OLD_MINT)])
def test_an_endless_body_can_be_delimited_by_close(
    emulator: Emulator, endless: str, request_bytes: bytes
) -> None:
    emulator.faults(endless=endless)
    head, _, body = read_some(emulator, 2_000_000, request_bytes).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"Content-Length" not in head
    assert b"Connection: close" in head
    assert body.startswith(b'{"code": 200')


def test_an_endless_drip_never_ends(emulator: Emulator) -> None:
    emulator.faults(endless="chunked", drip=0.0)
    assert read_some(emulator, 3000).count(b"1\r\na\r\n") > 10


def test_a_hanging_request_gets_nothing_but_others_are_served(
    emulator: Emulator, mint: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    emulator.faults(hang=True, count=1)
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as hanging:
        hanging.sendall(MINT)
        eventually(lambda: emulator.counts.mints == 1)
        assert mint().status == 200
        hanging.setblocking(False)
        with pytest.raises(BlockingIOError):
            hanging.recv(1)


def test_clock_offset_changes_the_date(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(clock_offset=-3600)
    date = parsedate_to_datetime(mint().headers["Date"]).timestamp()
    assert abs(date + 3600 - time.time()) < 5


def test_faults_given_as_values_and_as_names_are_one_script(
    emulator: Emulator, mint: Callable[..., Any]
) -> None:
    emulator.faults(Fault(status=500, count=1), status=502, count=1)
    assert [mint().status for _ in range(3)] == [500, 502, 200]


def test_heal_removes_all_faults(emulator: Emulator, mint: Callable[..., Any]) -> None:
    emulator.faults(status=500, scope="all")
    assert mint().status == 500
    emulator.heal()
    assert mint().status == 200
