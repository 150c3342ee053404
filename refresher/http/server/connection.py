"""One accepted, non-blocking socket, plain or TLS, with its protocol."""

import selectors
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from refresher.http.server.messages import Later
from refresher.http.server.protocol import Phase, Protocol

if TYPE_CHECKING:
    import ssl

_PIECE = 16 * 2**10  # bytes read at once; the largest TLS record, so nothing stays buffered in OpenSSL


class Connection:
    """A socket with its protocol. ``later``: the response that the application has promised."""

    def __init__(self, sock: socket.socket, tls: "ssl.SSLContext | None", protocol: Protocol) -> None:
        self.protocol = protocol
        self.since = protocol.since  # as of the last time that the server looked
        self.later: Later | None = None
        self.thread: threading.Thread | None = None
        self._events = 0
        self._is_shut = False
        self._would_block: tuple[type[OSError], ...] = (BlockingIOError,)
        if tls is not None:
            import ssl  # noqa: PLC0415 -- loaded already, with the context

            # The first reads perform the handshake. If it fails, they raise OSError as if the client had
            # gone.
            sock = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self._would_block = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self.sock = sock
        sock.settimeout(0)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self) -> bytes | None:
        """The received bytes: empty if the client has closed its side, None if there are none yet."""
        try:
            return self.sock.recv(_PIECE)
        except self._would_block:
            return None

    def send(self) -> None:
        """Send as much as one call accepts. After the last response, close our side."""
        protocol = self.protocol
        if protocol.outgoing:
            with suppress(*self._would_block):
                protocol.sent(self.sock.send(protocol.outgoing), time.monotonic())
        if protocol.phase is Phase.FAREWELL and not self._is_shut:
            # Closing with unread bytes sends a TCP reset, which may overtake our response (RFC 9112 §9.6).
            self._is_shut = True
            socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def listen(self, selector: selectors.BaseSelector) -> None:
        """Register the events that this connection waits for with `selector`."""
        reading = selectors.EVENT_READ if self.protocol.wants_more else 0
        events = reading | (selectors.EVENT_WRITE if self.protocol.outgoing else 0)
        if events == self._events:
            return
        if not events:
            selector.unregister(self.sock)
        elif self._events:
            selector.modify(self.sock, events, self)
        else:
            selector.register(self.sock, events, self)
        self._events = events

    def abandon(self) -> None:
        """Stop waiting for the application."""
        later, self.later = self.later, None
        if later is not None:
            later.future.cancel()

    def release(self, selector: selectors.BaseSelector) -> None:
        """Detach this connection from the serving thread. The socket stays open."""
        if self._events:
            selector.unregister(self.sock)
            self._events = 0
        self.abandon()

    def sever(self) -> None:
        """Wake the thread that took over. Bypasses TLS, because that thread owns its state."""
        with suppress(OSError):  # the connection has ended already
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class OpenConnections:
    """All open connections, in the order in which the server closes them for lack of room: the one that has
    been idle longest, or else the one with the oldest request. Nothing here searches: there may be thousands.
    """

    def __init__(self) -> None:
        self._all: OrderedDict[Connection, None] = OrderedDict()  # by `since`
        self._idle: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._all)

    def __contains__(self, connection: object) -> bool:
        return connection in self._all

    @property
    def first_to_evict(self) -> Connection:
        return next(iter(self._idle or self._all))

    def add(self, connection: Connection) -> None:
        self._all[connection] = None

    def remove(self, connection: Connection) -> None:
        """Remove a connection, if it is there."""
        self._all.pop(connection, None)
        self._idle.pop(connection, None)

    def sort(self, connection: Connection) -> None:
        """Put a connection into its place. Call this after each exchange."""
        protocol = connection.protocol
        if connection.since != protocol.since:
            connection.since = protocol.since
            self._all.move_to_end(connection)
            self._idle.pop(connection, None)
        if protocol.is_idle:
            self._idle[connection] = None
