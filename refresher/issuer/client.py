"""The client of the Inlive API: mints access tokens (inlive-api, "Mint")."""

import ipaddress
import math
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError

from refresher import __version__
from refresher.bounded import AnswerTooLongError
from refresher.core.answers import RawAnswer, classify, skew
from refresher.core.formats import MINT_PATH
from refresher.core.model import Declined, MintResult, Outcome, SecretStr, Try
from refresher.issuer.failures import causes, failure
from refresher.issuer.transport import BoundedAdapter, Deadline, UnusableError
from refresher.ports import Clock

POOL_SIZE = 16  # idle connections kept; more may be in use at once

_BLOCK = 64 * 1024


class InliveIssuer:
    """`ports.Issuer` at `url`, over one pool of connections for all threads.

    Works with requests' transport adapter and without its Session, whose conveniences are dangers here: it
    reads and unpacks a redirect's body whole even when it is not to follow it (64 KiB became 128 MiB), keeps
    cookies, and lets ``.netrc`` replace the Authorization header. So redirects are never followed and
    ``.netrc`` is never read. Proxies are taken from the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY,
    NO_PROXY), as it is when this is made, but never for an issuer on this machine: a key for one must not
    leave it. Authorities come from `ca_file` alone, not from REQUESTS_CA_BUNDLE and its like, so that whom
    the key is shown to stands in our configuration.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        ca_file: str | None = None,
        user_agent: str = f"inlive-token-refresher/{__version__}",
        pool_size: int = POOL_SIZE,
    ) -> None:
        self._endpoint = url.rstrip("/") + MINT_PATH
        self._clock = clock
        self._user_agent = user_agent
        self._host = _host_and_port(url)
        self._proxies = {} if _is_loopback(urlsplit(url).hostname) else get_environ_proxies(self._endpoint)
        proxy = select_proxy(self._endpoint, self._proxies)
        self._proxy = _host_and_port(proxy if "://" in proxy else f"//{proxy}") if proxy else None
        self._adapter = BoundedAdapter(ca_file, pool_size)

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        """See `ports.Issuer`. A fraction of a second of `lifetime` is asked for as a whole one.

        What passes by itself, a refused or reset connection, a cut answer, 502 and 504, is tried again soon,
        three tries in all (issuer/quick_retry.py).
        """
        by = self._clock.now().boot + budget

        def left() -> float:
            return by - self._clock.now().boot

        def one_try() -> tuple[MintResult, bool]:
            return self._try(key, lifetime, left())

        result, passes = one_try()
        if not passes:
            return result
        from refresher.issuer.quick_retry import persist  # noqa: PLC0415 -- tenacity: 14 ms most never need

        return persist(result, one_try, left)

    def close(self) -> None:
        """Close the idle connections. A mint under way is not disturbed."""
        self._adapter.close()

    def _try(self, key: SecretStr, lifetime: float, seconds: float) -> tuple[MintResult, bool]:
        """One request, and whether its failure passes by itself."""
        sent = self._clock.now()
        try:
            answer = self._post(key, lifetime, seconds)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            declined, passes = failure(error, self._host, self._proxy, seconds)
            tried = Try(declined.outcome, self._clock.now().boot - sent.boot)
            return MintResult(declined, sent, (tried,)), passes
        received = self._clock.now()
        meaning = classify(answer, key, received.wall)
        outcome = meaning.outcome if isinstance(meaning, Declined) else Outcome.OK
        tried = Try(outcome, received.boot - sent.boot)
        ahead = skew(answer.headers, sent.wall, received.wall)
        return MintResult(meaning, sent, (tried,), ahead), answer.status in (502, 504)

    def _post(self, key: SecretStr, lifetime: float, seconds: float) -> RawAnswer:
        if self._proxy == "":
            raise UnusableError(
                "the proxy that the environment names is no URL; correct HTTPS_PROXY or its like"
            )

        def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = f"Bearer {key.reveal()}"
            return request

        request = requests.Request(
            "POST",
            self._endpoint,
            headers={
                "accept": "application/json",
                "Accept-Encoding": "identity",  # what is not compressed is not a decompression bomb
                "User-Agent": self._user_agent,
            },
            json={"expiry_seconds": math.ceil(lifetime)},
            auth=authorize,  # the last word: it also stands above user:password@ in the URL
        ).prepare()
        timeout: Any = Deadline(seconds)  # the stubs do not know that a Timeout may be given, the docs do
        response = self._adapter.send(request, stream=True, timeout=timeout, proxies=self._proxies)
        headers = {name.lower(): value for name, value in response.headers.items()}
        try:
            return RawAnswer(response.status_code, headers, _body(response))
        except HTTPError as error:
            if any(isinstance(each, AnswerTooLongError) for each in causes(error)):
                return RawAnswer(response.status_code, headers, b"", overlong=True)
            raise


def _body(response: requests.Response) -> bytes:
    """The whole body as it came, not decoded. The connection is free again when this returns or raises."""
    blocks = []
    while block := response.raw.read(_BLOCK, decode_content=False):
        blocks.append(block)
    return b"".join(blocks)


def _host_and_port(url: str) -> str:
    """As a message may show it: without user and password. Empty for what is no URL: any of it may be one."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
