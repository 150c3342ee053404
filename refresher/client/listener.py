"""Gets the token from the consumers' listener (``refresher run --serve``), and reports an expired one."""

import http.client
import json
import re
import socket
import threading
import time
from typing import NamedTuple
from urllib.parse import quote

from refresher.client.file import bearer_token
from refresher.client.source import TokenSource, TokenUnavailableError

TIMEOUT = 15.0  # seconds; the listener answers a report after 10 s at the latest
ASK_EVERY = 60.0  # seconds, or a tenth of what the token has left: to learn of a new one without a 403
ASK_AGAIN = 1.0  # seconds, after a failure that did not matter yet
REQUIRED = ("X-Token-Refresher", "1")  # by the listener on TCP: what a web page cannot send
_LARGEST = 64 * 2**10  # bytes of a response
_TCP = re.compile(r"(localhost|127(?:\.\d{1,3}){3}|\[::1\]):(\d{1,5})")


class _Response(NamedTuple):
    status: int
    etag: str
    body: bytes

    def __repr__(self) -> str:  # not the token
        return f"<response {self.status}>"


class _Held:
    """The last token. `ask_at`, `ends`: monotonic seconds."""

    __slots__ = ("ask_at", "ends", "etag", "token")

    def __init__(self, token: str, etag: str, ask_at: float, ends: float) -> None:
        self.token, self.etag, self.ask_at, self.ends = token, etag, ask_at, ends

    def until(self, ask_at: float) -> "_Held":
        return _Held(self.token, self.etag, ask_at, self.ends)


class TokenListener(TokenSource):
    """The listener at `address`: ``unix:/PATH`` or ``HOST:PORT`` of this machine, as for ``--serve``.

    `name`: the name of the token; it may be empty if only one is served. A token is kept until it ends, and
    the listener is asked now and then whether there is a new one.
    """

    def __init__(self, address: str, name: str = "") -> None:
        tcp = _TCP.fullmatch(address)
        if tcp is None and not address.startswith("unix:/"):
            raise ValueError(f"{address!r} is no address of a listener; accepted: unix:/PATH, 127.0.0.1:PORT")
        self._address, self._tcp = address, (tcp[1].strip("[]"), int(tcp[2])) if tcp else None
        self._name = quote(name, safe="")
        self._asking = threading.Lock()  # held by the one thread that looks for a new token
        self._held: _Held | None = None  # replaced whole, so reading it needs no lock

    def __repr__(self) -> str:
        return f"TokenListener({self._address!r}, {self._name!r})"

    def token(self) -> str:
        held, now = self._held, time.monotonic()
        if held is not None and now < held.ask_at:
            return held.token
        if held is None or now >= held.ends:
            self._held = self._taken(self._request("GET", f"/token/{self._name}", {}))
            return self._held.token
        if self._asking.acquire(blocking=False):  # one thread asks; the others use what is held
            try:
                held = self._held = self._looked_up(held)
            finally:
                self._asking.release()
        return held.token

    def _looked_up(self, held: _Held) -> _Held:
        """What the listener has now; `held` a while longer if that is the same, or if there is no answer."""
        try:
            response = self._request("GET", f"/token/{self._name}", {"If-None-Match": held.etag})
            return held.until(_next_question(held.ends)) if response.status == 304 else self._taken(response)
        except TokenUnavailableError:
            return held.until(time.monotonic() + ASK_AGAIN)

    def after(self, expired: str) -> str:
        """Reports `expired`, and waits for the next token. Any number of reports cost one new token."""
        held = self._held
        if held is not None and held.token != expired:
            return held.token
        body = json.dumps({"access_token": expired}).encode()
        self._held = self._taken(self._request("POST", f"/expired/{self._name}", {}, body))
        return self._held.token

    def _taken(self, response: _Response) -> _Held:
        try:
            document = json.loads(response.body) if response.status == 200 else None
        except (ValueError, RecursionError):
            document = None
        token = bearer_token(document)
        if token is None:
            raise TokenUnavailableError(f"{self._address} has no token to give: {_reason(response)}")
        left = document.get("expires_in") if isinstance(document, dict) else None
        ends = time.monotonic() + (left if isinstance(left, int) else 0)
        return _Held(token, response.etag, _next_question(ends), ends)

    def _request(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> _Response:
        connection = self._connection()
        try:
            sent = headers | dict([REQUIRED]) | {"Connection": "close"}
            connection.request(method, path, body or None, sent)
            response = connection.getresponse()
            return _Response(response.status, response.headers.get("ETag", ""), response.read(_LARGEST))
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise TokenUnavailableError(f"{self._address} does not answer: {reason}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tcp is not None:
            return http.client.HTTPConnection(*self._tcp, timeout=TIMEOUT)
        return _UnixConnection(self._address.removeprefix("unix:"))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


def _next_question(ends: float) -> float:
    now = time.monotonic()
    return now + min(ASK_EVERY, (ends - now) / 10)


def _reason(response: _Response) -> str:
    """A short text of an error. The body of a success may hold a token."""
    if response.status == 200:
        return "the response is not in the format json"
    text = response.body[:200].decode(errors="replace").strip()
    return f"{response.status} {text}"
