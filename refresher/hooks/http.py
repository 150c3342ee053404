"""Sends a request to a server on this machine: bounded in time and size, without redirects and proxies."""

from urllib.parse import urlsplit

from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from refresher import __version__
from refresher.errors import HookError
from refresher.hooks import Subject, check_runs_again
from refresher.http import proxies
from refresher.http.connections import bounded_pools
from refresher.http.failures import Peer, failure

LONGEST_RESPONSE = 64 * 1024  # bytes; only the status counts
CHECK_TIMEOUT = 5.0  # seconds
_POOL = bounded_pools(LONGEST_RESPONSE)["http"]


class Request:
    """`hooks.Action`: a POST request that names the token and the output, and contains no token."""

    def __init__(self, url: str, subject: Subject) -> None:
        parts = urlsplit(url)
        self._url, self._path = url, parts.path or "/"
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._peer = Peer(proxies.host_and_port(url), None, None)
        self._fields = {"token": subject.token, "output": subject.output}
        self._is_stopped = False

    def check(self, *, offline: bool) -> str:
        """See `hooks.Action`: connects, but sends nothing."""
        if offline:
            return f"would send POST {self._url}; not tested"
        pool = _POOL(self._host, self._port, timeout=CHECK_TIMEOUT)
        try:
            connection = pool.ConnectionCls(self._host, self._port, timeout=CHECK_TIMEOUT)
            connection.connect()
            connection.close()
        except (HTTPError, OSError) as error:
            raise HookError(failure(error, self._peer, CHECK_TIMEOUT).message) from error
        finally:
            pool.close()
        return f"would send POST {self._url}"

    def run(self, seconds: float) -> str:
        """See `hooks.Action`. Uses a new connection: the server may have been restarted since the last."""
        check_runs_again(self._is_stopped)
        pool = _POOL(self._host, self._port)
        try:
            response = pool.request(
                "POST",
                self._path,
                json=self._fields,
                headers={"User-Agent": f"inlive-token-refresher/{__version__}", "Connection": "close"},
                retries=False,
                redirect=False,
                timeout=Timeout(total=seconds),
            )
        except (HTTPError, OSError, ValueError) as error:
            raise HookError(f"POST {self._url}: {failure(error, self._peer, seconds).message}") from error
        finally:
            pool.close()
        if not 200 <= response.status <= 299:
            advice = "; redirects are not followed" if 300 <= response.status <= 399 else ""
            raise HookError(f"POST {self._url}: the server answered {response.status}{advice}")
        return f"sent POST {self._url}"

    def stop(self) -> None:
        """See `hooks.Action`. A request under way ends with the process."""
        self._is_stopped = True
