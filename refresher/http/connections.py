"""Connections of urllib3 that end on time and take no more than was agreed, whatever the peer does.

A time-out of urllib3 is for one `recv`: a server that sends a byte a second holds its caller for ever. Here
the total time-out of a request bounds everything on the wire: the resolution of the name, the connection, to
all addresses of the host together, a proxy's tunnel, the TLS handshake, the request, headers, body. Not
bounded is a handshake that the server drips through an https:// proxy: there each `recv` has what was left
when the handshake began.
"""

import io
import queue
import socket
import time
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, ClassVar

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.util.connection import create_connection

from refresher.http.resolver import Resolver, UnresolvedError

# Seconds for which an idle connection is kept for use: long enough for many tokens due at once, and less than
# load balancers and NAT take to forget it without a word. A request on a forgotten one hangs until its end.
LONGEST_IDLE = 30.0

_BLOCK = 8 * 1024  # bytes that are read from a socket at once: the last of a head may have content in it
_TLS_ALERT = b"\x15\x03"  # RFC 8446 §5.1: an alert, what a TLS server says to a request in plain text

# Bytes of a status line and headers, interim answers included: http.client makes nine copies of them. Servers
# send one kilobyte and accept eight to sixteen.
LONGEST_HEAD = 128 * 1024

MOMENT = 0.001  # seconds, the least time-out: 0 would mean "do not block"


class ResponseTooLongError(OSError):
    """The response, headers included, is longer than was agreed. The text says how long that is."""


class SpeaksTlsError(HTTPException):
    """The server speaks TLS, and was asked in plain text."""


class _Reader(io.RawIOBase):
    """Reads at most `longest` bytes of a socket, all within the time-out that the socket has when this is
    made."""

    in_head = True  # whether the headers are not complete yet

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, longest: int) -> None:
        self._raw, self._sock, self._longest, self._room = raw, sock, longest, longest
        self._by = time.monotonic() + (sock.gettimeout() or 0.0)
        self._first = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(left(self._by))
        count = self._raw.readinto(buffer)
        self._room -= count or 0
        if self._room < 0:
            raise ResponseTooLongError(f"longer than {self._longest} bytes")
        if self.in_head and self._longest - self._room > LONGEST_HEAD + _BLOCK:
            raise ResponseTooLongError(f"longer than {LONGEST_HEAD} bytes before its content begins")
        self._first = self._first or bytes(buffer[: min(2, count or 0)])
        if not count and self.in_head and self._room < self._longest:
            if self._first == _TLS_ALERT:
                raise SpeaksTlsError
            raise IncompleteRead(b"")  # http.client would take these headers for all of them
        return count

    def close(self) -> None:
        if not self.closed:
            # What follows on this socket, a handshake with the server after a proxy's yes, has what is left.
            self._sock.settimeout(left(self._by))
            self._raw.close()
        super().close()


class BoundedResponse(HTTPResponse):
    """A response of at most `longest` bytes. Its socket's time-out, as it is when this is made, is for all of
    it."""

    longest: ClassVar[int]

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader = _Reader(self.fp.detach(), sock, self.longest)
        self.fp: io.BufferedReader = io.BufferedReader(self._reader, _BLOCK)

    def begin(self) -> None:
        super().begin()
        self._reader.in_head = False
        # Drop the lines that are no headers. urllib3 would log them, and they may be anything.
        self.headers.set_payload("")
        self.headers.defects.clear()

    def _read_status(self) -> tuple[str, int, str]:
        """Skips interim responses of every kind (RFC 9110 §15.2). http.client knows only 100, and would leave
        the final response on the connection for the next request, which may be another key's."""
        version, status, reason = super()._read_status()  # type: ignore[misc]
        is_interim = 100 <= status <= 199 and status != HTTPStatus.SWITCHING_PROTOCOLS
        return version, HTTPStatus.CONTINUE if is_interim else status, reason


