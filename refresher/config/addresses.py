"""Addresses: where the issuer is, and where to listen."""

import re

from refresher.config.kinds import Kind, anchored, misfit, text_of
from refresher.config.wording import shown
from refresher.core.inlive import MINT_PATH

LONGEST_URL = 2048
LONGEST_HOST = 255
LARGEST_PORT = 65535

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PORT = r"(?::[0-9]{1,5})?"
_REST = r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/\-]*)?"
# Spelt out rather than left to a URL parser: what is checked here must be what the HTTP client will do.
_HOST = r"(?:[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:.]+\])"
LOOPBACK = rf"(?:localhost|127(?:\.{_OCTET}){{3}}|\[::1\])"
_ANY_URL = rf"(?:https://{_HOST}|http://{LOOPBACK}){_PORT}{_REST}"
_URL = rf"(?!.*{MINT_PATH}/*$){_ANY_URL}"
_URL_ACCEPTED = "https://HOST[:PORT][/PATH], or http:// to this machine (localhost, 127.0.0.1, [::1])"


def parse_url(value: object) -> str:
    """The issuer's base URL without a trailing slash."""
    base = _safe_url(value, "an issuer's URL", "key").rstrip("/")
    if base.endswith(MINT_PATH):
        raise ValueError(f"{_told(base)} ends in {MINT_PATH}, which is added; write what stands before it")
    return base


def parse_verify_url(value: object) -> str:
    """The whole URL that a new token is tried out with."""
    return _safe_url(value, "a URL to try tokens out with", "token")


def _safe_url(value: object, meant: str, secret: str) -> str:
    """A URL that may be sent a secret: it travels in every request, so plain http is for loopback only."""
    text = text_of(value, _URL_ACCEPTED)
    authority = re.match(r"[a-z]+://([^/?#]*)", text[:LONGEST_URL], re.IGNORECASE)
    if "@" in (authority[1] if authority else text.partition("/")[0]):
        raise misfit("a URL with user:password@ (not shown here)", _URL_ACCEPTED)
    if "?" in text or "#" in text:
        raise misfit("a URL with a query or a fragment (not shown here)", _URL_ACCEPTED)
    told = _told(text)
    match = (
        re.fullmatch(rf"(https?)://({_HOST})({_PORT})({_REST})", text) if len(text) <= LONGEST_URL else None
    )
    if match is None:
        raise misfit(f"{told} is not {meant}", _URL_ACCEPTED)
    scheme, host, port, _ = match.groups()
    if scheme == "http" and not re.fullmatch(LOOPBACK, host):
        raise misfit(f"{told} would send the {secret} unencrypted", _URL_ACCEPTED)
    if not _is_host(host) or (port and not 0 < int(port[1:]) <= LARGEST_PORT):
        raise misfit(f"{told} has no valid host or port", _URL_ACCEPTED)
    return text


def _told(text: str) -> str:
    """As a message may show it: user:pass/word@host is no URL, and has a password in it."""
    return "a text with an @ in it (not shown here)" if "@" in text else shown(text)


def _url_schema(pattern: str) -> dict[str, object]:
    return {"type": "string", "format": "uri", "pattern": anchored(pattern), "maxLength": LONGEST_URL}


URL = Kind(parse_url, _url_schema(_URL), "URL")
VERIFY_URL = Kind(parse_verify_url, _url_schema(_ANY_URL), "URL")

LISTEN = r"(?:[A-Za-z0-9_.\-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.\-]+)?\]):[0-9]{1,5}"
_LISTEN_ACCEPTED = '[HOST]:PORT such as ":9464", "127.0.0.1:9464" or "[::1]:9464"'


def split_listen(value: object) -> tuple[str, int]:
    """Host and port; the host is empty for every address of the machine, and without the brackets of IPv6."""
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
    """Whether a host of the right characters can be one: numeric addresses must be complete."""
    if host.startswith("["):
        import ipaddress  # noqa: PLC0415 - only for who writes IPv6

        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return False
        return True
    numeric = re.fullmatch(r"[0-9.]+", host)
    return not numeric or bool(re.fullmatch(rf"{_OCTET}(?:\.{_OCTET}){{3}}", host))
