"""One HTTP exchange as values: what was asked, what is answered, and the bytes of both (RFC 9112). No I/O."""

import re
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import NamedTuple

METHODS = ("GET", "HEAD")
TEXT, JSON, HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"
PRODUCT = "inlive-token-refresher"  # without a version: those who only look on need not know it

# No script, no request to anywhere, not in a frame: a page here is for reading, and shows what others named.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class Request(NamedTuple):
    """``path`` is without the query, and as it was sent. ``headers`` are by their lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]


class Answer(NamedTuple):
    """``headers``: those beyond the ones that every answer has."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


Later = Callable[[], Answer]  # an answer that takes long to compute


def text(status: int, line: str, *headers: tuple[str, str]) -> Answer:
    """An answer of one line for people."""
    return Answer(status, TEXT, f"{line}\n".encode(), headers)


def is_whole(head: bytes) -> bool:
    """Whether the head of a request has come to its end."""
    return _END_OF_HEAD.search(head) is not None


def parsed(head: bytes) -> Request | Answer:
    """The request of a whole head, or the answer to one that is not accepted, which repeats nothing of it."""
    found = _Head(head)
    if found.refusal is not None:
        return text(found.refusal, found.refusal.phrase)
    if found.command not in METHODS:
        allow = ", ".join(METHODS)
        return text(HTTPStatus.METHOD_NOT_ALLOWED, f"only {allow}: nothing is changed here", ("Allow", allow))
    headers = {name.lower(): _value(found.headers.get_all(name, ())) for name in found.headers}
    # A request by way of a proxy names the origin too (RFC 9112 §3.2.2).
    return Request(found.command, _ORIGIN.sub("", found.path, count=1).partition("?")[0] or "/", headers)


def rendered(answer: Answer, *, head_only: bool = False) -> bytes:
    """The bytes of an answer, after which the connection is closed."""
    headers = [
        ("Date", formatdate(usegmt=True)),
        ("Server", PRODUCT),
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Connection", "close"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *answer.headers,
    ]
    if answer.content_type.startswith("text/html"):
        headers.append(("Content-Security-Policy", POLICY))
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
    return head if head_only else head + answer.body


def _value(values: Iterable[str]) -> str:
    """The value of a header that may have been sent several times, or folded (RFC 9110 §5.2, 9112 §5.2)."""
    return " ".join(", ".join(values).split())


class _Head(BaseHTTPRequestHandler):
    """The standard library's parser, without its connection. ``refusal``: why this is not a request."""

    def __init__(self, head: bytes) -> None:
        self.refusal: HTTPStatus | None = None
        self.rfile = BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        if not self.parse_request() and self.refusal is None:
            self.refusal = HTTPStatus.BAD_REQUEST

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the parser says of it is not repeated: it quotes."""
        del message, explain
        self.refusal = HTTPStatus(code)
