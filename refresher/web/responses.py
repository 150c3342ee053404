"""Responses of the endpoints as text, JSON and HTML, with their common headers."""

import zlib
from collections.abc import Iterator

from refresher.http.server.messages import Headers, Response

_TEXT, _JSON, _HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"
_ON_ALL: Headers = (
    ("Server", "inlive-token-refresher"),  # without a version, which clients need not know
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)


def of_type(content_type: str, body: bytes, status: int = 200, headers: Headers = ()) -> Response:
    return Response(status, body, content_type, (*_ON_ALL, *headers))


def text(status: int, line: str, *headers: tuple[str, str]) -> Response:
    """One line of text for people."""
    return of_type(_TEXT, f"{line}\n".encode(), status, headers)


def json(status: int, document: str) -> Response:
    return of_type(_JSON, f"{document}\n".encode(), status)


def html(page: str, policy: str) -> Response:
    """A page. `policy`: what the browser may load and run for it (Content-Security-Policy)."""
    headers = (("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer"))
    return of_type(_HTML, page.encode(), headers=headers)


def gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """`pieces` in gzip format. Each is compressed as a whole, so the receiver need not wait for the next."""
    packer = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS)  # 16: gzip. Level 1: a third of the time of 6
    for piece in pieces:
        yield packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()
