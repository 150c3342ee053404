"""Connections to the API server that end on time (`bounded`), that of making them included. Not bounded are
the resolution of a name (getaddrinfo(3) lets nobody) and the number of its addresses, each of which is tried
for as long; in a cluster the API server is known by one address.
"""

import socket
import time

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection

from refresher.bounded import BoundedConnection, BoundedResponse, close_idle, left

# Bytes of an answer. etcd takes objects of 1.5 MiB, which are longer in JSON, and managedFields are added.
LONGEST_ANSWER = 16 * 1024 * 1024


class _Response(BoundedResponse):
    longest = LONGEST_ANSWER


class _Connection(BoundedConnection):
    """`self.timeout` is what is left of the request's time when urllib3 sets it, just before each use."""

    response_class = _Response

    def connect(self) -> None:
        by = time.monotonic() + (self.timeout or 0.0)
        super().connect()
        self.timeout = left(by)  # for sending the request

    def _new_conn(self) -> socket.socket:
        by = time.monotonic() + (self.timeout or 0.0)
        sock = super()._new_conn()
        sock.settimeout(left(by))  # for the TLS handshake, which CPython bounds as a whole
        return sock


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
    close_idle(pools)
    pools.clear()
