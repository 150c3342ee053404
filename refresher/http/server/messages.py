"""What an application receives and what it returns, as values, and the bytes of a response. No I/O."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from socket import socket
from typing import NamedTuple, Protocol

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_NO_BODY = frozenset((HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))
Headers = tuple[tuple[str, str], ...]


class Request(NamedTuple):
    """``path`` is as it was sent, percent-encoded, without origin and query.

    ``headers`` have lower-case names; several of one name are joined by a comma (RFC 9110 §5.2). ``body`` is
    empty in `Application.admit`. ``host``: the host that the client meant, from an absolute target or the
    ``Host`` header; empty if there is neither. ``old``: the client speaks HTTP/1.0.
    """

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    query: str = ""
    host: str = ""
    old: bool = False


class Response(NamedTuple):
    """``headers``: all but ``Content-Type``, ``Content-Length`` and ``Connection``, which are added; so is
    ``Date``, if it is missing."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Headers = ()


class Takeover(NamedTuple):
    """The application reads and writes the socket itself, on a thread of its own, until the connection ends.

    ``serve`` gets the socket, whose calls time out after `Limits.answer`. When the server stops or needs the
    room, it shuts the socket down: the calls then fail. ``serve`` may let any OSError pass through.
    """

    serve: Callable[[socket], None]


class Later(NamedTuple):
    """A response that does not exist yet.

    Any thread may resolve ``future``. The server cancels it when the client has gone, so give each request
    a future of its own, or one that is running already. An exception in it is a bug and is answered with 500.
    After ``within`` seconds, if given, ``otherwise`` is the reply.
    """

    future: "Future[Response]"
    within: float | None = None
    otherwise: Response | Takeover | None = None


Reply = Response | Later | Takeover


class Application(Protocol):
    """What a server serves. All methods run on the server's thread and must not wait."""

    def admit(self, request: Request) -> Response | None:
        """The response to a request that is refused by its head, before its body is read; else None."""

    def answer(self, request: Request) -> Reply:
        """The reply to GET and all other methods; to HEAD as well: the server leaves the body out."""

    def refuse(self, status: HTTPStatus) -> Response:
        """The response to what the server refuses by itself. Nothing of the request may be repeated."""


def has_no_body(status: int) -> bool:
    """Whether a response of this status never has a body (RFC 9110 §6.4.1)."""
    return status < 200 or status in _NO_BODY


def rendered(response: Response, *, connection: str | None = None, head_only: bool = False) -> bytes:
    """The bytes of a response. `connection`: the value of that header, if it is sent."""
    if has_no_body(response.status):
        return rendered_head(response, (), connection)
    head = rendered_head(response, (("Content-Length", str(len(response.body))),), connection)
    return head if head_only else head + response.body


def rendered_head(response: Response, framing: Headers, connection: str | None) -> bytes:
    """Status line and headers; `framing` says where the body ends.

    Raises ValueError for a header that could not be sent as one line.
    """
    headers = [*response.headers, *framing]
    if not has_no_body(response.status):
        headers.append(("Content-Type", response.content_type))
    if connection is not None:
        headers.append(("Connection", connection))
    if not any(name == "Date" for name, _ in response.headers):
        headers.append(("Date", formatdate(usegmt=True)))
    lines = [f"{name}: {value}" for name, value in headers]
    if not all(line.isprintable() for line in lines):
        raise ValueError("a header has a line break or another control character in it")
    status_line = f"HTTP/1.1 {response.status} {_PHRASES.get(response.status, '')}"
    return "\r\n".join([status_line, *lines, "", ""]).encode("ascii")


@lru_cache(maxsize=8)
def http_date(second: int) -> str:
    """A moment, in whole wall seconds, as a ``Date`` header has it."""
    return formatdate(second, usegmt=True)
