"""The HTTP server: what it accepts, what it adds, and whom it does not wait for."""

import http.client
import logging
import queue
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresher.web.exchange import HTML, TEXT, Answer, Later, Request, parsed, rendered
from refresher.web.server import Limits, affordable_connections
from tests.web.site import DEADLINE, Serve, Site, everything

GET = b"GET /there HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENT = Limits(
    head=60.0, answer=60.0, farewell=60.0
)  # longer than a test: nothing here ends by its time-out


def hello(request: Request) -> Answer:
    return Answer(200, TEXT, f"hello {request.method} {request.path}".encode())


def send_for_ever(sock: socket.socket, piece: bytes, pause: float = 0.0) -> None:
    """Send this over and over, until the other side has closed the connection for good."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        sock.sendall(piece)
        threading.Event().wait(pause)


# What is asked, and what is answered


def test_a_request_is_given_to_who_answers_it_and_the_answer_to_the_client(serve: Serve) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Answer:
        seen.append(request)
        return Answer(203, "text/csv", b"a,b", (("X-More", "yes"),))

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


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_no_other_method_is_allowed(serve: Serve, method: str) -> None:
    received = serve(hello).call("/there", method, b"body")
    assert (received.status, received.headers["Allow"]) == (405, "GET, HEAD")
    assert b"hello" not in received.body


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/there?x=1&y=/z", "/there"),
        (b"http://x:9464/there?x", "/there"),
        (b"HTTP://x", "/"),
        (b"//there", "/there"),
        (b"/th%65re", "/th%65re"),
    ],
)
def test_the_path_is_without_query_and_origin(serve: Serve, target: bytes, path: str) -> None:
    response = serve(hello).raw(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert response.endswith(f"hello GET {path}".encode())


@pytest.mark.parametrize(
    "head",
    [
        b"GET /there HTTP/1.0\r\n\r\n",
        b"GET /there HTTP/1.1\nHost: x\n\n",
        b"\r\n\r\n" + GET,
        GET + GET,
        GET.replace(b"Host", b"Connection: keep-alive\r\nHost"),
    ],
)
def test_one_request_is_answered_however_it_is_put_and_the_connection_closed(
    serve: Serve, head: bytes
) -> None:
    response = serve(hello).raw(head)
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert response.count(b"hello GET /there") == 1
    assert b"\r\nConnection: close\r\n" in response


def test_a_request_may_come_in_pieces(serve: Serve) -> None:
    pieces = (GET[at : at + 1] for at in range(len(GET)))
    assert serve(hello).raw(*pieces).endswith(b"hello GET /there")


def test_headers_of_one_name_are_one_and_folded_ones_are_unfolded(serve: Serve) -> None:
    seen: list[str] = []

    def answer(request: Request) -> Answer:
        seen.append(request.headers["accept"])
        return hello(request)

    serve(answer).raw(b"GET / HTTP/1.1\r\nAccept: a,\r\n b\r\nHost: x\r\naccept: c\r\n\r\n")
    assert seen == ["a, b, c"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"not http at all\r\n\r\n", 400),
        (b" \r\n\r\n", 400),
        (b"GET /there HTTP/nine\r\n\r\n", 400),
        (b"GET /there HTTP/3.0\r\n\r\n", 505),
        (b"GET /there HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET /there HTTP/1.1\r\nX: " + b"y" * 20_000, 431),
        (b"GET /" + b"y" * 20_000, 431),
    ],
    ids=["nonsense", "nothing", "no version", "a later version", "too many", "too large", "endless line"],
)
def test_what_cannot_be_read_is_refused_and_not_repeated(serve: Serve, head: bytes, status: int) -> None:
    response = serve(hello).raw(head)
    assert response.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"hello" not in response
    assert b"there" not in response
    assert b"yyy" not in response


ODD = st.lists(st.sampled_from([b"\r\n ", b"\r", b"\n", b"\t", b"\0", b":", b",", b"/", b"a", b"\xe9"])).map(
    b"".join
)
HEADS = st.builds(
    lambda method, target, version, fields: b"%b /%b %b\r\n%b" % (method, target, version, b"".join(fields)),
    st.sampled_from([b"GET", b"HEAD", b"PUT", b""]),
    ODD,
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/1", b""]),
    st.lists(st.builds(lambda name, value: b"X-%b: %b\r\n" % (name, value), ODD, ODD), max_size=3),
)


@settings(max_examples=500, deadline=None)
@given(HEADS | st.binary(max_size=100))
def test_whatever_is_sent_it_is_a_request_or_refused(sent: bytes) -> None:
    request = parsed(sent + b"\r\n\r\n")
    if isinstance(request, Request):
        assert request.method in ("GET", "HEAD")
        assert not any(set(value) & {"\r", "\n"} for value in request.headers.values())
    else:
        assert 400 <= request.status < 600
        assert rendered(request).startswith(b"HTTP/1.1 ")


def test_a_body_that_nobody_reads_does_not_keep_the_answer_from_its_client(serve: Serve) -> None:
    site = serve(hello)
    with site.client() as sock:
        sock.sendall(GET.replace(b"Host", b"Content-Length: 30000\r\nHost"))
        assert everything(sock).endswith(b"hello GET /there")
        for _ in range(3):  # this client sends all of it before it looks at the answer, and is not reset
            sock.sendall(b"x" * 10_000)
            threading.Event().wait(0.01)


def test_a_body_without_an_end_is_not_read_without_an_end(serve: Serve) -> None:
    with serve(hello, PATIENT).client() as sock:
        sock.sendall(GET)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_for_ever(sock, b"x" * 4096)


def test_every_answer_forbids_storing_and_sniffing_and_names_no_version(serve: Serve) -> None:
    site = serve(hello)
    for received in (site.call("/there"), site.call("/there", "POST")):
        assert received.headers["Cache-Control"] == "no-store"
        assert received.headers["X-Content-Type-Options"] == "nosniff"
        assert received.headers["Server"] == "inlive-token-refresher"
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", received.headers["Date"])
        assert "Content-Security-Policy" not in received.headers


def test_a_page_may_do_nothing_but_be_looked_at(serve: Serve) -> None:
    policy = serve(lambda _: Answer(200, HTML, b"<p>")).call("/").headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["form-action"] == "'none'"
    assert rules["style-src"] == "'unsafe-inline'"
    assert "script-src" not in rules


# Who is not waited for


def test_a_hundred_silent_clients_keep_nobody_from_an_answer(serve: Serve) -> None:
    site = serve(hello, PATIENT)
    with ExitStack() as hoard:
        for _ in range(100):
            hoard.enter_context(site.client())
        assert site.call("/there").body == b"hello GET /there"


def test_clients_that_do_not_read_their_answers_keep_nobody_from_one(serve: Serve) -> None:
    large = bytes(6_000_000)  # more than the buffers of both sides take
    site = serve(
        lambda request: hello(request)._replace(body=large if request.path == "/large" else b""), PATIENT
    )
    with ExitStack() as hoard:
        for _ in range(20):
            hoard.enter_context(site.client()).sendall(GET.replace(b"/there", b"/large"))
        assert site.call("/there").status == 200


def test_of_too_many_answers_that_nobody_reads_the_oldest_is_dropped(serve: Serve) -> None:
    large = bytes(6_000_000)
    site = serve(lambda _: Answer(200, TEXT, large), PATIENT._replace(responses=15_000_000))
    with ExitStack() as hoard:
        oldest, *others = [hoard.enter_context(site.client()) for _ in range(3)]
        for sock in (oldest, *others):
            sock.sendall(GET)
            sock.recv(1, socket.MSG_PEEK)  # its answer has begun
        assert len(everything(oldest)) < len(large)
        for sock in others:
            assert len(everything(sock)) > len(large)


def test_a_head_that_drips_is_given_up_though_it_never_stops(serve: Serve) -> None:
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
            assert everything(sock) == b""  # and it ends: else the client's own time-out is raised
        finally:
            over.set()
            dripping.join()


def test_a_silent_client_is_given_up(serve: Serve) -> None:
    with serve(hello, PATIENT._replace(head=0.2)).client() as sock:
        assert sock.recv(1) == b""


def test_a_client_that_reads_too_slowly_is_given_up(serve: Serve) -> None:
    large = bytes(64_000_000)
    site = serve(lambda _: Answer(200, TEXT, large), PATIENT._replace(answer=0.3))
    with site.client() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200_000)  # little is taken in advance
        sock.sendall(GET)
        received, until = 0, time.monotonic() + 0.8
        while time.monotonic() < until:  # reading a little all the time
            received += len(sock.recv(65536))
            threading.Event().wait(0.005)
        with suppress(ConnectionResetError):
            while size := len(sock.recv(1 << 20)):  # what the system had taken from the server
                received += size
        assert 0 < received < len(large)


def test_a_client_that_does_not_close_its_side_is_left(serve: Serve) -> None:
    with serve(hello, PATIENT._replace(farewell=0.2)).client() as sock:
        sock.sendall(GET)
        assert everything(sock).endswith(b"hello GET /there")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_for_ever(sock, b"x", pause=0.01)


def test_of_too_many_connections_the_oldest_is_closed(serve: Serve) -> None:
    site = serve(hello, PATIENT._replace(connections=3))
    with site.client() as oldest, site.client() as older, site.client(), site.client() as newest:
        assert oldest.recv(1) == b""
        newest.sendall(GET)
        assert everything(newest).endswith(b"hello GET /there")
        older.sendall(GET)
        assert everything(older).endswith(b"hello GET /there")


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(3, 1), (24, 1), (28, 2), (32, 4), (64, 20), (88, 32), (1024, 32), (resource.RLIM_INFINITY, 32)],
)
def test_connections_leave_the_refresher_its_descriptors(descriptors: int, connections: int) -> None:
    assert affordable_connections(descriptors) == connections


@pytest.mark.parametrize("sent", [b"", b"GET /", GET])
def test_a_client_that_goes_at_any_time_is_no_error(
    serve: Serve, sent: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    large = bytes(16_000_000)
    site = serve(lambda _: Answer(200, TEXT, large), PATIENT)
    for reset in (False, True):
        with site.client() as sock:
            sock.sendall(sent)
            if reset:  # linger 0: closing is a reset
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert len(site.call("/there").body) == len(large)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


# What takes long


class Slow:
    """Answers ``/slow…`` later, and only when it may; everything else at once."""

    def __init__(self) -> None:
        self.begun: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.may_end = threading.Semaphore(0)

    def __call__(self, request: Request) -> Answer | Later:
        return partial(self._later, request) if request.path.startswith("/slow") else hello(request)

    def _later(self, request: Request) -> Answer:
        self.begun.put(request.path)
        assert self.may_end.acquire(timeout=DEADLINE)
        return hello(request)


def ask(stack: ExitStack, site: Site, path: str) -> socket.socket:
    sock = stack.enter_context(site.client())
    sock.sendall(GET.replace(b"/there", path.encode()))
    return sock


def test_what_is_quick_does_not_wait_for_what_takes_long(serve: Serve) -> None:
    slow = Slow()
    site = serve(slow, PATIENT)
    with ExitStack() as stack:
        sock = ask(stack, site, "/slow")
        assert slow.begun.get(timeout=DEADLINE) == "/slow"
        assert site.call("/there").body == b"hello GET /there"
        slow.may_end.release()
        assert everything(sock).endswith(b"hello GET /slow")


def test_what_takes_long_is_computed_one_after_the_other_and_each_gets_its_own(serve: Serve) -> None:
    slow = Slow()
    site = serve(slow, PATIENT)
    with ExitStack() as stack:
        asked = {path: ask(stack, site, path) for path in ("/slow/1", "/slow/2", "/slow/3")}
        first = slow.begun.get(timeout=DEADLINE)
        site.call("/there")
        assert slow.begun.empty()
        slow.may_end.release(3)
        for path, sock in asked.items():
            assert everything(sock).endswith(f"hello GET {path}".encode())
        assert {first, slow.begun.get(), slow.begun.get()} == set(asked)


def test_a_client_does_not_run_out_of_time_while_its_answer_is_computed(serve: Serve) -> None:
    slow = Slow()
    site = serve(slow, PATIENT._replace(head=0.1))
    with ExitStack() as stack:
        sock = ask(stack, site, "/slow")
        slow.begun.get(timeout=DEADLINE)
        assert stack.enter_context(site.client()).recv(1) == b""  # this one did, and it came later
        slow.may_end.release()
        assert everything(sock).endswith(b"hello GET /slow")


def test_nothing_is_computed_for_a_client_that_was_closed(serve: Serve) -> None:
    slow = Slow()
    site = serve(slow, PATIENT._replace(connections=2))
    with ExitStack() as stack:
        under_way = ask(stack, site, "/slow/1")
        assert slow.begun.get(timeout=DEADLINE) == "/slow/1"
        waiting = ask(stack, site, "/slow/2")
        latest = [ask(stack, site, "/slow/3"), ask(stack, site, "/slow/4")]
        assert everything(under_way) == everything(waiting) == b""
        slow.may_end.release(4)
        for sock in latest:
            assert everything(sock).startswith(b"HTTP/1.1 200 ")
        assert [slow.begun.get(), slow.begun.get()] == ["/slow/3", "/slow/4"]
        assert slow.begun.empty()


def test_clients_that_close_their_sides_early_are_answered_and_cost_nothing(serve: Serve) -> None:
    slow = Slow()
    site = serve(slow, PATIENT)
    with ExitStack() as stack:
        sock = ask(stack, site, "/slow")
        sock.shutdown(socket.SHUT_WR)
        slow.begun.get(timeout=DEADLINE)
        worked = time.process_time()
        threading.Event().wait(0.3)  # a loop that spins would be at work all the time
        assert time.process_time() - worked < 0.2
        slow.may_end.release()
        assert everything(sock).endswith(b"hello GET /slow")


NO_THREADS = """
import os, resource, sys, threading
from refresher.config.declarations import ListenAddress
from refresher.web.exchange import TEXT, Answer
from refresher.web.server import Server
from refresher.web.socket import bind

