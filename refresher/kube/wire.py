"""Connections to the API server that end on time (`bounded`), over TLS with the certificates of `trust`."""

import ssl
import time

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection

from refresher.bounded import BoundedConnection, BoundedResponse, drop_idle, left
from refresher.trust import Trust

# Bytes of an answer. etcd takes objects of 1.5 MiB, which are longer in JSON, and managedFields are added.
LONGEST_ANSWER = 16 * 1024 * 1024

_FILES = ("ca_certs", "cert_file", "key_file")


class _Response(BoundedResponse):
    longest = LONGEST_ANSWER


class _Connection(BoundedConnection):
    """`self.timeout` is what is left of the request's time when urllib3 sets it, just before each use."""

    response_class = _Response

    def connect(self) -> None:
        by = time.monotonic() + (self.timeout or 0.0)
        super().connect()
        self.timeout = left(by)  # for sending the request


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Wire:
    """Makes the connections of `pools`, which were configured by the Kubernetes client.

    The files that it was given for TLS, of a Pod or of a kubeconfig, are read again when they change. A
    client of its own would read them for each connection, and use none while they are broken.
    """

    def __init__(self, pools: PoolManager, *, over_tls: bool) -> None:
        self._pools = pools
        pools.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        files = {name: pools.connection_pool_kw.pop(name, None) for name in _FILES}
        client = (files["cert_file"], files["key_file"]) if files["cert_file"] else None
        verify = pools.connection_pool_kw.get("cert_reqs") != ssl.CERT_NONE
        self._trust = Trust(files["ca_certs"], client, verify=verify) if over_tls else None

    @property
    def problem(self) -> str:
        """Why the files for TLS, as they are now, are not in use; empty if they are."""
        return self._trust.problem if self._trust else ""

    def renew(self) -> None:
        """Use what is in the files now. Connections made with what was in them before are used no more.

        Raises UnusableError.
        """
        if self._trust is None:
            return
        context = self._trust.context()
        before = self._pools.connection_pool_kw.get("ssl_context")
        self._pools.connection_pool_kw["ssl_context"] = context
        if before is not None and before is not context:
            drop_idle(self._pools)

    def close(self) -> None:
        """Close the idle connections."""
        drop_idle(self._pools)
