"""How an answer goes out over a socket: properly, or spoiled as a fault demands."""

import socket
import struct
import threading
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from refresher.emulator.exchange import Answer
from refresher.emulator.faults import Fault

_ON_EVERY_ANSWER = "Server: inlive-emulator\r\nCache-Control: no-store\r\n"
# A page from anywhere may call the product's API, as the SDK does in a browser: nothing there is let in
# without a key or a token. Authorization is not covered by the wildcard and has to be named (Fetch standard,
# "CORS-preflight fetch").
_FOR_PAGES = (
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Allow-Methods: GET, POST, PUT, DELETE\r\n"
    "Access-Control-Allow-Headers: Authorization, *\r\n"
    "Access-Control-Expose-Headers: X-Access-Token-Expired, Retry-After\r\n"
    "Access-Control-Max-Age: 600\r\n"
)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_ENDLESS_BLOCK = b"a" * 16384


def has_no_body(status: int) -> bool:
    """RFC 9110 §6.4.1."""
    return status < 200 or status in (204, 304)


def whole(answer: Answer, clock: float, *, connection: str | None = None, head_only: bool = False) -> bytes:
    """The answer as it should be. `clock`: what the Date header says, wall seconds."""
    if has_no_body(answer.status):
        return _head(answer, clock, None, connection)
    head = _head(answer, clock, len(answer.body), connection)
    return head if head_only else head + answer.body


class Outlet:
    """A way out for spoiled answers; afterwards the connection is fit only to be closed.

    ``old_client``: it speaks HTTP/1.0 and knows no chunks. Once ``stopping`` is set, everything ends early.
    """

    def __init__(self, sock: socket.socket, stopping: threading.Event, *, old_client: bool) -> None:
        self._sock = sock
        self._stopping = stopping
        self._old_client = old_client

    def send(self, answer: Answer, fault: Fault, clock: float) -> None:
        """Send `answer` as `fault` spoils it. Raises OSError when the client has gone."""
        chunked = fault.endless == "chunked" and not self._old_client
        body, length = answer.body, None
        if has_no_body(answer.status):
            body = b""
        elif fault.endless is None:
            length = max(len(body), 1) if fault.cut_body else len(body)
        if fault.cut_body:
            body = body[: len(body) // 2]
        frame = _chunk if chunked else bytes
        head = _head(answer, clock, length, "close", chunked=chunked)
        self._put(head, fault.drip if fault.drip_head else None)
        if body:
            self._put(body, fault.drip, frame)
        if fault.endless is not None:
            self._pour(fault.drip, frame)

    def _put(self, content: bytes, pause: float | None, frame: Callable[[bytes], bytes] = bytes) -> None:
        if pause is None:
            self._sock.sendall(frame(content))
            return
        for position in range(len(content)):
            if self._stopping.wait(pause):
                return
            self._sock.sendall(frame(content[position : position + 1]))

    def _pour(self, pause: float | None, frame: Callable[[bytes], bytes]) -> None:
        block = frame(_ENDLESS_BLOCK if pause is None else b"a")
        while not self._stopping.wait(pause or 0):
            self._sock.sendall(block)


def hang(sock: socket.socket) -> None:
    """Wait until the client has gone or the socket is severed. What it still sends is thrown away."""
    sock.settimeout(None)
    while socket.socket.recv(sock, 65536):  # below TLS: it is about the end only
        pass


def make_close_reset(sock: socket.socket) -> None:
    """Let the closing of this socket be a TCP reset: lingering for no time at all (socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _head(
    answer: Answer, clock: float, length: int | None, connection: str | None, *, chunked: bool = False
) -> bytes:
    head = f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, '')}\r\nDate: {_date(int(clock))}\r\n"
    head += _ON_EVERY_ANSWER
    if answer.for_pages:
        head += _FOR_PAGES
    if not has_no_body(answer.status):
        head += f"Content-Type: {answer.content_type}\r\n"
    if length is not None:
        head += f"Content-Length: {length}\r\n"
    if chunked:
        head += "Transfer-Encoding: chunked\r\n"
    if connection is not None:
        head += f"Connection: {connection}\r\n"
    for name, value in answer.headers:
        head += f"{name}: {value}\r\n"
    return (head + "\r\n").encode("latin-1")


@lru_cache(maxsize=8)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)
