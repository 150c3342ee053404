"""The formats in which consumers read a token. Renders a token and reads it back."""

import json
import math
import re
from collections.abc import Mapping
from string import Template
from typing import NamedTuple

from refresher.core import inlive, rfc3339
from refresher.core.instant import Instant
from refresher.core.model import SecretStr, Token, fingerprint
from refresher.core.values import distinct

NAMES = ("token", "bearer", "header", "env", "json", "inlive-sdk", "envoy-sds", "template")
PLACEHOLDERS = ("access_token", "refresh_token", "token_type", "issued_at", "expires_at", "expires_in")
TOKEN_TYPE = "Bearer"  # noqa: S105 -- RFC 6750, section 4
# b64token of RFC 6750 §2.1. It has no shell metacharacters, so it needs no quotes in an env file.
BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

Credentials = tuple[SecretStr, SecretStr | None]
"""An access token, and the refresh token if the format includes it."""

# The text before and after the token.
_AROUND = {
    "token": ("", ""),
    "bearer": (f"{TOKEN_TYPE} ", ""),
    "header": (f"Authorization: {TOKEN_TYPE} ", "\n"),
    "env": ("INLIVE_ACCESS_TOKEN=", "\n"),
}
_IS_JSON = ("json", "inlive-sdk", "envoy-sds")
_IN_JSON = ("access_token", "token_type", "expires_at", "expires_in")
# Envoy refuses a Secret with a name other than that in its `SdsSecretConfig`.
SDS_NAME = "inlive-access-token"
SDS_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


@distinct
class Format(NamedTuple):
    """`name`: one of `NAMES`. `template`: the operator's own text, only for the format ``template``."""

    name: str = "token"
    template: str | None = None

    def identity(self, issuer_url: str) -> str:
        """Identifies everything except the token that the content depends on. The template itself is hashed.

        Content with another identity has to be rewritten, although its token may be good.
        """
        depends_on = {"template": self.template, "inlive-sdk": issuer_url}.get(self.name)
        return self.name if depends_on is None else f"{self.name}:{fingerprint(depends_on)}"


def of_identity(identity: str) -> Format:
    """The format with this `identity`, for reading back. The text of a template is not recovered."""
    return Format(identity.partition(":")[0])


def includes_refresh_token(format_: Format) -> bool:
    """Whether content in this format includes the refresh token."""
    return format_.name == "inlive-sdk" or "refresh_token" in _names_in(format_.template or "")


def render(format_: Format, token: Token, now: Instant, issuer_url: str) -> bytes:
    """The content for `token` in this format, written at `now`.

    `issuer_url`: where the JavaScript SDK mints its next token. A template contains no other names than
    `PLACEHOLDERS`; the configuration checks that.
    """
    match format_.name:
        case "json":
            fields = _fields(token, now)
            text = _json_line({name: fields[name] for name in _IN_JSON})
        case "inlive-sdk":
            text = _json_line(_sdk_auth(token, issuer_url))
        case "envoy-sds":
            text = _json_line(_sds_resources(token))
        case "template":
            text = Template(format_.template or "").substitute(_fields(token, now))
        case plain:
            before, after = _AROUND[plain]
            text = before + token.access.reveal() + after
    return text.encode()


def read_back(format_: Format, content: bytes) -> Credentials | None:
    """The credentials in `content` from `render`; None for a template and for any other content."""
    try:
        text = content.decode()
        document = json.loads(text) if format_.name in _IS_JSON else None
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or JSON nested too deep to be ours
        return None
    match format_.name, document:
        case "json", {"access_token": access}:
            return _credentials(access)
        case "inlive-sdk", _:
            tokens = inlive.sdk_tokens(document)
            return _credentials(*tokens) if tokens else None
        case "envoy-sds", {"resources": [{"generic_secret": {"secret": {"inline_string": str(value)}}}]}:
            return _credentials(_between(value, *_AROUND["bearer"]))
        case plain, _ if plain in _AROUND:
            return _credentials(_between(text, *_AROUND[plain]))
    return None


def _names_in(template: str) -> list[str]:
    return Template(template).get_identifiers()


def _fields(token: Token, now: Instant) -> dict[str, str | int]:
    facts = token.facts
    return {
        "access_token": token.access.reveal(),
        "refresh_token": token.refresh_token.reveal() if token.refresh_token else "",
        "token_type": TOKEN_TYPE,
        "issued_at": rfc3339.to_second(facts.issued.wall),
        "expires_at": rfc3339.to_second(facts.expiry.wall),
        "expires_in": max(0, math.floor(facts.remaining(now))),
    }


def _sdk_auth(token: Token, issuer_url: str) -> dict[str, object]:
    refresh = token.refresh_token.reveal() if token.refresh_token else ""
    return inlive.sdk_auth(issuer_url, token.access.reveal(), refresh, int(token.facts.requested))


def _sds_resources(token: Token) -> dict[str, object]:
    """A DiscoveryResponse with one generic Secret, for `path_config_source`. Envoy's credential injector puts
    the secret into the header ``Authorization`` as it is, so it includes the token type."""
    before, after = _AROUND["bearer"]
    secret = {"inline_string": before + token.access.reveal() + after}
    resource = {"@type": SDS_TYPE, "name": SDS_NAME, "generic_secret": {"secret": secret}}
    return {"resources": [resource]}


def _json_line(document: Mapping[str, object]) -> str:
    return json.dumps(document) + "\n"


def _between(text: str, before: str, after: str) -> str | None:
    if not (text.startswith(before) and text.endswith(after)):
        return None
    return text.removeprefix(before).removesuffix(after)


def _credentials(access: object, refresh: object = None) -> Credentials | None:
    token = _secret(access)
    return None if token is None else (token, _secret(refresh))


def _secret(value: object) -> SecretStr | None:
    """`value` if it can be a bearer token, else None."""
    return SecretStr(value) if isinstance(value, str) and BEARER_TOKEN.fullmatch(value) else None
