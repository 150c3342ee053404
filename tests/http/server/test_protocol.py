"""A connection without a socket, on virtual time: its phases, deadlines and bounds."""

import pytest

from refresher.http.server.limits import Limits
from refresher.http.server.messages import Response
from refresher.http.server.protocol import NEVER, Phase, Protocol
from tests.http.server.wire import LIMITS, Admitting, Wire

GET = b"GET /there HTTP/1.1\r\nHost: x\r\n\r\n"
OLD = b"GET /there HTTP/1.0\r\n"
POST = b"POST /there HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
WAITING = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-Continue\r\n\r\n"


# Keep-alive


@pytest.mark.parametrize(
    ("sent", "stays", "header"),
    [
        (GET, True, None),
        (GET.replace(b"Host", b"Connection: keep-alive\r\nHost"), True, None),
        (GET.replace(b"Host", b"Connection: close\r\nHost"), False, b"close"),
        (GET.replace(b"Host", b"Connection: TE, Close\r\nHost"), False, b"close"),
        (OLD + b"\r\n", False, b"close"),
        (OLD + b"Connection: Keep-Alive\r\n\r\n", True, b"keep-alive"),
        (OLD + b"Connection: close\r\n\r\n", False, b"close"),
        (b"nonsense\r\n\r\n", False, b"close"),
        (GET.replace(b"there", b"forbidden"), True, None),
        ((POST % 3).replace(b"there", b"forbidden"), False, b"close"),
    ],
)
def test_the_connection_stays_if_the_client_can_use_it_again(
    sent: bytes, stays: bool, header: bytes | None
) -> None:
    wire = Wire()
    answer = wire.send(sent)
    assert wire.is_closing is not stays
    assert answer.count(b"\r\nConnection: ") == (header is not None)
    if header is not None:
        assert b"\r\nConnection: %b\r\n" % header in answer
    assert wire.send(GET).startswith(b"HTTP/1.1 200") is stays


def test_with_an_idle_limit_of_zero_it_never_stays() -> None:
    wire = Wire(LIMITS._replace(idle=0.0))
    assert b"\r\nConnection: close\r\n" in wire.send(OLD + b"Connection: keep-alive\r\n\r\n")
    assert wire.is_closing


def test_a_client_that_has_closed_its_side_gets_all_responses() -> None:
    wire = Wire()
    wire.protocol.receive(GET * 3, 0.0)
    wire.protocol.receive(b"", 0.0)
    assert wire.send(b"").count(b"HTTP/1.1 200 OK") == 3
    assert wire.protocol.phase is Phase.OVER


@pytest.mark.parametrize("sent", [b"", b"GET /", POST % 3 + b"ab"])
def test_a_client_that_goes_before_its_request_is_complete_gets_nothing(sent: bytes) -> None:
    wire = Wire()
    assert wire.send(*([sent] if sent else []), b"") == b""
    assert wire.protocol.phase is Phase.OVER


# Responses


@pytest.mark.parametrize(
    ("method", "status", "length", "body"),
    [
        (b"GET", 200, b"5", b"hello"),
        (b"HEAD", 200, b"5", b""),
        (b"GET", 204, None, b""),
        (b"GET", 304, None, b""),
        (b"HEAD", 404, b"5", b""),
        (b"GET", 599, b"5", b"hello"),
    ],
)
def test_a_response_has_its_content_length(
    method: bytes, status: int, length: bytes | None, body: bytes
) -> None:
    protocol = Protocol(Admitting(), LIMITS, 0.0)
    protocol.receive(GET.replace(b"GET", method), 0.0)
    assert protocol.next_request(0.0) is not None
    protocol.respond(Response(status, b"hello", "text/x", (("X-More", "yes"),)), 0.0)
    head, _, sent = bytes(protocol.outgoing).partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    assert line.startswith(b"HTTP/1.1 %d " % status)
    assert sent == body
    fields = dict(each.split(b": ", 1) for each in headers)
    assert fields.get(b"Content-Length") == length
    assert fields.get(b"Content-Type") == (None if length is None else b"text/x")
    assert fields[b"X-More"] == b"yes"
    assert fields[b"Date"].endswith(b" GMT")


def test_a_date_of_the_application_is_kept() -> None:
    protocol = Protocol(Admitting(), LIMITS, 0.0)
    protocol.receive(GET, 0.0)
    protocol.next_request(0.0)
    protocol.respond(Response(200, headers=(("Date", "another"),)), 0.0)
    assert bytes(protocol.outgoing).count(b"Date: ") == 1


def test_the_refusal_of_a_head_request_has_no_body() -> None:
    assert Wire().send(b"HEAD / HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")


# Bodies


