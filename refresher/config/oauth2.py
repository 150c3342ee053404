"""Options of an issuer of the kind ``oauth2``: the token endpoint of any OAuth2 server."""

import re
from typing import TYPE_CHECKING, Annotated, NamedTuple

from refresher.config import addresses
from refresher.config.addresses import Pairs, named_values
from refresher.config.issuers import (
    CA_FILE,
    EXCLUSIVE,
    MAX_LIFETIME,
    MAX_LIFETIME_OPTION,
    MAX_RATE,
    TIMEOUT,
    VERIFY,
    Rate,
    identity_of,
)
from refresher.config.options import Option
from refresher.config.quoting import described
from refresher.config.source_map import Mapping
from refresher.config.value_types import ValueType, anchored, choice, not_accepted, text_of

if TYPE_CHECKING:
    from refresher.core.issuer_plans import OAuth2Plan

BASIC, POST = "client_secret_basic", "client_secret_post"  # RFC 7591, token_endpoint_auth_method
LONGEST_TEXT = 1000  # characters; Go, and so Helm, knows no larger number in a pattern
MOST_SCOPES = 100
RESERVED = ("client_id", "client_secret", "scope")  # fields of the request that other options set
_HARMLESS = ("audience", "grant_type", "resource")  # fields that hold no secret

_TEXT = rf"[^\u0000-\u001f\u007f]{{1,{LONGEST_TEXT}}}"
_TEXT_ACCEPTED = f"1 to {LONGEST_TEXT} characters, no control characters"
_SCOPE = rf"[!#-\[\]-~]{{1,{LONGEST_TEXT}}}"  # scope-token, RFC 6749 §3.3
_SCOPES_ACCEPTED = "a list of scopes, such as [read, write]; a scope has no space, quote or backslash"
_PARAMS_ACCEPTED = "a mapping of names to texts, such as {grant_type: account_credentials}"
_PARAM_ACCEPTED = "a name of letters, digits, -, _ and ., such as audience"
_PARAM = rf"(?!(?:{'|'.join(RESERVED)})$)[A-Za-z0-9._\-]{{1,128}}"


def _parse_text(value: object) -> str:
    text = text_of(value, _TEXT_ACCEPTED, echo=False)
    if not re.fullmatch(_TEXT, text):
        raise not_accepted(f"a text of {len(text)} characters is given", _TEXT_ACCEPTED)
    return text


def _parse_scopes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_SCOPES:
        given = f"a list of {len(value)}" if isinstance(value, list) else described(value)
        raise not_accepted(f"{given} is given", _SCOPES_ACCEPTED)
    for number, item in enumerate(value, start=1):
        if not isinstance(item, str) or not re.fullmatch(_SCOPE, item):
            raise not_accepted(f"item {number} is not a scope", _SCOPES_ACCEPTED)
    return tuple(value)


def _parse_params(value: object) -> Pairs:
    if not isinstance(value, Mapping):
        raise not_accepted(f"{described(value)} is given", _PARAMS_ACCEPTED)
    return named_values(value, _PARAM, _refused_param, TEXT)


def _refused_param(name: str) -> str:
    if name in RESERVED:
        return "another option sets this field (client_id, key_file, scopes); take it out"
    return f"not the name of a field; accepted: {_PARAM_ACCEPTED}"


TEXT = ValueType(_parse_text, {"type": "string", "pattern": anchored(_TEXT)}, "TEXT")
_SCOPES = ValueType(
    _parse_scopes,
    {
        "type": "array",
        "maxItems": MOST_SCOPES,
        "items": {"type": "string", "pattern": anchored(_SCOPE)},
    },
    "",
    list,
)
_PARAMS = ValueType(
    _parse_params,
    {
        "type": "object",
        "propertyNames": {"pattern": anchored(_PARAM)},
        "additionalProperties": {"type": "string", "pattern": anchored(_TEXT)},
    },
    "",
    dict,
    redacted=lambda params: {name: text if name in _HARMLESS else "…" for name, text in params},
)


class OAuth2IssuerSettings(NamedTuple):
    """The key of its tokens is the client secret. The server chooses how long a token lives; `lifetime` of a
    token is the longest that is believed."""

    token_url: Annotated[
        str,
        Option(
            "URL of an OAuth2 token endpoint (client credentials). The key of a token is the client secret.",
            addresses.TOKEN_URL,
            example="https://auth.example/oauth2/token",
        ),
    ]
    client_id: Annotated[
        str, Option("Name of the client at the token endpoint.", TEXT, example="token-refresher")
    ]
    auth_method: Annotated[
        str,
        Option(
            "How the client proves itself: by HTTP Basic, or by fields of the form.",
            choice("method", (BASIC, POST), f"{BASIC}|{POST}"),
            example=POST,
        ),
    ] = BASIC
    scopes: Annotated[
        tuple[str, ...], Option("The scopes to request.", _SCOPES, example=["read", "write"])
    ] = ()
    endpoint_params: Annotated[
        Pairs,
        Option(
            "Further fields of the form. A grant_type among them replaces client_credentials.",
            _PARAMS,
            example={"audience": "https://api.example"},
        ),
    ] = ()
    timeout: Annotated[float, TIMEOUT.in_file_only()] = 10.0
    ca_file: Annotated[str | None, CA_FILE.in_file_only()] = None
    max_lifetime: Annotated[float, MAX_LIFETIME_OPTION.in_file_only()] = MAX_LIFETIME
    verify: Annotated[str | None, VERIFY.in_file_only()] = None
    max_rate: Annotated[Rate | None, MAX_RATE] = None
    exclusive: Annotated[bool, EXCLUSIVE] = False

    @property
    def url(self) -> str:
        """What messages call the issuer."""
        return self.token_url

    @property
    def identity(self) -> str:
        """See `IssuerSettings.identity`. Client, scopes and fields decide what a token may do."""
        params = sorted(self.endpoint_params)
        return identity_of(self.token_url, self.client_id, sorted(self.scopes), params)

    @property
    def requests_lifetime(self) -> bool:
        """See `IssuerSettings.requests_lifetime`. RFC 6749 has no such parameter."""
        return False

    @property
    def plan(self) -> "OAuth2Plan":
        """How to reach it."""
        from refresher.core.issuer_plans import OAuth2Plan  # noqa: PLC0415 -- only where wanted

        place = "header" if self.auth_method == BASIC else "body"
        return OAuth2Plan(self.token_url, self.client_id, place, self.scopes, self.endpoint_params)
