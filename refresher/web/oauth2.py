"""The token endpoint of OAuth2 (RFC 6749) for the grant ``client_credentials``: no I/O.

The name of a token is the ``client_id``, and the content of ``serve.secret_file`` is the ``client_secret``.
A client sends both by HTTP Basic or in the form (§2.3.1).
"""

import json
import math
from collections.abc import Collection
from http import HTTPStatus

from refresher.core.instant import Instant
from refresher.core.model import SecretStr, Token
from refresher.http.server.messages import Request, Response
from refresher.http.server.oauth2_request import RefusedError, client_of, fields_of
from refresher.web import responses

PATH = "/oauth2/token"
GRANT = "client_credentials"
SPARE = 60.0  # seconds: clients ask again before the token expires, and before a slow request arrives
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="inlive-token-refresher", charset="UTF-8"')
_PRAGMA = ("Pragma", "no-cache")  # RFC 6749 §5.1 demands it beside Cache-Control


def token_name(request: Request, names: Collection[str], expected: SecretStr | None) -> str:
    """The name of the token that this request may have. Raises RefusedError.

    `expected`: the client secret; None if the listener does not ask for one, on a Unix socket.
    """
    fields = fields_of(request)
    grant = fields.get("grant_type")
    client = client_of(request, fields)
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
    if error.error == "invalid_client":
        headers = (_PRAGMA, _CHALLENGE)
        return responses.of_type("application/json", error.document, HTTPStatus.UNAUTHORIZED, headers)
    return responses.of_type("application/json", error.document, HTTPStatus.BAD_REQUEST, (_PRAGMA,))
