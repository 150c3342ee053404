"""A transport for `requests` that ends on time and takes no more than was agreed, whatever the peer does.

A time-out of requests is for one `recv`: a server that sends a byte a second holds its caller for ever. Here
one deadline bounds everything on the wire: the resolution of the name, the connection, to all addresses of
the host together, a proxy's tunnel, the TLS handshake (as a whole: CPython's `do_handshake` does that),
headers, body. Not bounded is a handshake that the issuer drips through an https:// proxy: there each `recv`
has what was left at its start.
"""

import ssl
import time
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPSConnection

from refresher.bounded import BoundedConnection, BoundedResponse, drop_idle, left
from refresher.core.issuer_response import LONGEST_RESPONSE
from refresher.trust import Trust, UnusableError


class Deadline(Timeout):
    """A time-out of urllib3 of which every phase has what is left until one moment, `seconds` from now."""

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


class BoundedAdapter(HTTPAdapter):
    """Sends within a `Deadline`, which is to be given to `send` as the time-out.

    TLS is always verified, whatever `send` is told, against what is in `trust`. When that has changed, no
    connection that was made before is used any more.
    """

    def __init__(self, trust: Trust, pool_size: int) -> None:
        self._trust = trust
        self._context: ssl.SSLContext | None = None
        super().__init__(pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("socks"):
            raise UnusableError("SOCKS proxies are not supported")
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = self._tls_context()
        pools = super().proxy_manager_for(proxy, **kwargs)
        pools.pool_classes_by_scheme = _POOLS
        return pools

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        tls = {"ssl_context": self._tls_context()} if host["scheme"] == "https" else {}
        return host, {"cert_reqs": "CERT_REQUIRED", **tls}

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to set on a pool: the context verifies, and brings its authorities along."""

    def close(self) -> None:
        """Close the idle connections. A request under way is not disturbed."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            drop_idle(manager)

    def _tls_context(self) -> ssl.SSLContext:
        """Raises UnusableError."""
        context = self._trust.context()
        before, self._context = self._context, context
        if before is not None and before is not context:
            self.close()
        return context


class _Response(BoundedResponse):
    longest = LONGEST_RESPONSE


class _Connection(BoundedConnection):
    response_class = _Response


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}
