"""Values that name a place: a URL, an address to listen on, a file, an object in Kubernetes."""

import re
from collections.abc import Callable

from refresher.config.quoting import LONGEST_QUOTE, described, shown
from refresher.config.source_map import Mapping, Path
from refresher.config.value_types import (
    FORMAT,
    MappingError,
    ValueType,
    anchored,
    not_accepted,
    read,
    text_of,
)
from refresher.core import formats
from refresher.core.inlive import MINT_PATH

# URLs and listeners

LONGEST_URL = 2048
LONGEST_HOST = 255
LARGEST_PORT = 65535

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PORT = r"(?::[0-9]{1,5})?"
_REST = r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/\-]*)?"
# Not left to a URL parser: this check must agree with what the HTTP client will do.
_HOST = r"(?:[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:.]+\])"
LOOPBACK = rf"(?:localhost|127(?:\.{_OCTET}){{3}}|\[::1\])"
_ANY_URL = rf"(?:https://{_HOST}|http://{LOOPBACK}){_PORT}{_REST}"
_URL = rf"(?!.*{MINT_PATH}/*$){_ANY_URL}"
_URL_ACCEPTED = "https://HOST[:PORT][/PATH], or http:// to this machine (localhost, 127.0.0.1, [::1])"


def parse_url(value: object) -> str:
    """The issuer's base URL without a trailing slash."""
    base = safe_url(value, "an issuer's URL", "key").rstrip("/")
    if base.endswith(MINT_PATH):
        raise ValueError(f"{_shown_url(base)} ends in {MINT_PATH}, which is added; leave it out")
    return base


def parse_verify_url(value: object) -> str:
    """The URL that is requested with each new token."""
    return safe_url(value, "a URL to verify tokens with", "token")


def parse_token_url(value: object) -> str:
    """The URL of an OAuth2 token endpoint."""
    return safe_url(value, "a token endpoint", "client secret")


def safe_url(value: object, meant: str, secret: str) -> str:
    """A URL that may receive a secret. Each request carries it, so plain http is for loopback only."""
    text = text_of(value, _URL_ACCEPTED)
    authority = re.match(r"[a-z]+://([^/?#]*)", text[:LONGEST_URL], re.IGNORECASE)
    if "@" in (authority[1] if authority else text.partition("/")[0]):
        raise not_accepted("a URL with user:password@ (not shown here)", _URL_ACCEPTED)
    if "?" in text or "#" in text:
        raise not_accepted("a URL with a query or a fragment (not shown here)", _URL_ACCEPTED)
    given = _shown_url(text)
    match = (
        re.fullmatch(rf"(https?)://({_HOST})({_PORT})({_REST})", text) if len(text) <= LONGEST_URL else None
    )
    if match is None:
        raise not_accepted(f"{given} is not {meant}", _URL_ACCEPTED)
    scheme, host, port, _ = match.groups()
    if scheme == "http" and not re.fullmatch(LOOPBACK, host):
        raise not_accepted(f"{given} would send the {secret} unencrypted", _URL_ACCEPTED)
    if not _is_host(host) or (port and not 0 < int(port[1:]) <= LARGEST_PORT):
        raise not_accepted(f"{given} has no valid host or port", _URL_ACCEPTED)
    return text


def _shown_url(text: str) -> str:
    """A refused URL for messages: user:pass/word@host is not a URL, and holds a password."""
    return "a text with an @ in it (not shown here)" if "@" in text else shown(text)


def _url_schema(pattern: str) -> dict[str, object]:
    return {"type": "string", "format": "uri", "pattern": anchored(pattern), "maxLength": LONGEST_URL}


URL = ValueType(parse_url, _url_schema(_URL), "URL")
TOKEN_URL = ValueType(parse_token_url, _url_schema(_ANY_URL), "URL")
VERIFY_URL = ValueType(parse_verify_url, _url_schema(_ANY_URL), "URL")

_LOOPBACK_URL = rf"http://{LOOPBACK}(?::([0-9]{{1,5}}))?{_REST}"
_LOOPBACK_URL_ACCEPTED = "http:// to this machine (localhost, 127.0.0.1, [::1]), without a query"


