"""Requests with a secret to one URL, with a time limit and without redirects, cookies or .netrc."""

import io
import ipaddress
import os
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from refresher import __version__
from refresher.core.http_response import Response
from refresher.core.issuer_response import LONGEST_RESPONSE
from refresher.core.model import SecretStr
from refresher.http import proxies
from refresher.http.connections import ResponseTooLongError, bounded_pools, drop_idle
from refresher.http.failures import Failure, Peer, causes, failure
from refresher.http.trust import Trust, UnusableError

POOL_SIZE = 16  # idle connections that are kept; more may be in use at once
USER_AGENT = f"inlive-token-refresher/{__version__}"

_BLOCK = 64 * 1024
_POOLS = bounded_pools(LONGEST_RESPONSE)

# Variables that name the CA file of other programs
_OTHER_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Call(NamedTuple):
    """A request. Each header and the body may contain a secret. `headers` replace the usual ones."""

    method: str
    headers: Mapping[str, str]
    body: str | None = None
    content_type: str = "application/json"

    def __repr__(self) -> str:
        return f"<{self.method} with secrets>"


def bearer(token: SecretStr) -> dict[str, str]:
    """The Authorization header with this bearer token (RFC 6750 §2.1)."""
    return {"Authorization": f"Bearer {token.reveal()}"}


class Endpoint:
    """One URL and a pool of connections to it, shared by all threads.

    Uses the transport adapter of requests without its Session, which is dangerous here. A Session unpacks the
    whole body of a redirect even if it may not follow it (64 KiB became 128 MiB). It keeps cookies, and
    its Authorization header may come from ``.netrc``. So here no redirect is followed and no ``.netrc`` read.

    Proxies come from the environment at construction (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY). A server
    on this machine is always reached directly: its key must not leave the machine. Authorities come from
    `ca_file`, or else from the system's store (`trust`). REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE are ignored.
    """

    def __init__(
        self, url: str, ca_file: str | None = None, user_agent: str = USER_AGENT, pool_size: int = POOL_SIZE
    ) -> None:
        self._url, self._user_agent = url, user_agent
        self._shown = _without_secrets(url)
        self._proxies = {} if _is_loopback(urlsplit(url).hostname) else get_environ_proxies(url)
        proxy = select_proxy(url, self._proxies)
        self._proxy_problem = proxies.problem(proxy) if proxy else ""
        self._trust = Trust(ca_file)
        self._peer = Peer(proxies.host_and_port(url), proxies.address(proxy) if proxy else None, self._trust)
        self._adapter = _BoundedAdapter(self._trust, pool_size)

    def request(self, call: Call, seconds: float) -> Response | Failure:
        """Send one request. It ends within `seconds`. A failure of the network is returned, not raised."""
        try:
            return self._send(call, seconds)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            found = failure(error, self._peer, seconds)
            return found._replace(message=self.with_url(found.message + self._advice(found)))

    def with_url(self, message: str) -> str:
        """`message` and the URL, without its secrets."""
        return f"{message} (URL: {self._shown})"

    def _advice(self, found: Failure) -> str:
        if not found.is_untrusted or self._trust.problem:
            return ""
        if self._trust.ca_file:
            return "; if the issuer now uses another authority, add its certificate to that file"
        ignored = [name for name in _OTHER_VARIABLES if os.environ.get(name)]
        hint = f" ({ignored[0]} is ignored, SSL_CERT_FILE is used)" if ignored else ""
        return f"; if a private authority signed it, set issuer.ca_file to a file with its certificate{hint}"

    def _send(self, call: Call, seconds: float) -> Response:
        if self._proxy_problem:
            raise UnusableError(self._proxy_problem)

        def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers.update(call.headers)
            return request

        request = requests.Request(
            call.method,
            self._url,
            headers={
                "accept": "application/json",
                "Accept-Encoding": "identity",  # a compressed body might be a decompression bomb
                "User-Agent": self._user_agent,
                **({} if call.body is None else {"Content-Type": call.content_type}),
            },
            data=None if call.body is None else call.body.encode(),
            auth=authorize,  # applied last: it also overrides user:password@ in the URL
        ).prepare()
        timeout: Any = Timeout(total=seconds)  # the docs allow a Timeout, the stubs do not
        response = self._adapter.send(request, stream=True, timeout=timeout, proxies=self._proxies)
        headers = {name.lower(): value for name, value in response.headers.items()}
        try:
            return Response(response.status_code, headers, _body(response))
        except HTTPError as error:
            if any(isinstance(cause, ResponseTooLongError) for cause in causes(error)):
                return Response(response.status_code, headers, b"", overlong=True)
            raise


class _BoundedAdapter(HTTPAdapter):
    """A transport for `requests` over bounded connections. `send` needs a total time-out.

    TLS is always verified against `trust`, and `send` cannot change that. When `trust` changes, older
    connections are not used again.
    """

    def __init__(self, trust: Trust, pool_size: int) -> None:
        self._trust = trust
        self._context: ssl.SSLContext | None = None
        super().__init__(pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = self._tls_context()
        pools = super().proxy_manager_for(proxy, **kwargs)
        pools.pool_classes_by_scheme = _POOLS
        return pools

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        tls = {"ssl_context": self._tls_context()} if host["scheme"] == "https" else {}
        return host, {"cert_reqs": "CERT_REQUIRED", **tls}

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the TLS context verifies, and contains the authorities."""

    def _tls_context(self) -> ssl.SSLContext:
        """Raises UnusableError."""
        context = self._trust.context()
        before, self._context = self._context, context
        if before is not None and before is not context:
            for manager in (self.poolmanager, *self.proxy_manager.values()):
                drop_idle(manager)
        return context


def _body(response: requests.Response) -> bytes:
    """The whole body, not decoded. The connection is free again when this returns or raises."""
    body = io.BytesIO()  # holds the only copy: `getvalue` does not copy
    while block := response.raw.read(_BLOCK, decode_content=False):
        body.write(block)
    return body.getvalue()


def _without_secrets(url: str) -> str:
    """`url` for a message, without user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "not a valid URL"
    return urlunsplit((parts.scheme, proxies.host_and_port(url), parts.path, "", ""))


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
