"""A client of a server on loopback: plain ways to talk to it."""

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

DEADLINE = 10.0  # seconds; far more than anything here takes


class Received(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Site:
    """A server that serves, and what a client does with it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def call(
        self, path: str, method: str = "GET", body: bytes | None = None, *, accept: str | None = None
    ) -> Received:
        """One request over a connection of its own."""
        headers = {} if accept is None else {"Accept": accept}
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


Serve = Callable[..., Site]  # of what answers and, optionally, of Limits
