"""One HTTP request and its answer as values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from refresher.core import inlive

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """What came in. `path` is without a query, names in `headers` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def bearer(self) -> str | None:
        """The credential of ``Authorization: Bearer …``; the scheme is case-insensitive (RFC 9110 §11.1)."""
        scheme, _, credential = self.headers.get("authorization", "").partition(" ")
        return credential.strip() or None if scheme.lower() == "bearer" else None

    def document(self) -> dict[str, object]:
        """The body as a JSON object, an empty body as an empty one. Raises ValueError, fit to be shown."""
        if not self.body.strip():
            return {}
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ValueError("the body is not JSON") from error
        if not isinstance(document, dict):
            raise ValueError("the body is not a JSON object")  # noqa: TRY004 (one error for every bad body)
        return document


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out; Date, Content-Length and the CORS headers are added when it is sent.

    ``for_pages``: web pages of any origin may read it (CORS).
    """

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    for_pages: bool = True


def envelope(
    status: int, message: str, data: object = None, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """An answer in the form that Inlive gives to each of them."""
    return Answer(status, json.dumps(inlive.envelope(status, message, data)).encode(), headers=headers)


def wrong_method(*accepted: str) -> Answer:
    """405: the path exists, but not for this method."""
    names = ", ".join(accepted)
    return envelope(405, f"method not allowed here; accepted: {names}", headers=(("Allow", names),))