def test_100_continue_is_sent_once_and_only_to_a_waiting_client() -> None:
    wire = Wire()
    assert wire.send(WAITING % (b"/there", 3)) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert wire.send(b"a") == b""
    assert wire.send(b"bc").endswith(b"<abc>")
    assert wire.send(WAITING % (b"/there", 3) + b"abc").startswith(b"HTTP/1.1 200")  # it did not wait
    assert wire.send(WAITING % (b"/there", 0)).startswith(b"HTTP/1.1 200")  # nothing to wait for
    old = (WAITING % (b"/there", 3)).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert wire.send(old) == b""


def test_a_half_sent_100_continue_is_completed_before_the_response() -> None:
    protocol = Protocol(Admitting(), LIMITS, 0.0)
    protocol.receive(WAITING % (b"/there", 3), 0.0)
    assert protocol.next_request(0.0) is None
    protocol.sent(10, 0.0)
    protocol.receive(b"abc", 0.0)
    assert protocol.next_request(0.0) is not None
    protocol.respond(Response(200), 0.0)
    assert bytes(protocol.outgoing).startswith(b"00 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(("path", "size", "status"), [(b"/forbidden", 3, 403), (b"/there", 101, 413)])
def test_a_refused_head_gets_no_100_continue(path: bytes, size: int, status: int) -> None:
    assert Wire().send(WAITING % (path, size)).startswith(b"HTTP/1.1 %d " % status)


def test_pipelined_bytes_are_kept_up_to_a_bound() -> None:
    protocol = Protocol(Admitting(), LIMITS, 0.0)
    protocol.receive(GET * 30, 0.0)
    assert protocol.next_request(0.0) is not None
    assert not protocol.wants_more
    protocol.respond(Response(200), 0.0)
    protocol.sent(len(protocol.outgoing), 0.0)
    assert protocol.has_more
    assert not protocol.wants_more


def test_bytes_after_a_refusal_are_discarded_up_to_a_bound() -> None:
    wire = Wire()
    wire.send(b"nonsense\r\n\r\n")
    for _ in range(15):
        wire.send(b"x" * 65536)
    assert wire.protocol.phase is Phase.FAREWELL
    wire.send(b"x" * 65536)
    assert wire.protocol.phase is Phase.OVER


# Deadlines


def test_every_phase_has_its_deadline() -> None:
    wire = Wire()
    protocol = wire.protocol
    assert protocol.deadline == LIMITS.head
    protocol.receive(POST[:10], 3.0)
    assert protocol.deadline == LIMITS.head  # a drip does not move it
    protocol.receive((POST % 3)[10:], 4.0)
    assert protocol.next_request(4.0) is None
    assert protocol.deadline == 4.0 + LIMITS.body
    protocol.receive(b"a", 13.0)
    assert protocol.deadline == 4.0 + LIMITS.body
    protocol.receive(b"bc", 13.0)
    assert protocol.next_request(13.0) is not None
    assert protocol.deadline == NEVER
    protocol.respond(Response(200), 20.0)
    assert protocol.deadline == 20.0 + LIMITS.answer
    protocol.sent(1, 30.0)
    assert protocol.deadline == 20.0 + LIMITS.answer
    protocol.sent(len(protocol.outgoing), 30.0)
    assert protocol.deadline == 30.0 + LIMITS.idle
    protocol.receive(b"\r\n", 45.0)
    assert protocol.deadline == 45.0 + LIMITS.head
    assert wire.send(b"nonsense\r\n\r\n", now=50.0)
    assert protocol.deadline == 50.0 + LIMITS.farewell
    protocol.expire(51.0)
    assert protocol.phase is Phase.OVER


def test_an_incomplete_request_gets_408_at_its_deadline() -> None:
    for sent in (b"GET /", POST % 3 + b"ab"):
        wire = Wire()
        wire.send(sent)
        assert wire.expire(5.0).startswith(b"HTTP/1.1 408 ")
        assert wire.is_closing


@pytest.mark.parametrize("before", [b"", GET, b"\r\n"])
def test_a_client_without_a_request_is_closed_without_a_response(before: bytes) -> None:
    wire = Wire()
    wire.send(*([before] if before else []))
    assert wire.expire(30.0) == b""
    assert wire.protocol.phase is Phase.OVER


def test_a_response_not_read_in_time_ends_the_connection() -> None:
    protocol = Protocol(Admitting(), LIMITS, 0.0)
    protocol.receive(GET, 0.0)
    protocol.next_request(0.0)
    protocol.respond(Response(200, b"x" * 100), 0.0)
    protocol.expire(20.0)
    assert protocol.phase is Phase.OVER


def test_the_time_of_a_pipelined_request_begins_after_the_previous_response() -> None:
    wire = Wire()
    wire.send(GET + b"GET /", now=3.0)
    assert wire.protocol.since == 3.0
    assert wire.protocol.deadline == 3.0 + LIMITS.head


def test_it_is_idle_only_between_requests() -> None:
    wire = Wire(Limits())
    assert not wire.protocol.is_idle  # the first request may be on its way
    wire.send(GET)
    assert wire.protocol.is_idle
    wire.protocol.receive(b"G", 1.0)
    assert not wire.protocol.is_idle
