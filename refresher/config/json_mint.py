"""Options of an issuer of the kind ``mint``: any JSON endpoint that gives a token for a key."""

import re
from string import Template
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
from refresher.config.quoting import described, shown, variables_alone
from refresher.config.source_map import Mapping, Path
from refresher.config.value_types import (
    MappingError,
    ValueType,
    anchored,
    not_accepted,
    placeholders,
    text_of,
)

if TYPE_CHECKING:
    from refresher.core.issuer_plans import JsonPlan

VARIABLES = ("key", "lifetime")
LONGEST_VALUE = 1000  # characters of a header; Go, and so Helm, knows no larger number in a pattern
LONGEST_BODY = 65536  # characters
MOST_LEVELS = 10  # of mappings and lists in a body
# The HTTP client sets these itself: they frame the request, and a compressed response might be a bomb.
RESERVED = (
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)

_VARIABLES_ACCEPTED = "$key, $lifetime, and $$ for a dollar sign"
_HEADER = r"[A-Za-z0-9._\-]{1,128}"
_HEADER_ACCEPTED = "a name of letters, digits, -, _ and ., such as authorization"
_HEADERS_ACCEPTED = "a mapping of names to texts, such as {authorization: Bearer $key}"
_VALUE = rf"(?=.{{1,{LONGEST_VALUE}}}$)[!-~](?:[ -~]*[!-~])?"
_VALUE_ACCEPTED = f"1 to {LONGEST_VALUE} ASCII characters, no space at either end; {_VARIABLES_ACCEPTED}"
_BODY_ACCEPTED = "a mapping, such as {ttl: $lifetime}"
_STEP = r"[A-Za-z0-9_:@\-]{1,100}"
_PATH = rf"{_STEP}(?:\.{_STEP}){{0,9}}"
_PATH_ACCEPTED = "names of object keys with dots between them, such as data.token; no lists, no expressions"


def _parse_url(value: object) -> str:
    url = addresses.safe_url(value, "an endpoint that mints", "key")
    if "$" in url:
        raise ValueError(
            "variables do not go into a URL, which logs may contain; write $key in headers or json"
        )
    return url


def _parse_headers(value: object) -> Pairs:
    if not isinstance(value, Mapping):
        raise not_accepted(f"{described(value)} is given", _HEADERS_ACCEPTED)
    reserved = "|".join(RESERVED)
    pairs = named_values(value, rf"(?!(?i:{reserved})$){_HEADER}", _refused_header, _HEADER_VALUE)
    first: dict[str, str] = {}
    for name, _ in pairs:
        other = first.setdefault(name.lower(), name)
        if other != name:
            raise MappingError([(name, f"the same header as {other}; keep one")])
    return pairs


def _refused_header(name: str) -> str:
    if name.lower() in RESERVED:
        return "the HTTP client sets this header itself; take it out"
    return f"not the name of a header; accepted: {_HEADER_ACCEPTED}"


def _parse_value(value: object) -> str:
    text = text_of(value, _VALUE_ACCEPTED, echo=False)
    if not re.fullmatch(_VALUE, text):
        raise not_accepted(f"a text of {len(text)} characters is given", _VALUE_ACCEPTED)
    placeholders(text, VARIABLES, _VARIABLES_ACCEPTED)
    return text


def _parse_body(value: object) -> str:
    """JSON text, the same for the same content. Messages quote no value: it may be a secret."""
    if not isinstance(value, Mapping):
        raise not_accepted(f"{described(value)} is given", _BODY_ACCEPTED)
    problems: list[tuple[Path, str]] = []
    _check(value, (), problems)
    if problems:
        raise MappingError(problems)
    import json  # noqa: PLC0415 -- only where wanted

    text = json.dumps(value, sort_keys=True, allow_nan=False)
    if len(text) > LONGEST_BODY:
        raise not_accepted(f"{len(text)} characters of JSON are given", f"at most {LONGEST_BODY}")
    return text


def _check(node: object, path: Path, problems: list[tuple[Path, str]]) -> None:
    """Add what is wrong in `node`, at `path` in the body, to `problems`."""
    try:
        if isinstance(node, dict | list) and len(path) >= MOST_LEVELS:
            raise not_accepted("nested too deep", f"at most {MOST_LEVELS} levels")
        if isinstance(node, Mapping):
            problems.extend(((*path, name), problem) for name, problem in node.repetitions())
            for name, item in node.items():
                _check_name(name, (*path, name), problems)
                _check(item, (*path, name), problems)
        elif isinstance(node, list):
            for index, item in enumerate(node):
                _check(item, (*path, index), problems)
        elif isinstance(node, float) and abs(node) == float("inf"):
            raise not_accepted("a number too large for JSON is given", "numbers up to 1e308")
        elif node is not None and not isinstance(node, bool | int | float):
            text = text_of(node, "a text, a number, true, false or null", echo=False)
            placeholders(text, VARIABLES, _VARIABLES_ACCEPTED)
    except ValueError as error:
        problems.append((path, str(error)))


