"""The responses of an OAuth2 token endpoint (RFC 6749 §5) to client credentials."""

from collections.abc import Mapping

from refresher.core.declared_lifetime import from_expires_in
from refresher.core.issuer_response import Issued, UnusableError
from refresher.core.model import Outcome

# RFC 6749 §5.2, and codes of §4.1.2.1 that token endpoints send too. Only the first three blame the secret.
_OUTCOMES = {
    "invalid_client": Outcome.KEY_REFUSED,
    "unauthorized_client": Outcome.KEY_REFUSED,
    "invalid_grant": Outcome.KEY_REFUSED,
    "invalid_request": Outcome.BAD_RESPONSE,
    "invalid_scope": Outcome.BAD_RESPONSE,
    "unsupported_grant_type": Outcome.BAD_RESPONSE,
    "temporarily_unavailable": Outcome.THROTTLED,
    "server_error": Outcome.SERVER_ERROR,
}
_LONGEST_DESCRIPTION = 120  # characters; a longer one is not shown, but its error code is
_ADVICE = {
    "invalid_client": "check client_id and auth_method too",
    "unauthorized_client": "the server does not allow this grant to the client",
    "invalid_request": "check endpoint_params, and what the server allows this client",
    "invalid_scope": "correct scopes",
    "unsupported_grant_type": "correct grant_type in endpoint_params",
}


class OAuth2Dialect:
    """`issuer_response.Dialect` of OAuth2. Some servers send an error with status 200: it counts too."""

    url_option = "token_url"
    access_label = "access token"

    def issued(self, content: Mapping[str, object], date: float, explain: str) -> Issued:  # noqa: ARG002
        token_type = content.get("token_type", "bearer")  # required by §5.1, but some servers omit it
        if not isinstance(token_type, str) or token_type.lower() != "bearer":
            raise UnusableError("its token_type is not bearer")
        lifetime = from_expires_in(content.get("expires_in"), "expires_in")
        return Issued(content.get("access_token"), lifetime=lifetime)

    def outcome(self, content: Mapping[str, object]) -> Outcome | None:
        error = content.get("error")
        return _OUTCOMES.get(error) if isinstance(error, str) else None

    def message(self, content: Mapping[str, object]) -> str:
        error, description = content.get("error"), content.get("error_description")
        if not isinstance(error, str):
            return ""
        is_short = isinstance(description, str) and len(description) <= _LONGEST_DESCRIPTION
        texts = (error, str(description).rstrip(". ") if is_short else "", _ADVICE.get(error, ""))
        return ": ".join(text for text in texts if text)

    def tokens(self, content: Mapping[str, object]) -> tuple[object, ...]:
        return tuple(content.get(name) for name in ("access_token", "refresh_token", "id_token"))
