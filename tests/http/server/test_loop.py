"""The HTTP server, as its applications and clients see it. No client can make it wait."""

import http.client
import logging
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress

import pytest

from refresher.http.server.limits import Limits
from refresher.http.server.messages import Later, Reply, Request, Response, Stream, Takeover
from tests.http.server.site import DEADLINE, Serve, Site, everything, serving

GET = b"GET /there HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENT = Limits(60.0, 60.0, 60.0, 0.0, 60.0)  # longer than a test: no time-out ends a connection
KEPT = PATIENT._replace(idle=60.0)


def hello(request: Request) -> Response:
    return Response(200, f"hello {request.method} {request.path}".encode())


def send_for_ever(sock: socket.socket, piece: bytes, pause: float = 0.0) -> None:
    """Send this repeatedly, until the other side has closed the connection."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        sock.sendall(piece)
        threading.Event().wait(pause)


# Requests and responses


def stream(pieces: Iterator[bytes]) -> Stream:
    return Stream(Response(200, b"", "text/csv", (("X-More", "yes"),)), pieces)


@pytest.mark.parametrize("limits", [PATIENT, KEPT])
def test_a_stream_reaches_the_client_in_chunks(serve: Serve, limits: Limits) -> None:
    site = serve(lambda _: stream(iter([b"a", b"", b"b" * 70_000])), limits)
    received = site.call("/there")
    assert received.body == b"a" + b"b" * 70_000
    assert received.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in received.headers
    assert (received.headers["Content-Type"], received.headers["X-More"]) == ("text/csv", "yes")
    with site.client() as sock:  # a further request finds the end of the first response
        sock.sendall(GET + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert everything(sock).count(b"\r\n0\r\n\r\n") == (2 if limits is KEPT else 1)


def test_head_of_a_stream_has_no_body(serve: Serve) -> None:
    head = serve(lambda _: stream(iter([b"a"]))).raw(GET.replace(b"GET", b"HEAD"))
    assert head.endswith(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head


def test_a_client_of_http_1_0_gets_a_stream_as_one_body(serve: Serve) -> None:
    whole = serve(lambda _: stream(iter([b"a", b"b"]))).raw(GET.replace(b"1.1", b"1.0"))
    assert whole.endswith(b"\r\n\r\nab")
    assert b"\r\nContent-Length: 2\r\n" in whole
    assert b"Transfer-Encoding" not in whole


def test_a_bug_in_a_stream_cuts_the_body_so_that_the_client_notices(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise ValueError("the inner text")

    site = serve(lambda request: stream(pieces()) if request.path == "/fails" else hello(request))
    with pytest.raises(http.client.IncompleteRead):
        site.call("/fails")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the inner text"
    assert site.call("/there").status == 200


class Endless:
    """The pieces of a body without an end."""

    def __init__(self) -> None:
        self.made, self.dropped = 0, threading.Event()

    def pieces(self) -> Iterator[bytes]:
        try:
            while True:
                self.made += 1
                yield bytes(16_384)
        finally:
            self.dropped.set()


@pytest.mark.parametrize("limits", [PATIENT, PATIENT._replace(answer=0.3)])
def test_a_stream_stops_with_a_client_that_does_not_read_and_ends_with_it(
    serve: Serve, limits: Limits
) -> None:
    endless = Endless()
    site = serve(
        lambda request: stream(endless.pieces()) if request.path == "/all" else hello(request), limits
    )
    with site.client() as sock:
        sock.sendall(GET.replace(b"/there", b"/all"))
        sock.recv(1)
        assert site.call("/there").status == 200
        if limits is not PATIENT:
            assert endless.dropped.wait(DEADLINE)
    assert endless.dropped.wait(DEADLINE)
    assert endless.made < 2000  # 32 MiB: the buffers of both sides hold less


def test_of_too_many_streams_the_oldest_is_dropped(serve: Serve) -> None:
    """A stream counts with what the rest of it keeps in memory."""
    made: list[Endless] = []

    def answer(_: Request) -> Reply:
        made.append(Endless())
        return stream(made[-1].pieces())._replace(weight=6_000_000)

    site = serve(answer, PATIENT._replace(responses=15_000_000))
    with ExitStack() as hoard:
        for _ in range(3):
            sock = hoard.enter_context(site.client())
            sock.sendall(GET)
            sock.recv(1)
        assert made[0].dropped.wait(DEADLINE)
        assert not any(each.dropped.is_set() for each in made[1:])


def test_a_request_reaches_the_application_and_its_response_the_client(serve: Serve) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        return Response(203, b"a,b", "text/csv", (("X-More", "yes"),))

    received = serve(answer).call("/there", accept="Text/CSV")
    assert (received.status, received.body) == (203, b"a,b")
    assert received.headers["Content-Type"] == "text/csv"
    assert received.headers["Content-Length"] == "3"
    assert received.headers["X-More"] == "yes"
    (request,) = seen
    assert (request.method, request.path) == ("GET", "/there")
    assert request.headers["accept"] == "Text/CSV"


def test_head_has_the_head_of_get_and_no_body(serve: Serve) -> None:
    site = serve(hello)
    whole, head = site.raw(GET), site.raw(GET.replace(b"GET", b"HEAD"))
    assert whole.endswith(b"\r\n\r\nhello GET /there")
    assert head.endswith(b"\r\n\r\n")
    assert b"Content-Length: 17\r\n" in head  # of "hello HEAD /there": its own answer, unsent


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/there?x=1&y=/z", "/there"),
        (b"http://x:9464/there?x", "/there"),
        (b"HTTP://x", "/"),
        (b"//there", "//there"),
        (b"/th%65re", "/th%65re"),
    ],
)
def test_the_path_is_without_query_and_origin(serve: Serve, target: bytes, path: str) -> None:
    response = serve(hello).raw(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert response.endswith(f"hello GET {path}".encode())


def test_a_request_may_come_in_pieces(serve: Serve) -> None:
    pieces = (GET[at : at + 1] for at in range(len(GET)))
    assert serve(hello).raw(*pieces).endswith(b"hello GET /there")


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"not http at all\r\n\r\n", 400), (b"GET /there HTTP/1.1\r\nX: " + b"y" * 20_000, 431)],
)
def test_an_invalid_request_is_refused_and_not_repeated(serve: Serve, sent: bytes, status: int) -> None:
    response = serve(hello).raw(sent)
    assert response.startswith(f"HTTP/1.1 {status} ".encode())
    assert not [word for word in (b"hello", b"there", b"yyy", b"http at all") if word in response]


def test_a_client_with_an_unread_body_gets_its_response(serve: Serve) -> None:
    site = serve(hello, PATIENT._replace(body_size=100))
    with site.client() as sock:
        sock.sendall(GET.replace(b"Host", b"Content-Length: 30000\r\nHost"))
        assert everything(sock).startswith(b"HTTP/1.1 413 ")
        for _ in range(3):  # the client sends everything before it reads the response, and is not reset
            sock.sendall(b"x" * 10_000)
            threading.Event().wait(0.01)


def test_an_endless_body_is_read_up_to_a_bound(serve: Serve) -> None:
    with serve(hello, PATIENT).client() as sock:
        sock.sendall(GET)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_for_ever(sock, b"x" * 4096)


# Keep-alive

POST = b"POST /there HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
LAST = GET.replace(b"Host", b"Connection: close\r\nHost")


def echo(request: Request) -> Response:
    return Response(200, b"<%b>" % request.body)


def test_requests_follow_each_other_on_one_connection_until_the_client_ends_it(serve: Serve) -> None:
    site = serve(hello, KEPT)
    with site.client() as sock:
        for _ in range(3):
            sock.sendall(GET)
            received = b""
            while not received.endswith(b"hello GET /there"):
                received += sock.recv(4096)
            assert b"Connection:" not in received
        sock.sendall(LAST + GET)
        received = everything(sock)
        assert received.count(b"hello") == 1
        assert b"\r\nConnection: close\r\n" in received


def test_pipelined_requests_get_their_responses_in_order(serve: Serve) -> None:
    bodies = [b"x" * size for size in (0, 1, 5000, 2, 0, 30_000)]
    sent = b"".join(POST % (len(body), body) for body in bodies)
    received = serve(echo, KEPT).raw(sent + LAST)
    answers = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [
        b"<%b>" % body for body in [*bodies, b""]
    ]


def test_endless_pipelined_requests_are_read_no_faster_than_served(serve: Serve) -> None:
    site = serve(lambda request: Later(Future()) if request.path == "/later" else hello(request), KEPT)
    with ExitStack() as stack:
        sock = ask(stack, site, "/later")
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):  # the system's buffers are full and stay full
            send_for_ever(sock, GET * 1000)
        assert site.call("/there").status == 200


def test_pipelining_clients_and_others_take_turns(serve: Serve) -> None:
    site = serve(hello, KEPT)
    with site.client() as greedy:
        greedy.sendall(GET * 300)
        assert site.call("/there").status == 200
        greedy.sendall(LAST)
        assert everything(greedy).count(b"hello") == 301


def test_with_an_idle_limit_of_zero_each_request_has_its_connection(serve: Serve) -> None:
    response = serve(hello, PATIENT).raw(GET.replace(b"Host", b"Connection: keep-alive\r\nHost") + GET)
    assert response.count(b"hello") == 1
    assert b"\r\nConnection: close\r\n" in response


def test_a_client_that_waits_for_100_continue_gets_it(serve: Serve) -> None:
    with serve(echo, PATIENT).client() as sock:
        head, _, _ = (POST % (3, b"")).partition(b"\r\n\r\n")
        sock.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert everything(sock).endswith(b"<abc>")


@pytest.mark.parametrize(
    ("path", "size", "status"), [(b"/forbidden", 3, 403), (b"/there", 10**9, 413), (b"/there", 10**30, 413)]
)
def test_a_refused_head_gets_no_100_continue(serve: Serve, path: bytes, size: int, status: int) -> None:
    head = (POST % (size, b"")).replace(b"/there", path).replace(b"Host", b"Expect: 100-continue\r\nHost")
    with serve(echo, KEPT).client() as sock:
        sock.sendall(head)
        assert everything(sock).startswith(b"HTTP/1.1 %d " % status)


# Slow clients


def test_a_hundred_silent_clients_delay_no_response(serve: Serve) -> None:
    site = serve(hello, PATIENT)
    with ExitStack() as hoard:
        for _ in range(100):
            hoard.enter_context(site.client())
        assert site.call("/there").body == b"hello GET /there"


def test_clients_that_do_not_read_delay_no_response(serve: Serve) -> None:
    large = bytes(6_000_000)  # more than the buffers of both sides hold
    site = serve(
        lambda request: hello(request)._replace(body=large if request.path == "/large" else b""), PATIENT
    )
    with ExitStack() as hoard:
        for _ in range(20):
            hoard.enter_context(site.client()).sendall(GET.replace(b"/there", b"/large"))
        assert site.call("/there").status == 200


def test_of_too_many_unread_responses_the_oldest_is_dropped(serve: Serve) -> None:
    large = bytes(6_000_000)
    site = serve(lambda _: Response(200, large), PATIENT._replace(responses=15_000_000))
    with ExitStack() as hoard:
        oldest, *others = [hoard.enter_context(site.client()) for _ in range(3)]
        for sock in (oldest, *others):
            sock.sendall(GET)
            sock.recv(1, socket.MSG_PEEK)  # its response has begun
        assert len(everything(oldest)) < len(large)
        for sock in others:
            assert len(everything(sock)) > len(large)


def test_a_dripping_head_times_out(serve: Serve) -> None:
    over = threading.Event()
    with serve(hello, PATIENT._replace(head=0.3)).client() as sock:

        def drip() -> None:
            sock.sendall(b"GET / HTTP/1.1\r\nX: ")
            while not over.wait(0.02):
                try:
                    sock.sendall(b"y")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert everything(sock).startswith(
                b"HTTP/1.1 408 "
            )  # and it ends: else our own time-out is raised
        finally:
            over.set()
            dripping.join()


def test_a_silent_client_times_out(serve: Serve) -> None:
    with serve(hello, PATIENT._replace(head=0.2)).client() as sock:
        assert sock.recv(1) == b""


def test_a_client_that_reads_too_slowly_times_out(serve: Serve) -> None:
    large = bytes(64_000_000)
    site = serve(lambda _: Response(200, large), PATIENT._replace(answer=0.3))
    with site.client() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200_000)  # a small receive buffer
        sock.sendall(GET)
        received, until = 0, time.monotonic() + 0.8
        while time.monotonic() < until:  # read a little all the time
            received += len(sock.recv(65536))
            threading.Event().wait(0.005)
        with suppress(ConnectionResetError):
            while size := len(sock.recv(1 << 20)):  # the bytes that the system had already received
                received += size
        assert 0 < received < len(large)


def test_a_client_that_does_not_close_its_side_is_closed(serve: Serve) -> None:
    with serve(hello, PATIENT._replace(farewell=0.2)).client() as sock:
        sock.sendall(GET)
        assert everything(sock).endswith(b"hello GET /there")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_for_ever(sock, b"x", pause=0.01)


def test_with_too_many_connections_the_oldest_is_closed(serve: Serve) -> None:
    site = serve(hello, PATIENT._replace(connections=3))
    with site.client() as oldest, site.client() as older, site.client(), site.client() as newest:
        assert oldest.recv(1) == b""
        newest.sendall(GET)
        assert everything(newest).endswith(b"hello GET /there")
        older.sendall(GET)
        assert everything(older).endswith(b"hello GET /there")


def test_an_idle_connection_is_closed_before_an_older_busy_one(
    serve: Serve,
) -> None:
    site = serve(hello, KEPT._replace(connections=3))
    with ExitStack() as stack:
        at_work = stack.enter_context(site.client())
        at_work.sendall(GET[:10])
        idle = [ask(stack, site, "/there") for _ in range(2)]
        for sock in idle:
            assert sock.recv(4096).endswith(b"hello GET /there")
        assert site.call("/there").status == 200
        assert idle[0].recv(1) == b""
        at_work.sendall(GET[10:])
        assert at_work.recv(4096).endswith(b"hello GET /there")


def test_of_two_idle_connections_the_one_with_the_older_request_is_closed(serve: Serve) -> None:
    site = serve(hello, KEPT._replace(connections=2))
    with site.client() as first, site.client() as second:
        for sock in (first, second, first):
            sock.sendall(GET)
            assert sock.recv(4096).endswith(b"hello GET /there")
        assert site.call("/there").status == 200
        assert second.recv(1) == b""
        first.sendall(GET)
        assert first.recv(4096).endswith(b"hello GET /there")


def test_of_two_busy_connections_the_one_with_the_older_request_is_closed(serve: Serve) -> None:
    site = serve(hello, KEPT._replace(connections=2))
    with site.client() as first, site.client() as second:
        for sock in (second, first):
            sock.sendall(GET)
            assert sock.recv(4096).endswith(b"hello GET /there")
            sock.sendall(GET[:10])
        assert site.call("/there").status == 200
        assert second.recv(1) == b""
        first.sendall(GET[10:])
        assert first.recv(4096).endswith(b"hello GET /there")


def test_a_dripping_body_times_out(serve: Serve) -> None:
    with serve(echo, PATIENT._replace(body=0.2)).client() as sock:
        sock.sendall(POST % (3, b"a"))
        assert everything(sock).startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed(serve: Serve) -> None:
    with serve(hello, PATIENT._replace(idle=0.2)).client() as sock:
        sock.sendall(GET)
        assert everything(sock).endswith(b"hello GET /there")


@pytest.mark.parametrize("sent", [b"", b"GET /", GET])
def test_a_client_may_go_away_at_any_time(
    serve: Serve, sent: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    large = bytes(16_000_000)
    site = serve(lambda _: Response(200, large), PATIENT)
    for reset in (False, True):
        with site.client() as sock:
            sock.sendall(sent)
            if reset:  # linger 0: closing sends a reset
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert len(site.call("/there").body) == len(large)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


# Later


class Promises:
    """Returns `Later` for ``/later…``, and a response for everything else."""

    def __init__(self, within: float | None = None, otherwise: Response | None = None) -> None:
        self._within, self._otherwise = within, otherwise
        self.made: queue.SimpleQueue[Future[Response]] = queue.SimpleQueue()

    def __call__(self, request: Request) -> Reply:
        if not request.path.startswith("/later"):
            return hello(request)
        future: Future[Response] = Future()
        self.made.put(future)
        return Later(future, self._within, self._otherwise)

    def next(self) -> "Future[Response]":
        return self.made.get(timeout=DEADLINE)


def ask(stack: ExitStack, site: Site, path: str) -> socket.socket:
    sock = stack.enter_context(site.client())
    sock.sendall(GET.replace(b"/there", path.encode()))
    return sock


def test_other_responses_do_not_wait_for_a_later_one(serve: Serve) -> None:
    promises = Promises()
    site = serve(promises, PATIENT)
    with ExitStack() as stack:
        first, second = ask(stack, site, "/later"), ask(stack, site, "/later")
        futures = [promises.next(), promises.next()]
        assert site.call("/there").body == b"hello GET /there"
        futures[1].set_result(Response(200, b"the second"))
        assert everything(second).endswith(b"the second")
        futures[0].set_result(Response(200, b"the first"))
        assert everything(first).endswith(b"the first")


def test_a_later_may_be_resolved_already(serve: Serve) -> None:
    future: Future[Response] = Future()
    future.set_result(Response(200, b"already"))
    assert serve(lambda _: Later(future)).call("/").body == b"already"


def test_many_clients_may_wait_for_one_future(serve: Serve) -> None:
    future: Future[Response] = Future()
    future.set_running_or_notify_cancel()
    site = serve(lambda request: Later(future) if request.path == "/later" else hello(request), PATIENT)
    with ExitStack() as stack:
        asked = [ask(stack, site, "/later") for _ in range(20)]
        site.call("/there")
        future.set_result(Response(200, b"for all"))
        assert all(everything(sock).endswith(b"for all") for sock in asked)


def test_a_client_does_not_time_out_while_its_response_is_computed(serve: Serve) -> None:
    promises = Promises()
    site = serve(promises, PATIENT._replace(head=0.1))
    with ExitStack() as stack:
        sock = ask(stack, site, "/later")
        future = promises.next()
        assert (
            stack.enter_context(site.client()).recv(1) == b""
        )  # this client timed out, although it came later
        future.set_result(Response(200, b"at last"))
        assert everything(sock).endswith(b"at last")


@pytest.mark.parametrize(
    ("otherwise", "expected"), [(Response(202, b"not yet"), b"not yet"), (None, b"Service Unavailable")]
)
def test_a_later_that_is_late_gets_the_other_reply(
    serve: Serve, otherwise: Response | None, expected: bytes
) -> None:
    promises = Promises(0.05, otherwise)
    received = serve(promises, PATIENT).call("/later")
    assert received.body == expected
    future = promises.next()
    assert future.cancelled()  # the computation may stop


def test_a_late_response_is_not_sent_for_the_next_request(serve: Serve) -> None:
    soon, whenever = Promises(0.05, Response(202, b"not yet")), Promises()
    site = serve(lambda request: (soon if request.path == "/later/1" else whenever)(request), KEPT)
    with site.client() as sock:
        sock.sendall(GET.replace(b"/there", b"/later/1") + GET.replace(b"/there", b"/later/2") + LAST)
        whenever.next().set_result(Response(200, b"in time"))
        statuses = [each[:3] for each in everything(sock).split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"202", b"200", b"200"]


def test_the_future_of_a_closed_client_is_cancelled(serve: Serve) -> None:
    promises = Promises()
    site = serve(promises, PATIENT._replace(connections=2))
    with ExitStack() as stack:
        oldest = ask(stack, site, "/later")
        future = promises.next()
        latest = [ask(stack, site, "/later"), ask(stack, site, "/later")]
        assert everything(oldest) == b""
        assert future.cancelled()
        for sock in latest:
            promises.next().set_result(Response(200, b"done"))
            assert everything(sock).endswith(b"done")


def test_clients_that_close_their_sides_early_get_responses_and_cost_nothing(serve: Serve) -> None:
    promises = Promises()
    site = serve(promises, PATIENT)
    with ExitStack() as stack:
        sock = ask(stack, site, "/later")
        sock.shutdown(socket.SHUT_WR)
        future = promises.next()
        worked = time.process_time()
        threading.Event().wait(0.3)  # a loop that spins would be at work all the time
        assert time.process_time() - worked < 0.2
        future.set_result(Response(200, b"at last"))
        assert everything(sock).endswith(b"at last")


# Takeovers


def test_an_application_may_take_the_socket_over(serve: Serve) -> None:
    def speak(sock: socket.socket) -> None:
        sock.sendall(b"hello, ")
        sock.sendall(sock.recv(100))

    site = serve(lambda _: Takeover(speak), PATIENT)
    with site.client() as sock:
        sock.sendall(GET)
        assert sock.recv(7, socket.MSG_WAITALL) == b"hello, "
        sock.sendall(b"you")
        assert everything(sock) == b"you"


def test_a_takeover_delays_no_other_and_ends_with_client_or_server() -> None:
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()

    def wait(sock: socket.socket) -> None:
        sock.settimeout(None)
        while sock.recv(100):
            pass
        ended.put("ended")

    def answer(request: Request) -> Reply:
        return Takeover(wait) if request.path == "/wait" else hello(request)

    with ExitStack() as stack:
        with serving() as start:
            site = start(answer, PATIENT)
            first, _second = ask(stack, site, "/wait"), ask(stack, site, "/wait")
            assert site.call("/there").body == b"hello GET /there"
            first.close()
            assert ended.get(timeout=DEADLINE) == "ended"
            assert ended.empty()
        assert ended.get(timeout=DEADLINE) == "ended"


def test_a_takeover_is_closed_when_it_is_the_oldest_connection(serve: Serve) -> None:
    def wait(sock: socket.socket) -> None:
        sock.settimeout(None)
        sock.recv(1)

    site = serve(
        lambda request: Takeover(wait) if request.path == "/wait" else hello(request),
        PATIENT._replace(connections=2),
    )
    with ExitStack() as stack:
        oldest = ask(stack, site, "/wait")
        for _ in range(2):
            site.call("/there")
        assert site.call("/there").status == 200
        ask(stack, site, "/wait"), ask(stack, site, "/wait")
        assert everything(oldest) == b""


NO_THREADS = """
import os, resource, sys, threading
from refresher.http.server.loop import Server
from refresher.http.server.messages import Response, Takeover
from refresher.http.server.sockets import bind
from tests.http.server.site import Plain

