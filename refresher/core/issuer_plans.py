"""How to reach issuers of the kinds ``oauth2`` and ``mint``. Holds no secret."""

from typing import NamedTuple

from refresher.core.values import distinct


@distinct
class OAuth2Plan(NamedTuple):
    """The client credentials grant of RFC 6749 §4.4. The key is the client secret.

    `secret_in`: "header" (HTTP Basic) or "body". `endpoint_params`: further fields of the form; a
    ``grant_type`` among them replaces ``client_credentials``.
    """

    token_url: str
    client_id: str
    secret_in: str = "header"  # noqa: S105 -- a place
    scopes: tuple[str, ...] = ()
    endpoint_params: tuple[tuple[str, str], ...] = ()


@distinct
class JsonPlan(NamedTuple):
    """A JSON endpoint that mints a token for a key.

    `headers` and `body` (JSON text) may contain ``$key`` and ``$lifetime``. The other fields are dotted paths
    in the response: object keys only.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    body: str | None
    access_token: str = "access_token"  # noqa: S105 -- a path
    expires_in: str | None = None
    expires_at: str | None = None