def answer(request):
    return lambda: Answer(200, TEXT, threading.current_thread().name.encode())

listening = bind(ListenAddress("127.0.0.1", 0))
if os.geteuid() == 0:  # whom the limit does not concern
    os.setuid(65534)
threading.Thread(target=Server(listening, answer).serve, name="serving", daemon=True).start()
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
print(listening.getsockname()[1], flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
print("there are threads again", flush=True)
sys.stdin.readline()
"""


def test_without_a_thread_to_be_had_it_answers_all_the_same_and_takes_one_once_there_is() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NO_THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        site = Site(int(process.stdout.readline()))
        assert site.call("/").body == b"serving"
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        assert site.call("/").body == b"endpoints-background"
        process.stdin.close()


# What goes wrong on our side


def fail(request: Request) -> Answer:
    if request.path == "/fails":
        raise ValueError("the inner text")
    return hello(request)


@pytest.mark.parametrize("answer", [fail, lambda request: partial(fail, request)])
def test_a_bug_in_an_answer_is_logged_and_not_shown_and_the_server_lives_on(
    serve: Serve, caplog: pytest.LogCaptureFixture, answer: Callable[[Request], Answer | Later]
) -> None:
    site = serve(answer)
    received = site.call("/fails?secret")
    assert (received.status, received.body) == (500, b"Internal Server Error\n")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("refresher", logging.ERROR)
    assert "fails" not in record.getMessage()  # what clients write stays out of the log
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the inner text"
    assert site.call("/fails", "HEAD").body == b""
    assert site.call("/there").status == 200


def test_an_answer_that_cannot_be_sent_is_a_mistake_like_any_other(serve: Serve) -> None:
    site = serve(lambda request: Answer(200, "text/plain\N{BULLET}" if request.path == "/odd" else TEXT, b""))
    assert site.call("/odd").status == 500
    assert site.call("/there").status == 200


OUT_OF_DESCRIPTORS = """
import logging, resource, sys, threading, time
from refresher.config.declarations import ListenAddress
from refresher.web.exchange import TEXT, Answer
from refresher.web.server import Limits, Server
from refresher.web.socket import bind

logging.basicConfig(format="%(message)s", stream=sys.stdout)
listening = bind(ListenAddress("127.0.0.1", 0))
server = Server(listening, lambda _: Answer(200, TEXT, b"hello"), Limits(60.0, 60.0, 60.0))
resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
if "others" in sys.argv:  # it is not our connections that take them all
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
def test_without_a_descriptor_left_it_neither_dies_nor_spins(culprit: str) -> None:
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
        told = process.stdout.readline()
        assert told.startswith("the endpoints cannot take another connection: Too many open files")
        threading.Event().wait(0.5)  # a loop that spins would be at work all the time
        process.stdin.write("\n")
        process.stdin.flush()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
        connection.close()
        process.stdin.write("\n")
        process.stdin.flush()
        (share_of_time,) = process.stdout.read().splitlines()  # and the warning is not repeated
        assert float(share_of_time) < 0.5