def answer(request):
    if request.path == "/take":
        return Takeover(lambda sock: sock.sendall(b"taken"))
    return Response(200, b"hello")

listening = bind("127.0.0.1", 0)
if os.geteuid() == 0:  # whom the limit does not concern
    os.setuid(65534)
threading.Thread(target=Server(listening, Plain(answer)).serve, daemon=True).start()
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
print(listening.getsockname()[1], flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
print("there are threads again", flush=True)
sys.stdin.readline()
"""


def test_if_no_thread_starts_only_the_takeover_is_closed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NO_THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        site, take = Site(int(process.stdout.readline())), GET.replace(b"/there", b"/take")
        assert site.raw(take) == b""
        assert site.call("/there").body == b"hello"
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        assert site.raw(take) == b"taken"
        process.stdin.close()


# Failures of the server


def fail(request: Request) -> Response:
    if request.path == "/fails":
        raise ValueError("the inner text")
    return hello(request)


def fail_later(request: Request) -> Reply:
    if request.path != "/fails":
        return hello(request)
    future: Future[Response] = Future()
    future.set_exception(ValueError("the inner text"))
    return Later(future)


@pytest.mark.parametrize("answer", [fail, fail_later])
def test_a_bug_in_the_application_is_logged_and_the_server_lives_on(
    serve: Serve, caplog: pytest.LogCaptureFixture, answer: Callable[[Request], Reply]
) -> None:
    site = serve(answer)
    received = site.call("/fails?secret")
    assert (received.status, received.body) == (500, b"Internal Server Error")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("refresher", logging.ERROR)
    assert "fails" not in record.getMessage()  # text from clients stays out of the log
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the inner text"
    assert site.call("/fails", "HEAD").body == b""
    assert site.call("/there").status == 200


ODD = {
    "/bullet": Response(200, b"", "text/plain\N{BULLET}"),
    "/split": Response(200, b"", headers=(("X", "a\r\nSet-Cookie: b"),)),
}


@pytest.mark.parametrize("path", ["/bullet", "/split"])
def test_an_unsendable_response_is_handled_like_a_bug(serve: Serve, path: str) -> None:
    site = serve(lambda request: ODD.get(request.path) or hello(request))
    assert site.call(path).status == 500
    assert site.call("/there").status == 200


OUT_OF_DESCRIPTORS = """
import logging, resource, sys, threading, time
from refresher.http.server.limits import Limits
from refresher.http.server.loop import Server
from refresher.http.server.messages import Response
from refresher.http.server.sockets import bind
from tests.http.server.site import Plain

logging.basicConfig(format="%(message)s", stream=sys.stdout)
listening = bind("127.0.0.1", 0)
server = Server(
    listening, Plain(lambda _: Response(200, b"hello")), Limits(60.0, 60.0, 60.0, 60.0, 60.0), name="this one"
)
resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
if "others" in sys.argv:  # other files use up the descriptors
    others = []
    while len(others) < 16:
        try:
            others.append(open("/dev/null"))
        except OSError:
            break
print(listening.getsockname()[1], flush=True)
began, worked = time.monotonic(), time.process_time()
threading.Thread(target=server.serve, daemon=True).start()
sys.stdin.readline()
if "others" in sys.argv:
    others.clear()
sys.stdin.readline()
print((time.process_time() - worked) / (time.monotonic() - began), flush=True)
"""


@pytest.mark.parametrize("culprit", ["ours", "others"])
def test_without_free_descriptors_it_neither_dies_nor_spins(culprit: str) -> None:
    program = [sys.executable, "-c", OUT_OF_DESCRIPTORS, culprit]
    with (
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        ExitStack() as hoard,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for _ in range(40):
            hoard.enter_context(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))
        warning = process.stdout.readline()
        assert warning.startswith("this one cannot accept another connection: Too many open files")
        threading.Event().wait(0.5)  # a loop that spins would be at work all the time
        process.stdin.write("\n")
        process.stdin.flush()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
        connection.close()
        process.stdin.write("\n")
        process.stdin.flush()
        (share_of_time,) = process.stdout.read().splitlines()  # the warning is not repeated
        assert float(share_of_time) < 0.5