def _check_name(name: str, path: Path, problems: list[tuple[Path, str]]) -> None:
    if set(Template(name).get_identifiers()) & set(VARIABLES):
        problems.append((path, "a variable in a name; write it in the value"))


def _without_texts(node: object) -> object:
    """A body for `config show`: no text and no number, which may be a secret."""
    if isinstance(node, dict):
        return {name: _without_texts(item) for name, item in node.items()}
    if isinstance(node, list):
        return [_without_texts(item) for item in node]
    if isinstance(node, str):
        return variables_alone(node)
    return node if node is None or isinstance(node, bool) else "…"


def _shown_body(text: str) -> object:
    import json  # noqa: PLC0415 -- only where wanted

    return _without_texts(json.loads(text))


def _parse_path(value: object) -> str:
    text = text_of(value, _PATH_ACCEPTED)
    if not re.fullmatch(_PATH, text):
        meant = text.removeprefix("$").strip(".")
        hint = f"did you mean {meant}? " if meant == shown(meant)[1:-1] and re.fullmatch(_PATH, meant) else ""
        raise ValueError(f"{shown(text)} is not a dotted path; {hint}accepted: {_PATH_ACCEPTED}")
    return text


_HEADER_VALUE = ValueType(_parse_value, {"type": "string", "pattern": anchored(_VALUE)}, "TEXT")
_HEADERS = ValueType(
    _parse_headers,
    {
        "type": "object",
        "propertyNames": {"pattern": anchored(_HEADER)},
        "additionalProperties": {"type": "string", "pattern": anchored(_VALUE)},
    },
    "",
    dict,
    redacted=lambda headers: {name: variables_alone(text) for name, text in headers},
)
_BODY = ValueType(_parse_body, {"type": "object"}, "", redacted=_shown_body)
_DOTTED = ValueType(_parse_path, {"type": "string", "pattern": anchored(_PATH)}, "PATH")
_URL = ValueType(_parse_url, addresses.TOKEN_URL.schema, "URL")


class AnswerSettings(NamedTuple):
    """Where the response has its fields: dotted paths of object keys."""

    access_token: Annotated[str, Option("Where the response has the token.", _DOTTED, example="data.token")]
    expires_in: Annotated[
        str | None,
        Option("Where it has the lifetime of the token, in seconds.", _DOTTED, example="data.ttl"),
    ] = None
    expires_at: Annotated[
        str | None,
        Option(
            "Where it has the end of the token: seconds since 1970, or RFC 3339.",
            _DOTTED,
            example="data.expires_at",
        ),
    ] = None


class JsonIssuerSettings(NamedTuple):
    """`$key` and `$lifetime` in `headers` and `body` are replaced in each request."""

    mint: Annotated[
        str,
        Option(
            "URL of any JSON endpoint that gives a token. It receives POST requests.",
            _URL,
            example="https://api.example/v1/tokens",
        ),
    ]
    answer: Annotated[AnswerSettings, Option("Where the response has the token.", sections=(AnswerSettings,))]
    headers: Annotated[
        Pairs,
        Option(
            "Headers of the request. $key is the key of the token, and $lifetime its lifetime in seconds.",
            _HEADERS,
            example={"authorization": "Bearer $key"},
        ),
    ] = ()
    body: Annotated[  # JSON text
        str | None,
        Option(
            "Body of the request, with the same variables. $lifetime alone becomes a number.",
            _BODY,
            example={"ttl": "$lifetime"},
            key="json",
        ),
    ] = None
    timeout: Annotated[float, TIMEOUT.in_file_only()] = 10.0
    ca_file: Annotated[str | None, CA_FILE.in_file_only()] = None
    max_lifetime: Annotated[float, MAX_LIFETIME_OPTION.in_file_only()] = MAX_LIFETIME
    verify: Annotated[str | None, VERIFY.in_file_only()] = None
    max_rate: Annotated[Rate | None, MAX_RATE] = None
    exclusive: Annotated[bool, EXCLUSIVE] = False

    @property
    def url(self) -> str:
        """What messages call the issuer."""
        return self.mint

    @property
    def identity(self) -> str:
        """See `IssuerSettings.identity`. The request and the field decide what a token may do."""
        headers = sorted((name.lower(), text) for name, text in self.headers)
        return identity_of(self.mint, headers, self.body, self.answer.access_token)

    @property
    def requests_lifetime(self) -> bool:
        """See `IssuerSettings.requests_lifetime`."""
        return sends("lifetime", self.headers, self.body)

    @property
    def plan(self) -> "JsonPlan":
        """How to reach it."""
        from refresher.core.issuer_plans import JsonPlan  # noqa: PLC0415 -- only where wanted

        return JsonPlan(url=self.mint, headers=self.headers, body=self.body, **self.answer._asdict())


def sends(variable: str, headers: Pairs, body: str | None) -> bool:
    """Whether a request contains this variable."""
    texts = (*(text for _, text in headers), body or "")
    return any(variable in Template(text).get_identifiers() for text in texts)
