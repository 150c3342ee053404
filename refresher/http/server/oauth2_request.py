"""Reads requests to a token endpoint of OAuth2 (RFC 6749): the form and the client. No I/O."""

import binascii
import json
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from refresher.http.server.messages import Request

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 32


class RefusedError(Exception):
    """The request is refused; ``error`` is a code of RFC 6749 §5.2. Shows no part of the request."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error

    @property
    def document(self) -> bytes:
        """The body of the response, in JSON (§5.2)."""
        return json.dumps({"error": self.error, "error_description": str(self)}).encode()


class Client(NamedTuple):
    """`secrets`: what the client may have sent, see `_basic`."""

    name: str
    secrets: tuple[str, ...]


def fields_of(request: Request) -> dict[str, str]:
    """The fields of the form. A field without a value counts as omitted (§3.2)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise RefusedError("invalid_request", f"the Content-Type must be {_FORM}")
    try:
        pairs = parse_qsl(
            request.body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise RefusedError("invalid_request", "the body is not a form in UTF-8") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RefusedError("invalid_request", "the form has a field twice")
    return {name: text for name, text in fields.items() if text}


def client_of(request: Request, fields: dict[str, str]) -> Client:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    name, secret = fields.get("client_id", ""), fields.get("client_secret", "")
    if not scheme:
        return Client(name, (secret,))
    if scheme.lower() != "basic":
        raise RefusedError("invalid_client", "authenticate by HTTP Basic, or in the form")
    client = _basic(credentials.strip())
    if secret or name not in ("", client.name):
        raise RefusedError("invalid_request", "authenticate either by HTTP Basic or in the form")
    return client


def _basic(credentials: str) -> Client:
    """Clients encode both parts like the fields of a form, then in base64 (§2.3.1). Some leave out the first
    step: curl and Python's requests. So the secret may be as sent, too; names have nothing to encode."""
    try:
        text = binascii.a2b_base64(credentials.encode("ascii"), strict_mode=True).decode()
        name, _, secret = text.partition(":")
        return Client(name, (secret, unquote_plus(secret)))
    except ValueError:
        raise RefusedError("invalid_client", "the credentials of HTTP Basic cannot be decoded") from None
