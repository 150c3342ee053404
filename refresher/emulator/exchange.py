"""Reads requests to Inlive, and wraps responses in Inlive's envelope."""

import json

from refresher.core import inlive
from refresher.http.server.messages import Headers, Request, Response

JSON_TYPE = "application/json"


def bearer_of(request: Request) -> str | None:
    """The credential of ``Authorization: Bearer …``; the scheme is case-insensitive (RFC 9110 §11.1)."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


def document_of(request: Request) -> dict[str, object]:
    """The body as a JSON object; an empty body is an empty one. Raises ValueError, fit for users."""
    if not request.body.strip():
        return {}
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise ValueError("the body is not JSON") from error
    if not isinstance(document, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 (one error for every bad body)
    return document


def envelope(status: int, message: str, data: object = None, headers: Headers = ()) -> Response:
    """A response in Inlive's envelope."""
    content = json.dumps(inlive.envelope(status, message, data)).encode()
    return Response(status, content, JSON_TYPE, headers)


def wrong_method(*accepted: str) -> Response:
    """The response 405: the path exists, but it does not accept this method."""
    names = ", ".join(accepted)
    return envelope(405, f"method not allowed here; accepted: {names}", headers=(("Allow", names),))
