"""Parses the head of a request (RFC 9112) strictly: it refuses everything that two servers may read
differently.

If a proxy and this server disagree about the end of a request, one client can smuggle a request into another
client's connection ("request smuggling"). So the parser refuses these, although some servers accept them:
bare line feeds, folded lines, space before a colon, a ``Content-Length`` twice or beside
``Transfer-Encoding``.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from refresher.http.server.messages import Request

HEADERS = 100  # the limit of `http.server`
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(%b) ([!-~]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_FIELD = re.compile(rb"(%b):([\t -~\x80-\xff]*)" % _TOKEN)
_ABSOLUTE = re.compile(r"https?://([^/?#]+)(.*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"[-._~%!$&'()*+,;=:@\[\]0-9A-Za-z]*")
_LENGTH = re.compile(r"[0-9]+")
_LONGEST_LENGTH = 18  # digits; a longer number exceeds every limit
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_END_OF_HEAD = b"\r\n\r\n"


class Head(NamedTuple):
    """``length``: bytes of the body. ``keep``: the client wants to keep the connection. ``waits``: it sends
    its body only after 100 Continue."""

    request: Request
    length: int
    keep: bool
    waits: bool


class RefusedError(Exception):
    """The head is refused. The exception repeats no part of it."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def end_of_head(received: bytearray, seen: int, limit: int) -> int | None:
    """The length of the head at the beginning of `received`, in bytes; None while the head is incomplete.

    `seen`: the number of bytes that an earlier call has searched. Raises RefusedError: 414 or 431 for a head
    longer than `limit`, 400 for a bare line feed.
    """
    end = received.find(_END_OF_HEAD, max(0, seen - len(_END_OF_HEAD)))
    size = len(received) if end == -1 else end
    if _BARE_LINE_FEED.search(received, seen, size):
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    if size > limit:
        is_line = received.find(b"\r\n", 0, limit) == -1
        raise RefusedError(
            HTTPStatus.REQUEST_URI_TOO_LONG if is_line else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        )
    return None if end == -1 else end + len(_END_OF_HEAD)


@lru_cache(maxsize=64)
def parsed(head: bytes) -> Head:
    """Parse a complete head. Raises RefusedError.

    Cached, because a client that keeps its connection repeats its head: 25 of the 62 µs of a small request.
    """
    first, *lines = head.removesuffix(_END_OF_HEAD).split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    method, target, major, minor = (part.decode("ascii") for part in found.groups())
    if major != "1":
        raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    old = minor == "0"
    headers = _headers(lines)
    host, path, query = _destination(method, target, headers.get("host"), old=old)
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    return Head(
        Request(method, path, headers, query=query, host=host, old=old),
        length=_length(headers),
        keep="keep-alive" in options if old else "close" not in options,
        waits=_waits(headers.get("expect"), old=old),
    )


def _headers(lines: Iterable[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for number, line in enumerate(lines):
        if number == HEADERS:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        found = _FIELD.fullmatch(line)
        if found is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        name, value = found[1].decode("ascii").lower(), found[2].strip().decode("latin-1")
        # A header that may occur only once (Host, Content-Length) is invalid once it is joined.
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _destination(method: str, target: str, host: str | None, *, old: bool) -> tuple[str, str, str]:
    """Host, path and query. The host in an absolute target overrides the header (RFC 9112 §3.2.2)."""
    if (host is None and not old) or not _AUTHORITY.fullmatch(host or ""):
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    if not target.startswith("/") and target != "*" and method != "CONNECT":
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or not _AUTHORITY.fullmatch(absolute[1]):
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        host, target = absolute[1], absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"
    path, _, query = target.partition("?")
    return host or "", path, query


def _length(headers: dict[str, str]) -> int:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        is_chunked = coding.lower() == "chunked"
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED if is_chunked else HTTPStatus.NOT_IMPLEMENTED)
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    if len(length) > _LONGEST_LENGTH:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(length)


def _waits(expectation: str | None, *, old: bool) -> bool:
    if expectation is None or old:  # RFC 9110 §10.1.1: ignore it in HTTP/1.0
        return False
    if expectation.lower() != "100-continue":
        raise RefusedError(HTTPStatus.EXPECTATION_FAILED)
    return True