class BoundedConnection(HTTPConnection):
    """`self.timeout` is the time left for a request. urllib3 sets it just before each use."""

    resolver: ClassVar = Resolver()  # one for the process: its configuration, /etc/resolv.conf, is one, too

    _last_used = 0.0

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self._last_used < LONGEST_IDLE and super().is_connected

    def getresponse(self) -> Any:
        self._last_used = time.monotonic()
        return super().getresponse()

    def connect(self) -> None:
        by = time.monotonic() + (self.timeout or 0.0)
        super().connect()
        self.timeout = left(by)  # for sending the request

    def _new_conn(self) -> socket.socket:
        """A connection to the first address of the host that accepts one, within the time for all of them.

        Each gets an equal share of the time left: an address that swallows packets (a broken IPv6, a dead
        replica) neither multiplies the time nor uses up what a good one needs.
        """
        began, seconds = time.monotonic(), self.timeout or 0.0
        by = began + seconds
        host = self._dns_host.strip("[]")
        try:
            found = self.resolver.addresses(host, seconds)
        except OSError as error:
            raise NewConnectionError(self, "the name cannot be resolved") from error
        resolved = time.monotonic() - began
        failures = []
        for tried, address in enumerate(found):
            try:
                return self._connected(address, by, left(by) / (len(found) - tried))
            except OSError as error:
                failures.append(error)
        if resolved > seconds / 2 and isinstance(failures[0], TimeoutError):
            why = f"the name {host} was resolved after {resolved:.3g} s, too late to connect"
            failures = [UnresolvedError(f"{why}: the resolver is slow (see /etc/resolv.conf)")]
        raise NewConnectionError(self, "no connection") from failures[0]  # the first is the preferred address

    def _connected(self, address: str, by: float, share: float) -> socket.socket:
        sock = create_connection((address, self.port), share, socket_options=self.socket_options)
        sock.settimeout(left(by))  # for the TLS handshake, which CPython bounds as a whole
        return sock


class Deadline(Timeout):
    """A time-out of urllib3 that ends `seconds` from now, in whichever phase the request is then."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._by = time.monotonic() + seconds

    def clone(self) -> "Deadline":
        return self

    def start_connect(self) -> float:
        return time.monotonic()

    @property
    def connect_timeout(self) -> float:
        return left(self._by)

    @property
    def read_timeout(self) -> float:
        return left(self._by)


class BoundedPool(HTTPConnectionPool):
    """Takes the total time-out of a request as one for all of it, a proxy's tunnel included."""

    def urlopen(self, *args: Any, timeout: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        kwargs["timeout"] = Deadline(timeout.total)
        return super().urlopen(*args, **kwargs)


def bounded_pools(longest: int) -> dict[str, Any]:
    """Classes for `PoolManager.pool_classes_by_scheme`: each request ends within its total time-out, and its
    response has at most `longest` bytes."""

    class Response(BoundedResponse):
        pass

    class Connection(BoundedConnection):
        response_class = Response

    class TlsConnection(Connection, HTTPSConnection):
        pass

    class Pool(BoundedPool):
        ConnectionCls = Connection

    class TlsPool(BoundedPool, HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    Response.longest = longest
    return {"http": Pool, "https": TlsPool}


def drop_idle(pools: PoolManager) -> None:
    """Close the idle connections, and use new pools from now on. Requests under way go on, and their
    connections end with them. urllib3's own `clear` leaves idle ones to the garbage collector."""
    for key in pools.pools.keys():  # noqa: SIM118 -- no iteration over the container itself
        pool = pools.pools.get(key)
        idle = pool.pool if pool is not None else None
        with suppress(queue.Empty):
            while idle is not None:
                connection = idle.get_nowait()
                if connection is not None:
                    connection.close()
    pools.clear()


def left(by: float) -> float:
    """Seconds until the monotonic clock reads `by`, as a time-out."""
    return max(MOMENT, by - time.monotonic())
