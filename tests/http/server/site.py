"""A server on loopback, and simple clients for it."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import NamedTuple

from refresher.http.server.limits import Limits
from refresher.http.server.loop import Server
from refresher.http.server.messages import Reply, Request, Response
from refresher.http.server.sockets import bind

DEADLINE = 10.0  # seconds; far more than anything here takes


class Received(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Site:
    """A running server, and the actions of a client."""

    def __init__(self, port: int) -> None:
        self.port = port

    def call(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        *,
        accept: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Received:
        """Send one request over its own connection."""
        headers = dict(headers or {}) | ({} if accept is None else {"Accept": accept})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Received(response.status, response.headers, response.read())
        finally:
            connection.close()

    @contextmanager
    def client(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as sock:
            yield sock

    def raw(self, *pieces: bytes) -> bytes:
        """The bytes that come back after these bytes are sent."""
        with self.client() as sock:
            for piece in pieces:
                sock.sendall(piece)
            return everything(sock)


def everything(sock: socket.socket) -> bytes:
    """All bytes until the other side closes or resets the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            received += piece
    return received


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class Plain:
    """An application made of one function; by default it admits everything."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self._answer = answer

    def admit(self, request: Request) -> Response | None:
        return Response(403, b"not admitted") if request.path.startswith("/forbidden") else None

    def answer(self, request: Request) -> Reply:
        return self._answer(request)

    def refuse(self, status: HTTPStatus) -> Response:
        return Response(status, status.phrase.encode())


@contextmanager
def running() -> Iterator[Callable[[Callable[[socket.socket], Server]], Site]]:
    """Runs the server made of a listening socket until the end; fails if it ends earlier."""
    running: list[tuple[Server, threading.Thread]] = []

    def run(make: Callable[[socket.socket], Server]) -> Site:
        listening = bind("127.0.0.1", 0)
        port = listening.getsockname()[1]
        server = make(listening)
        thread = threading.Thread(target=server.serve, name="serving")
        thread.start()
        running.append((server, thread))
        return Site(port)

    try:
        yield run
    finally:  # a failed test must not leave a thread that keeps pytest from ending
        for server, thread in running:
            lived = thread.is_alive()
            server.stop()
            thread.join(DEADLINE)
            assert lived, "the server has ended before the test"
            assert not thread.is_alive(), "the server did not stop"


@contextmanager
def serving() -> Iterator["Serve"]:
    """Serves with this function as the application; by default one request per connection."""
    with running() as run:

        def start(answer: Callable[[Request], Reply], limits: Limits = ONE_REQUEST) -> Site:
            return run(lambda listening: Server(listening, Plain(answer), limits))

        yield start


ONE_REQUEST = Limits(idle=0.0)
Serve = Callable[..., Site]  # of what answers and, optionally, of Limits
