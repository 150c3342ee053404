"""Connections of urllib3 that end on time, whatever the API server does.

A time-out of urllib3 is for one `recv`: a server that sends a byte a second holds its caller for ever. Here
what is left of a request's time when it is sent is for the whole answer, headers and body. Not bounded are
the resolution of a name (getaddrinfo(3) lets nobody) and the number of its addresses, each of which is tried
for as long; in a cluster the API server is known by one address.
"""

import io
import socket
import time
from http.client import HTTPResponse, IncompleteRead
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

# Bytes of an answer. etcd takes objects of 1.5 MiB, which are longer in JSON, and managedFields are added.
LONGEST_ANSWER = 16 * 1024 * 1024

# Seconds for which an idle connection is used again: less than what lies between takes to forget it without a
# word, so that a request would hang. (kube-apiserver itself keeps it for minutes.)
LONGEST_IDLE = 30.0

_MOMENT = 0.001  # seconds, the least time-out: 0 would mean "do not block"


class AnswerTooLongError(OSError):
    """The answer, headers included, is longer than `LONGEST_ANSWER` bytes."""


class _Reader(io.RawIOBase):
    """Reads a socket until its time-out, as it is when this is made, has passed as a whole."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock, self._room = raw, sock, LONGEST_ANSWER
        self._by = time.monotonic() + (sock.gettimeout() or 0.0)
        self.in_head = True  # whether the end of the stream would cut the headers off

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._by))
        count = self._raw.readinto(buffer)
        self._room -= count or 0
        if self._room < 0:
            raise AnswerTooLongError(f"longer than {LONGEST_ANSWER} bytes")
        if not count and self.in_head and self._room < LONGEST_ANSWER:
            raise IncompleteRead(b"")  # http.client would take these headers for all of them
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """Its socket's time-out, which is what is left when it is made, is for the answer as a whole."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader = _Reader(self.fp.detach(), sock)
        self.fp: io.BufferedReader = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        self._reader.in_head = False
        # What is no header is dropped here. urllib3 would log it, and it may be anything.
        self.headers.set_payload("")
        self.headers.defects.clear()


class _Connection(HTTPConnection):
    """`self.timeout` is what is left of the request's time when urllib3 sets it, just before each use."""

    response_class = _Response
    _last_used = 0.0

    def connect(self) -> None:
        by = time.monotonic() + (self.timeout or 0.0)
        super().connect()
        self.timeout = _left(by)  # for sending the request

    def _new_conn(self) -> socket.socket:
        by = time.monotonic() + (self.timeout or 0.0)
        sock = super()._new_conn()
        sock.settimeout(_left(by))  # for the TLS handshake, which CPython bounds as a whole
        return sock

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self._last_used < LONGEST_IDLE and super().is_connected

    def getresponse(self) -> Any:
        self._last_used = time.monotonic()
        return super().getresponse()


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def bound(pools: PoolManager) -> None:
    """From now on connections made for `pools` are of this kind."""
    pools.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def close(pools: PoolManager) -> None:
    """Close the idle connections now: urllib3 leaves them to the garbage collector."""
    for key in pools.pools.keys():  # noqa: SIM118 -- no iteration over the container itself
        pools.pools[key].close()
    pools.clear()


def _left(by: float) -> float:
    return max(_MOMENT, by - time.monotonic())
