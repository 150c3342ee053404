"""Sends a response over a socket as a fault demands."""

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
    """The reply that delivers `response` as `fault` demands, or that stays silent if `response` is None.

    ``old_client``: the client speaks HTTP/1.0, so chunks are not possible.
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
    """Send `response` as `fault` demands. Raises OSError when the client has gone."""
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
    """Wait for `seconds`, or until the connection is severed; then the next call on the socket fails."""
    severed = select.poll()
    severed.register(sock, 0)  # only POLLHUP and POLLERR, which are always reported
    severed.poll(seconds * 1000)


def _hang(sock: socket.socket) -> None:
    """Discard what the client sends, until it has gone or the socket is severed."""
    sock.settimeout(None)
    while socket.socket.recv(sock, 65536):  # bypasses TLS: only the end matters
        pass


def _make_close_reset(sock: socket.socket) -> None:
    """Make `close` send a TCP reset: set SO_LINGER to zero seconds (socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)
