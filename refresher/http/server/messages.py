"""The values that an application receives and returns, and the bytes of a response."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from socket import socket
from typing import NamedTuple, Protocol

from refresher.clock import SystemClock

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_SMALL = 4096  # bytes of a body
_NO_BODY = frozenset((HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))
Headers = tuple[tuple[str, str], ...]


class Request(NamedTuple):
    """``path``: as sent, percent-encoded, without origin and query.

    ``headers``: names in lower case; several of one name are joined by a comma (RFC 9110 §5.2). ``body``:
    empty in `Application.admit`. ``host``: from an absolute target, else from the ``Host`` header; empty if
    there is neither. ``old``: the client speaks HTTP/1.0.
    """

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    query: str = ""
    host: str = ""
    old: bool = False


class Response(NamedTuple):
    """``headers``: without ``Content-Type``, ``Content-Length`` and ``Connection``. The server adds these,
    and ``Date`` if it is missing."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Headers = ()


class Stream(NamedTuple):
    """A response whose body is computed while it is sent, so that it never is in memory as a whole.

    ``head``: the response without its body. ``pieces``: the body. The server asks for a piece when the client
    has taken the one before it, on its own thread, between its other connections: so each piece must take a
    few milliseconds at most. If the client goes, the server drops the rest. An exception in it is a bug; the
    server then closes the connection before the end of the body, which the client notices. ``weight``: bytes
    that the unsent rest keeps in memory (`Limits.responses`).
    """

    head: Response
    pieces: Iterator[bytes]
    weight: int = 0

    def whole(self) -> Response:
        """The same response with its whole body."""
        return self.head._replace(body=b"".join(self.pieces))

    def chunks(self) -> Iterator[bytes]:
        """The body in the chunked transfer coding (RFC 9112 §7.1)."""
        for piece in self.pieces:
            if piece:  # an empty chunk would be the end
                yield b"%x\r\n%b\r\n" % (len(piece), piece)
        yield b"0\r\n\r\n"


class Takeover(NamedTuple):
    """The application reads and writes the socket itself, on a thread of its own, until the connection ends.

    ``serve`` gets the socket, whose calls time out after `Limits.answer`. When the server stops or needs
    room, it shuts the socket down, so the calls fail. ``serve`` may let any OSError pass through.
    """

    serve: Callable[[socket], None]


class Later(NamedTuple):
    """A response that is not ready yet.

    Any thread may resolve ``future``. The server cancels it when the client has gone, so give each request a
    future of its own, or one that is already running. An exception in it is a bug; the server responds with
    500. After ``within`` seconds, if given, the reply is ``otherwise``, or a 503 without one.
    """

    future: "Future[Response]"
    within: float | None = None
    otherwise: Response | Takeover | None = None


Reply = Response | Stream | Later | Takeover


class Application(Protocol):
    """The interface of an application. All methods run on the server's thread and must not wait."""

    def admit(self, request: Request) -> Response | None:
        """A response to refuse this request before its body is read, or None to accept it."""

    def answer(self, request: Request) -> Reply:
        """The reply to a request of any method. The server leaves out the body of a response to HEAD."""

    def refuse(self, status: HTTPStatus) -> Response:
        """The response to a request that the server refuses. It must not repeat any part of the request."""


def has_no_body(status: int) -> bool:
    """Whether a response with this status never has a body (RFC 9110 §6.4.1)."""
    return status < 200 or status in _NO_BODY


def rendered(response: Response, *, connection: str | None = None, head_only: bool = False) -> bytes:
    """The bytes of a response. `connection`: the value of that header; None to leave it out."""
    render = _rendered_again if len(response.body) <= _SMALL else _rendered
    return render(response, int(SystemClock().now().wall), connection, head_only)


def _rendered(response: Response, second: int, connection: str | None, head_only: bool) -> bytes:  # noqa: FBT001
    """`second`: for the ``Date``, in whole wall seconds."""
    if has_no_body(response.status):
        return rendered_head(response, (), connection, second)
    head = rendered_head(response, (("Content-Length", str(len(response.body))),), connection, second)
    return head if head_only else head + response.body


# Many clients get the same response within a second: saves 10 of the 62 µs of a small request.
_rendered_again = lru_cache(maxsize=32)(_rendered)


def rendered_head(
    response: Response, framing: Headers, connection: str | None, second: int | None = None
) -> bytes:
    """The status line and headers. `framing`: the headers that define where the body ends. `second`: the wall
    second of the ``Date``, by default the present one.

    Raises ValueError for a header that cannot be sent as one line.
    """
    headers = [*response.headers, *framing]
    if not has_no_body(response.status):
        headers.append(("Content-Type", response.content_type))
    if connection is not None:
        headers.append(("Connection", connection))
    if not any(name == "Date" for name, _ in response.headers):
        headers.append(("Date", http_date(int(SystemClock().now().wall) if second is None else second)))
    lines = [f"{name}: {value}" for name, value in headers]
    if not all(line.isprintable() for line in lines):
        raise ValueError("a header contains a line break or another control character")
    status_line = f"HTTP/1.1 {response.status} {_PHRASES.get(response.status, '')}"
    return "\r\n".join([status_line, *lines, "", ""]).encode("ascii")


@lru_cache(maxsize=8)
def http_date(second: int) -> str:
    """The value of a ``Date`` header for `second`, in whole wall seconds."""
    return formatdate(second, usegmt=True)