def parse_loopback_url(value: object) -> str:
    """A URL that no other machine serves."""
    text = text_of(value, _LOOPBACK_URL_ACCEPTED)
    match = re.fullmatch(_LOOPBACK_URL, text) if len(text) <= LONGEST_URL else None
    if match is None:
        raise not_accepted(f"{_shown_url(text)} is not a URL of this machine", _LOOPBACK_URL_ACCEPTED)
    if match[1] and not 0 < int(match[1]) <= LARGEST_PORT:
        raise not_accepted(f"{_shown_url(text)} has no valid port", _LOOPBACK_URL_ACCEPTED)
    return text


LOOPBACK_URL = ValueType(parse_loopback_url, _url_schema(_LOOPBACK_URL), "URL")

LISTEN = r"(?:[A-Za-z0-9_.\-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.\-]+)?\]):[0-9]{1,5}"
_LISTEN_ACCEPTED = '[HOST]:PORT such as ":9464", "127.0.0.1:9464" or "[::1]:9464"'


def split_listen(value: object) -> tuple[str, int]:
    """Host and port. An empty host means every address of the machine. IPv6 comes without brackets."""
    text = text_of(value, _LISTEN_ACCEPTED)
    host, _, port = text.rpartition(":")
    fits = len(text) <= LONGEST_HOST and re.fullmatch(LISTEN, text)
    if not fits or int(port) > LARGEST_PORT or not _is_host(host):
        is_port = re.fullmatch("[0-9]{1,5}", text) and int(text) <= LARGEST_PORT
        hint = f"did you mean :{text}? " if is_port else ""
        raise ValueError(f"{shown(text)} is not an address; {hint}accepted: {_LISTEN_ACCEPTED}")
    return host.strip("[]"), int(port)


LISTEN_SCHEMA = {"type": "string", "pattern": anchored(LISTEN), "maxLength": LONGEST_HOST}


def _is_host(host: str) -> bool:
    """Whether a host of accepted characters is valid: a numeric address must be complete."""
    if host.startswith("["):
        import ipaddress  # noqa: PLC0415 - only for IPv6

        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return False
        return True
    numeric = re.fullmatch(r"[0-9.]+", host)
    return not numeric or bool(re.fullmatch(rf"{_OCTET}(?:\.{_OCTET}){{3}}", host))


# Files

LONGEST_PATH = 4095  # PATH_MAX without the NUL, limits.h
_PATH = r"(?!~)(?!(?:.*/)?\.{0,2}$)[^\u0000-\u001f\u007f]+"
_PATH_ACCEPTED = "the path of a file, absolute or relative"


def _path(*, secretive: bool = False) -> ValueType:
    """`secretive`: messages do not quote the value. It may be a secret, given in the place of its path."""

    def parse(value: object) -> str:
        text = text_of(value, _PATH_ACCEPTED, echo=not secretive)
        given = "the value" if secretive else shown(text)
        if text.startswith("~"):
            raise ValueError(f"{given} begins with ~, which is not expanded; write the whole path")
        if len(text) > LONGEST_PATH:
            raise not_accepted(f"{given} is longer than {LONGEST_PATH} characters", _PATH_ACCEPTED)
        if not re.fullmatch(_PATH, text):
            problem = "names a directory" if re.search(r"(^|/)\.{0,2}$", text) and text else "is not a path"
            raise not_accepted(f"{given} {problem}", _PATH_ACCEPTED)
        return text

    schema = {"type": "string", "pattern": anchored(_PATH), "maxLength": LONGEST_PATH}
    return ValueType(parse, schema, "FILE", is_path=True)


FILE = _path()
SECRET_FILE = _path(secretive=True)


# Objects in Kubernetes

Pairs = tuple[tuple[str, str], ...]  # names and values, in the given order

LONGEST_NAME = 253  # characters, of an object and of a key in a Secret

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/: a DNS label (RFC 1123) for the
# namespace; a DNS subdomain for Secrets and Leases. Kubernetes allows longer parts of it than DNS does.
NAMESPACE = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_PART = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_OBJECT_NAME = rf"(?=.{{1,{LONGEST_NAME}}}$){_PART}(?:\.{_PART})*"
_OBJECT = rf"(?:{NAMESPACE}/)?{_OBJECT_NAME}"
_OBJECT_ACCEPTED = (
    "[NAMESPACE/]NAME, both of a-z, 0-9 and -, dots in the name, a letter or digit at either end"
)


