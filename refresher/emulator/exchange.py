"""What a request to Inlive carries, and the envelope in which Inlive sends every answer."""

import json

from refresher.core import inlive
from refresher.http.server.messages import Headers, Request, Response

JSON_TYPE = "application/json"


def bearer_of(request: Request) -> str | None:
    """The credential of ``Authorization: Bearer …``; the scheme is case-insensitive (RFC 9110 §11.1)."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


def document_of(request: Request) -> dict[str, object]:
    """The body as a JSON object, an empty body as an empty one. Raises ValueError, fit to be shown."""
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
    """An answer in the form that Inlive gives to each of them."""
    content = json.dumps(inlive.envelope(status, message, data)).encode()
    return Response(status, content, JSON_TYPE, headers)


def wrong_method(*accepted: str) -> Response:
    """405: the path exists, but not for this method."""
    names = ", ".join(accepted)
    return envelope(405, f"method not allowed here; accepted: {names}", headers=(("Allow", names),))
