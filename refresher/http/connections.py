"""Connections of urllib3 with a limit on the time of a request and on the size of its response.

A time-out of urllib3 limits one `recv`: a server that sends a byte a second holds its caller for ever. Here
the total time-out limits the whole request. It covers the name resolution, the connection attempts to all
addresses together, a proxy's tunnel, the TLS handshake, the request, headers and body.

One case is not limited: a server that drips its handshake through an https:// proxy. There each `recv` may
take the time that was left when the handshake began.
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

# Seconds that an idle connection is kept. That serves many tokens that are due together. Load balancers and
# NAT drop idle connections later than that, without notice, and a request on a dropped one would time out.
LONGEST_IDLE = 30.0

_BLOCK = 8 * 1024  # bytes read from a socket at once: the last block of a head may include content
_TLS_ALERT = b"\x15\x03"  # RFC 8446 §5.1: a TLS server's response to a request in plain text

# Bytes of a status line and headers, including interim responses. http.client makes nine copies of them.
# Servers send one kilobyte and accept eight to sixteen.
LONGEST_HEAD = 128 * 1024

MOMENT = 0.001  # seconds, the shortest time-out: 0 would mean "do not block"


class ResponseTooLongError(OSError):
    """The response is longer than its limit. The text has the limit."""


class SpeaksTlsError(HTTPException):
    """The server speaks TLS, but the request was in plain text."""


class _Reader(io.RawIOBase):
    """Reads at most `longest` bytes from a socket. The socket's time-out at construction covers all reads."""

    in_head = True  # whether the headers are not complete yet

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, longest: int) -> None:
        self._raw, self._sock, self._longest, self._room = raw, sock, longest, longest
        self._deadline = time.monotonic() + (sock.gettimeout() or 0.0)
        self._first = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(left(self._deadline))
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
            raise IncompleteRead(b"")  # http.client would accept the incomplete headers
        return count

    def close(self) -> None:
        if not self.closed:
            # The socket may stay in use: after a proxy's tunnel opens, the TLS handshake gets the time left.
            self._sock.settimeout(left(self._deadline))
            self._raw.close()
        super().close()


class BoundedResponse(HTTPResponse):
    """A response of at most `longest` bytes. The socket's time-out at construction covers all of it."""

    longest: ClassVar[int]

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader = _Reader(self.fp.detach(), sock, self.longest)
        self.fp: io.BufferedReader = io.BufferedReader(self._reader, _BLOCK)

    def begin(self) -> None:
        super().begin()
        self._reader.in_head = False
        # Drop malformed header lines. urllib3 would log them, and they may contain secrets.
        self.headers.set_payload("")
        self.headers.defects.clear()

    def _read_status(self) -> tuple[str, int, str]:
        """Skips every interim response (RFC 9110 §15.2). http.client skips only 100. After another one, the
        final response would stay on the connection, and the next request, perhaps for another key, would
        read it."""
        version, status, reason = super()._read_status()  # type: ignore[misc]
        is_interim = 100 <= status <= 199 and status != HTTPStatus.SWITCHING_PROTOCOLS
        return version, HTTPStatus.CONTINUE if is_interim else status, reason


class BoundedConnection(HTTPConnection):
    """A connection with time limits. `self.timeout` is the time left; urllib3 sets it before each request."""

    resolver: ClassVar = Resolver()  # one per process, like /etc/resolv.conf

    _last_used = 0.0

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self._last_used < LONGEST_IDLE and super().is_connected

    def getresponse(self) -> Any:
        self._last_used = time.monotonic()
        return super().getresponse()

    def connect(self) -> None:
        deadline = time.monotonic() + (self.timeout or 0.0)
        super().connect()
        self.timeout = left(deadline)  # for sending the request

    def _new_conn(self) -> socket.socket:
        """Connect to the first address of the host that accepts, within one time limit for all addresses.

        Each address gets an equal share of the time left. So an address that drops packets (a broken IPv6, a
        dead replica) does not use up the time of the next.
        """
        began, seconds = time.monotonic(), self.timeout or 0.0
        deadline = began + seconds
        host = self._dns_host.strip("[]")
        try:
            addresses = self.resolver.addresses(host, seconds)
        except OSError as error:
            raise NewConnectionError(self, "the name cannot be resolved") from error
        resolved = time.monotonic() - began
        failures = []
        for tried, address in enumerate(addresses):
            try:
                return self._connected(address, deadline, left(deadline) / (len(addresses) - tried))
            except OSError as error:
                failures.append(error)
        if resolved > seconds / 2 and isinstance(failures[0], TimeoutError):
            late = f"the name {host} was resolved after {resolved:.3g} s, too late to connect"
            failures = [UnresolvedError(f"{late}: the resolver is slow (see /etc/resolv.conf)")]
        raise NewConnectionError(self, "no connection") from failures[0]  # the first is the preferred address

    def _connected(self, address: str, deadline: float, seconds: float) -> socket.socket:
        sock = create_connection((address, self.port), seconds, socket_options=self.socket_options)
        sock.settimeout(left(deadline))  # for the whole TLS handshake: CPython applies it to all of it
        return sock


class Deadline(Timeout):
    """A time-out of urllib3 that ends `seconds` from now, in any phase of the request."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._deadline = time.monotonic() + seconds

    def clone(self) -> "Deadline":
        return self

    def start_connect(self) -> float:
        return time.monotonic()

    @property
    def connect_timeout(self) -> float:
        return left(self._deadline)

    @property
    def read_timeout(self) -> float:
        return left(self._deadline)


class BoundedPool(HTTPConnectionPool):
    """Applies the total time-out to the whole request, including a proxy's tunnel."""

    def urlopen(self, *args: Any, timeout: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        kwargs["timeout"] = Deadline(timeout.total)
        return super().urlopen(*args, **kwargs)


def bounded_pools(longest: int) -> dict[str, Any]:
    """Classes for `PoolManager.pool_classes_by_scheme`. They limit each request to its total time-out, and
    each response to `longest` bytes."""

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
    """Close the idle connections and use new pools from now on. Running requests finish, and then their
    connections close. urllib3's own `clear` leaves idle connections to the garbage collector."""
    for key in pools.pools.keys():  # noqa: SIM118 -- the container itself is not iterable
        pool = pools.pools.get(key)
        idle = pool.pool if pool is not None else None
        with suppress(queue.Empty):
            while idle is not None:
                connection = idle.get_nowait()
                if connection is not None:
                    connection.close()
    pools.clear()


def left(deadline: float) -> float:
    """Seconds until `deadline` on the monotonic clock, as a time-out: at least MOMENT."""
    return max(MOMENT, deadline - time.monotonic())
