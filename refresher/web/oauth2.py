"""The token endpoint of OAuth2 (RFC 6749) for the grant ``client_credentials``: no I/O.

The name of a token is the ``client_id``, and the content of ``serve.secret_file`` is the ``client_secret``.
A client sends both by HTTP Basic or in the form (§2.3.1).
"""

import binascii
import json
import math
from collections.abc import Collection
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from refresher.core.instant import Instant
from refresher.core.model import SecretStr, Token
from refresher.http.server.messages import Request, Response
from refresher.web import responses

PATH = "/oauth2/token"
GRANT = "client_credentials"
SPARE = 60.0  # seconds: clients ask again before the token expires, and before a slow request arrives
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 32
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="inlive-token-refresher", charset="UTF-8"')
_PRAGMA = ("Pragma", "no-cache")  # RFC 6749 §5.1 demands it beside Cache-Control


class RefusedError(Exception):
    """The request is refused; ``error`` is a code of RFC 6749 §5.2. Shows no part of the request."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


class _Client(NamedTuple):
    """`secrets`: what the client may have sent, see `_basic`."""

    name: str
    secrets: tuple[str, ...]


def token_name(request: Request, names: Collection[str], expected: SecretStr | None) -> str:
    """The name of the token that this request may have. Raises RefusedError.

    `expected`: the client secret; None if the listener does not ask for one, on a Unix socket.
    """
    fields = _fields(request)
    grant = fields.get("grant_type")
    client = _client(request, fields)
    if expected is not None and expected not in map(SecretStr, client.secrets):
        raise RefusedError("invalid_client", "the client_secret is not the content of serve.secret_file")
    if client.name not in names:
        accepted = ", ".join(names)
        raise RefusedError(
            "invalid_client", f"the client_id is not the name of a token; accepted: {accepted}"
        )
    if grant is None:
        raise RefusedError("invalid_request", f"grant_type is missing; accepted: {GRANT}")
    if grant != GRANT:
        raise RefusedError("unsupported_grant_type", f"accepted: {GRANT}")
    return client.name


def granted(token: Token, now: Instant) -> Response:
    """The successful response (§5.1). `expires_in` is a minute less than what is left, but at least 1."""
    document = {
        "access_token": token.access.reveal(),
        "token_type": "Bearer",
        "expires_in": max(1, math.floor(token.facts.remaining(now) - SPARE)),
    }
    return responses.of_type("application/json", json.dumps(document).encode(), headers=(_PRAGMA,))


def refusal(error: RefusedError) -> Response:
    """The error response (§5.2)."""
    body = json.dumps({"error": error.error, "error_description": str(error)}).encode()
    if error.error == "invalid_client":
        headers = (_PRAGMA, _CHALLENGE)
        return responses.of_type("application/json", body, HTTPStatus.UNAUTHORIZED, headers)
    return responses.of_type("application/json", body, HTTPStatus.BAD_REQUEST, (_PRAGMA,))


def _fields(request: Request) -> dict[str, str]:
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


def _client(request: Request, fields: dict[str, str]) -> _Client:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    name, secret = fields.get("client_id", ""), fields.get("client_secret", "")
    if not scheme:
        return _Client(name, (secret,))
    if scheme.lower() != "basic":
        raise RefusedError("invalid_client", "authenticate by HTTP Basic, or in the form")
    client = _basic(credentials.strip())
    if secret or name not in ("", client.name):
        raise RefusedError("invalid_request", "authenticate either by HTTP Basic or in the form")
    return client


def _basic(credentials: str) -> _Client:
    """Clients encode both parts like the fields of a form, then in base64 (§2.3.1). Some leave out the first
    step: curl and Python's requests. So the secret may be as sent, too; names have nothing to encode."""
    try:
        text = binascii.a2b_base64(credentials.encode("ascii"), strict_mode=True).decode()
        name, _, secret = text.partition(":")
        return _Client(name, (secret, unquote_plus(secret)))
    except ValueError:
        raise RefusedError("invalid_client", "the credentials of HTTP Basic cannot be decoded") from None
