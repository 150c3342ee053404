"""One URL that takes a bearer token, asked within a deadline, without what makes HTTP clients dangerous."""

import io
import ipaddress
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError

from refresher import __version__, proxies
from refresher.bounded import AnswerTooLongError
from refresher.core.http_response import Response
from refresher.core.model import Declined, SecretStr
from refresher.issuer.failures import causes, failure
from refresher.issuer.transport import BoundedAdapter, Deadline
from refresher.trust import Trust, UnusableError

POOL_SIZE = 16  # idle connections kept; more may be in use at once
USER_AGENT = f"inlive-token-refresher/{__version__}"

_BLOCK = 64 * 1024


class Unanswered(NamedTuple):
    """Why no answer came, and whether that is of the kind that passes by itself within a second."""

    declined: Declined
    passes: bool


class Endpoint:
    """Asked over one pool of connections by all threads.

    Works with requests' transport adapter and without its Session, whose conveniences are dangers here: it
    reads and unpacks a redirect's body whole even when it is not to follow it (64 KiB became 128 MiB), keeps
    cookies, and lets ``.netrc`` replace the Authorization header. So redirects are never followed and
    ``.netrc`` is never read. Proxies are taken from the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY,
    NO_PROXY), as it is when this is made, but never for a server on this machine: a key for one must not
    leave it. Authorities come from `ca_file` or else from the system's store (`trust`). REQUESTS_CA_BUNDLE
    and CURL_CA_BUNDLE are for other programs.
    """

    def __init__(
        self, url: str, ca_file: str | None = None, user_agent: str = USER_AGENT, pool_size: int = POOL_SIZE
    ) -> None:
        self._url, self._user_agent = url, user_agent
        self._host, self._shown = _host_and_port(url), _without_secrets(url)
        self._proxies = {} if _is_loopback(urlsplit(url).hostname) else get_environ_proxies(url)
        proxy = select_proxy(url, self._proxies)
        self._unusable_proxy = proxies.mistake(proxy) if proxy else ""
        self._proxy = _host_and_port(proxy if "://" in proxy else f"//{proxy}") if proxy else None
        self._trust = Trust(ca_file)
        self._adapter = BoundedAdapter(self._trust, pool_size)

    def ask(
        self, method: str, bearer: SecretStr, seconds: float, body: object = None
    ) -> Response | Unanswered:
        """One request, with `body` as JSON if there is one, that ends within `seconds`. Never raises for what
        happens on the wire."""
        try:
            return self._send(method, bearer, seconds, body)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            declined, passes = failure(error, self._host, self._proxy, seconds, self._trust)
            return Unanswered(self.located(declined), passes)

    def located(self, declined: Declined) -> Declined:
        """With the URL that was asked in its message."""
        return declined._replace(message=f"{declined.message} (asked: {self._shown})")

    def close(self) -> None:
        """Close the idle connections. A request under way is not disturbed."""
        self._adapter.close()

    def _send(self, method: str, bearer: SecretStr, seconds: float, body: object) -> Response:
        if self._unusable_proxy:
            raise UnusableError(self._unusable_proxy)

        def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = f"Bearer {bearer.reveal()}"
            return request

        request = requests.Request(
            method,
            self._url,
            headers={
                "accept": "application/json",
                "Accept-Encoding": "identity",  # what is not compressed is not a decompression bomb
                "User-Agent": self._user_agent,
            },
            json=body,
            auth=authorize,  # the last word: it also stands above user:password@ in the URL
        ).prepare()
        timeout: Any = Deadline(seconds)  # the stubs do not know that a Timeout may be given, the docs do
        response = self._adapter.send(request, stream=True, timeout=timeout, proxies=self._proxies)
        headers = {name.lower(): value for name, value in response.headers.items()}
        try:
            return Response(response.status_code, headers, _body(response))
        except HTTPError as error:
            if any(isinstance(each, AnswerTooLongError) for each in causes(error)):
                return Response(response.status_code, headers, b"", overlong=True)
            raise


def _body(response: requests.Response) -> bytes:
    """The whole body as it came, not decoded. The connection is free again when this returns or raises."""
    body = io.BytesIO()  # holds one copy, and `getvalue` makes no other
    while block := response.raw.read(_BLOCK, decode_content=False):
        body.write(block)
    return body.getvalue()


def _host_and_port(url: str) -> str:
    """As a message may show it: without user and password. Empty for what is no URL: any of it may be one."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _without_secrets(url: str) -> str:
    """As a message may show it: without user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "what is no URL"
    return urlunsplit((parts.scheme, _host_and_port(url), parts.path, "", ""))


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
