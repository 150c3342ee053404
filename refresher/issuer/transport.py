"""A transport for `requests` that ends on time and takes no more than was agreed, whatever the peer does.

A time-out of requests is for one `recv`: a server that sends a byte a second holds its caller for ever. Here
one deadline bounds everything on the wire: the connection, to all addresses of the host together, a proxy's
tunnel, the TLS handshake (as a whole: CPython's `do_handshake` does that), headers, body. Not bounded are the
resolution of names, which getaddrinfo(3) lets nobody bound (resolv.conf(5) does: timeout and attempts), and a
handshake that the issuer drips through an https:// proxy: there each `recv` has what was left at its start.
"""

import socket
import ssl
import time
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.util.connection import create_connection
from urllib3.util.ssl_ import create_urllib3_context

from refresher.bounded import BoundedConnection, BoundedResponse, close_idle, left
from refresher.core.answers import LONGEST_ANSWER


class UnusableError(OSError):
    """The CA file or the proxy to be used cannot be. The text says which and why, and holds no secret."""


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

    TLS is always verified, whatever `send` is told, against `ca_file` or else against what requests trusts
    (certifi's bundle; a distribution's own where it patches requests). One context serves all connections
    and is made with the first: the bundle takes 16 ms and 0.7 MB to load, and requests loads it for each.
    """

    def __init__(self, ca_file: str | None, pool_size: int) -> None:
        self._ca_file = ca_file
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
        """Close the idle connections now: urllib3 leaves them to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            close_idle(manager)
        super().close()

    def _tls_context(self) -> ssl.SSLContext:
        """Raises UnusableError."""
        if self._context is None:
            path = self._ca_file or DEFAULT_CA_BUNDLE_PATH
            context = create_urllib3_context()
            try:
                context.load_verify_locations(path)
            except OSError as error:
                why = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
                raise UnusableError(f"the CA file {path} cannot be used: {why}") from error
            self._context = context
        return self._context


class _Response(BoundedResponse):
    longest = LONGEST_ANSWER


class _Connection(BoundedConnection):
    """`self.timeout` is what was left of a `Deadline` when urllib3 set it, just before each use here."""

    response_class = _Response

    def _new_conn(self) -> socket.socket:
        """A connection to the first address of the host that takes it, within the time for all of them.

        Each has an equal share of what is left: one that swallows packets (a broken IPv6, a dead replica)
        neither multiplies the time nor uses up what a good one needs.
        """
        by = time.monotonic() + (self.timeout or 0.0)
        try:
            found = socket.getaddrinfo(self._dns_host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NewConnectionError(self, "the name cannot be resolved") from error
        failures = []
        for tried, (*_, address) in enumerate(found):
            try:
                return self._connected(str(address[0]), by, left(by) / (len(found) - tried))
            except OSError as error:
                failures.append(error)
        raise NewConnectionError(self, "no connection") from failures[0]  # the first is the preferred address

    def _connected(self, host: str, by: float, share: float) -> socket.socket:
        sock = create_connection((host, self.port), share, socket_options=self.socket_options)
        sock.settimeout(left(by))  # for the TLS handshake as a whole
        return sock


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}
