"""One client's connection: requests are read from it one after the other, answered, and never raise."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer
from typing import Any

from refresher.emulator import delivery
from refresher.emulator.api import Reply
from refresher.emulator.exchange import Answer, Request, envelope

IDLE_TIMEOUT = 30.0  # seconds without a byte, in either direction
LONGEST_BODY = 64 * 1024
_DRAINED = 1024 * 1024  # how much of an unread request is thrown away so that the client gets to our answer


@dataclass(frozen=True, slots=True)
class Service:
    """What a connection needs: who answers, when to give up, where the access log goes.

    ``clock``: wall seconds, for answers to what could not even be read.
    """

    respond: Callable[[Request], Reply]
    clock: Callable[[], float]
    stopping: threading.Event
    log: Callable[[str], None] | None = None


class Connection(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT
    disable_nagle_algorithm = True
    connection: socket.socket

    def __init__(self, sock: socket.socket, address: Any, server: BaseServer, service: Service) -> None:
        self._service = service
        self._has_unread = False
        super().__init__(sock, address, server)  # serves the connection until its end

    def handle(self) -> None:
        try:
            super().handle()
            if self._has_unread:
                self._drain()
        except OSError as error:  # the client has gone, or we were severed: there is nobody to tell
            self._note(f"connection lost: {type(error).__name__}")

    def _exchange(self) -> None:
        body = self._read_body()
        if body is None:
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path.partition("?")[0], headers, body)
        reply = self._service.respond(request)
        if self._service.log is not None:
            outcome = reply.answer.status if reply.answer else "no answer"
            self._note(f"{request.method} {_printable(request.path)} {outcome} {reply.note}".rstrip())
        self._deliver(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _exchange  # noqa: N815

    def _read_body(self) -> bytes | None:
        """The request's body; None if it was not read, and then that has been answered."""
        given = self.headers.get("Content-Length", "0").strip()
        refusal = None
        if self.headers.get("Transfer-Encoding"):
            refusal = HTTPStatus.LENGTH_REQUIRED
        elif not (given.isascii() and given.isdigit()):
            refusal = HTTPStatus.BAD_REQUEST
        elif len(given) > 18 or int(given) > LONGEST_BODY:
            refusal = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if refusal is not None:
            self.send_error(refusal)
            return None
        body = self.rfile.read(int(given))
        if len(body) < int(given):  # the client has gone
            self.close_connection = True
            return None
        return body

    def _deliver(self, reply: Reply) -> None:
        answer, fault = reply.answer, reply.fault
        if fault is not None:
            if self._service.stopping.wait(fault.latency):
                self.close_connection = True
                return
            if answer is None:
                self._stay_silent(with_reset=fault.reset)
                return
            if fault.drip is not None or fault.cut_body or fault.endless is not None:
                self.close_connection = True
                old_client = self.request_version == "HTTP/1.0"
                outlet = delivery.Outlet(self.connection, self._service.stopping, old_client=old_client)
                outlet.send(answer, fault, reply.clock)
                return
        if answer is not None:
            self._send(answer, reply.clock)

    def _stay_silent(self, *, with_reset: bool) -> None:
        self.close_connection = True
        if with_reset:
            delivery.make_close_reset(self.connection)
        else:
            delivery.hang(self.connection)

    def _send(self, answer: Answer, clock: float) -> None:
        connection = None
        if self.close_connection:
            connection = "close"
        elif self.request_version == "HTTP/1.0":
            connection = "keep-alive"
        head_only = self.command == "HEAD"
        self.connection.sendall(delivery.whole(answer, clock, connection=connection, head_only=head_only))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that could not be read. What the parser says of it is not repeated: it quotes."""
        del message, explain
        self.close_connection = True
        self._has_unread = True
        self._note(f"unreadable request {int(code)}")
        self._send(envelope(code, HTTPStatus(code).phrase), self._service.clock())

    def _drain(self) -> None:
        """Closing with unread bytes is a TCP reset, which may overtake our answer (RFC 9112 §9.6)."""
        socket.socket.shutdown(self.connection, socket.SHUT_WR)
        self.connection.settimeout(1.0)
        left = _DRAINED
        while left > 0:
            received = len(socket.socket.recv(self.connection, 65536))
            left = left - received if received else 0

    def _note(self, line: str) -> None:
        if self._service.log is not None:
            self._service.log(line)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it)
        """The base class would write to standard error, and quote requests."""


def _printable(path: str) -> str:
    return "".join(letter if letter.isprintable() and letter.isascii() else "?" for letter in path[:100])
