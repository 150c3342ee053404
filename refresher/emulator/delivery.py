"""How an answer goes out over a socket when a fault spoils it."""

import select
import socket
import struct
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from refresher.emulator.faults import Fault
from refresher.http.server.messages import (
    Headers,
    Later,
    Reply,
    Response,
    Takeover,
    has_no_body,
    rendered_head,
)

_ENDLESS_BLOCK = b"a" * 16384


def delivered(response: Response | None, fault: Fault, *, old_client: bool) -> Reply:
    """How `fault` has this response delivered; without a response, how it stays silent.

    ``old_client``: it speaks HTTP/1.0 and knows no chunks.
    """
    reply: Response | Takeover
    if response is None:
        reply = Takeover(_make_close_reset if fault.reset else _hang)
    elif fault.drip is not None or fault.cut_body or fault.endless is not None:
        reply = Takeover(partial(_send, response, fault, old_client))
    else:
        reply = response
    return Later(Future(), fault.latency, reply) if fault.latency else reply


def _send(response: Response, fault: Fault, old_client: bool, sock: socket.socket) -> None:  # noqa: FBT001
    """Send `response` as `fault` spoils it. Raises OSError when the client has gone."""
    chunked = fault.endless == "chunked" and not old_client
    body = response.body
    framing: Headers = ()
    if has_no_body(response.status):
        body = b""
    elif chunked:
        framing = (("Transfer-Encoding", "chunked"),)
    elif fault.endless is None:
        framing = (("Content-Length", str(max(len(body), 1) if fault.cut_body else len(body))),)
    if fault.cut_body:
        body = body[: len(body) // 2]
    frame = _chunk if chunked else bytes
    _put(sock, rendered_head(response, framing, "close"), fault.drip if fault.drip_head else None)
    if body:
        _put(sock, body, fault.drip, frame)
    if fault.endless is not None:
        block = frame(_ENDLESS_BLOCK if fault.drip is None else b"a")
        while True:
            _pause(sock, fault.drip or 0.0)
            sock.sendall(block)


def _put(
    sock: socket.socket, content: bytes, pause: float | None, frame: Callable[[bytes], bytes] = bytes
) -> None:
    if pause is None:
        sock.sendall(frame(content))
        return
    for position in range(len(content)):
        _pause(sock, pause)
        sock.sendall(frame(content[position : position + 1]))


def _pause(sock: socket.socket, seconds: float) -> None:
    """Wait so long, or until the connection has been severed: the next call then fails."""
    severed = select.poll()
    severed.register(sock, 0)  # nothing but POLLHUP and POLLERR, which always count
    severed.poll(seconds * 1000)


def _hang(sock: socket.socket) -> None:
    """Wait until the client has gone or the socket is severed. What it still sends is thrown away."""
    sock.settimeout(None)
    while socket.socket.recv(sock, 65536):  # below TLS: it is about the end only
        pass


def _make_close_reset(sock: socket.socket) -> None:
    """Let the closing of this socket be a TCP reset: lingering for no time at all (socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)