def _object(kind: str) -> ValueType:
    def parse(value: object) -> str:
        text = text_of(value, _OBJECT_ACCEPTED)
        if re.fullmatch(_OBJECT, text):
            return text
        raise ValueError(
            f"{shown(text)} is not the name of a {kind}{_meant(text) or ';'} accepted: {_OBJECT_ACCEPTED}"
        )

    longest = 63 + 1 + LONGEST_NAME
    schema = {"type": "string", "pattern": anchored(_OBJECT), "maxLength": longest}
    return ValueType(parse, schema, "[NAMESPACE/]NAME")


def _meant(text: str) -> str:
    name = re.sub(r"[_\s]+", "-", text.lower().replace(":", "/")).strip("-./")
    fits = len(name) <= LONGEST_QUOTE and re.fullmatch(_OBJECT, name)
    return f"; did you mean {name}?" if fits and _is_text(name) else ""


def _is_text(word: str) -> bool:
    """Whether YAML reads the bare word as a text, so that it can be suggested without quotes."""
    from refresher.config.files import resolved  # noqa: PLC0415 - only for mistakes

    return isinstance(resolved(word), str)


def parse_secret_name(value: object) -> str:
    """The name of a Secret, without its namespace."""
    accepted = f"1 to {LONGEST_NAME} of a-z, 0-9, - and ., a letter or digit at either end"
    text = text_of(value, accepted)
    if not re.fullmatch(_OBJECT_NAME, text):
        raise not_accepted(f"{shown(text)} is not the name of a Secret", accepted)
    return text


SECRET = _object("Secret")
SECRET_NAME = ValueType(
    parse_secret_name,
    {"type": "string", "pattern": anchored(_OBJECT_NAME), "maxLength": LONGEST_NAME},
    "NAME",
)
LEASE = _object("Lease")


def namespaced(name: str, home: str) -> tuple[str, str]:
    """Namespace and name from [NAMESPACE/]NAME; `home` is the default namespace."""
    namespace, _, name = name.rpartition("/")
    return namespace or home, name


_KEY = rf"(?!\.\.|\.$)[-._a-zA-Z0-9]{{1,{LONGEST_NAME}}}"  # `IsConfigMapKey` in apimachinery's validation
_KEY_ACCEPTED = f"1 to {LONGEST_NAME} of a-z, A-Z, 0-9, -, _ and ., not starting with two dots"
_DATA_ACCEPTED = "a mapping of the Secret's keys to formats, such as {access-token: token}"


def parse_data(value: object) -> Pairs:
    """Each key with its format, in the given order. Raises MappingError."""
    if not isinstance(value, Mapping) or not value:
        given = "an empty mapping" if isinstance(value, Mapping) else described(value)
        raise not_accepted(f"{given} is given", _DATA_ACCEPTED)
    return named_values(value, _KEY, _refused_key, FORMAT)


def named_values(value: Mapping, pattern: str, refused: Callable[[str], str], item: ValueType) -> Pairs:
    """Each name in `value` with its setting. Names must match `pattern`; of others, `refused` says why not.
    Raises MappingError."""
    problems, pairs = list[tuple[str | Path, str]](value.repetitions()), list[tuple[str, str]]()
    for name, given in value.items():
        if not re.fullmatch(pattern, name):
            problems.append((name, refused(name)))
        try:
            pairs.append((name, read(item, given)))
        except ValueError as error:
            problems.append((name, str(error)))
    if problems:
        raise MappingError(problems)
    return tuple(pairs)


def parse_secret_key(value: object) -> str:
    """A key of a Secret."""
    text = text_of(value, _KEY_ACCEPTED)
    if not re.fullmatch(_KEY, text):
        raise ValueError(f"{shown(text)}: {_refused_key(text)}")
    return text


SECRET_KEY = ValueType(parse_secret_key, {"type": "string", "pattern": anchored(_KEY)}, "KEY")


def _refused_key(key: str) -> str:
    meant = re.sub(r"[^-._a-zA-Z0-9]+", "-", key).strip("-.")
    fits = len(meant) <= LONGEST_QUOTE and re.fullmatch(_KEY, meant) and _is_text(meant)
    hint = f"did you mean {meant}? " if fits else ""
    return f"not a valid key of a Secret; {hint}accepted: {_KEY_ACCEPTED}"


DATA = ValueType(
    parse_data,
    {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": anchored(_KEY)},
        "additionalProperties": {"enum": list(formats.NAMES)},
    },
    "",
    dict,
    choices=lambda data: tuple(dict.fromkeys(format_ for _, format_ in data)),
)
