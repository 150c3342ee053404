"""A real server on loopback, and plain ways to talk to it."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest

from refresher.config.declarations import ListenAddress
from refresher.web.exchange import Answer, Request
from refresher.web.server import Limits, Server
from refresher.web.socket import bind

DEADLINE = 10.0  # seconds; far more than anything here takes


class Received(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Site:
    """A server that serves, and what a client does with it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def call(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Received:
        """One request over a connection of its own."""
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
        """What comes back on a connection on which these bytes are sent."""
        with self.client() as sock:
            for piece in pieces:
                sock.sendall(piece)
            return everything(sock)


def everything(sock: socket.socket) -> bytes:
    """All that comes until the other side closes the connection, or resets it."""
    received = b""
    with suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            received += piece
    return received


Serve = Callable[..., Site]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves with this function answering, until the test is over; fails if the server did not live so long."""
    serving: list[tuple[socket.socket, threading.Thread]] = []

    def start(answer: Callable[[Request], Answer], limits: Limits | None = None) -> Site:
        listening = bind(ListenAddress("127.0.0.1", 0))
        thread = threading.Thread(target=Server(listening, answer, limits).serve, name="served")
        thread.start()
        serving.append((listening, thread))
        return Site(listening.getsockname()[1])

    yield start
    for listening, thread in serving:
        lived = thread.is_alive()
        with suppress(OSError):  # not connected, says macOS
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE)
        listening.close()
        assert lived, "the server has ended before the test"
        assert not thread.is_alive(), "the server did not end with its socket"


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits until a condition holds; fails when it does not within the deadline."""

    def wait(condition: Callable[[], bool]) -> None:
        until = time.monotonic() + DEADLINE
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < until, "the condition did not come to hold in time"
            pause.wait(0.005)

    return wait
