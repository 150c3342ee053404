"""Addresses: where the issuer is, and where to listen."""

import re

from refresher.config.kinds import Kind, anchored, misfit, text_of
from refresher.config.wording import shown
from refresher.core.formats import MINT_PATH

LONGEST_URL = 2048
LONGEST_HOST = 255
LARGEST_PORT = 65535

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PORT = r"(?::[0-9]{1,5})?"
_REST = r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/\-]*)?"
# Spelt out rather than left to a URL parser: what is checked here must be what the HTTP client will do.
_HOST = r"(?:[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:.]+\])"
_LOOPBACK = rf"(?:localhost|127(?:\.{_OCTET}){{3}}|\[::1\])"
_URL = rf"(?!.*{MINT_PATH}/*$)(?:https://{_HOST}|http://{_LOOPBACK}){_PORT}{_REST}"
_URL_ACCEPTED = "https://HOST[:PORT][/PATH], or http:// to this machine (localhost, 127.0.0.1, [::1])"


def parse_url(value: object) -> str:
    """The issuer's base URL without a trailing slash.

    Plain http is for loopback only: the application key travels in every request.
    """
    text = text_of(value, _URL_ACCEPTED)
    authority = re.match(r"[a-z]+://([^/?#]*)", text[:LONGEST_URL], re.IGNORECASE)
    if "@" in (authority[1] if authority else text.partition("/")[0]):
        raise misfit("a URL with user:password@ (not shown here)", _URL_ACCEPTED)
    if "?" in text or "#" in text:
        raise misfit("a URL with a query or a fragment (not shown here)", _URL_ACCEPTED)
    told = (
        "a text with an @ in it (not shown here)" if "@" in text else shown(text)
    )  # user:pass/word@ is no URL
    match = (
        re.fullmatch(rf"(https?)://({_HOST})({_PORT})({_REST})", text) if len(text) <= LONGEST_URL else None
    )
    if match is None:
        raise misfit(f"{told} is not an issuer's URL", _URL_ACCEPTED)
    scheme, host, port, _ = match.groups()
    if scheme == "http" and not re.fullmatch(_LOOPBACK, host):
        raise misfit(f"{told} would send the key unencrypted", _URL_ACCEPTED)
    if not _is_host(host) or (port and not 0 < int(port[1:]) <= LARGEST_PORT):
        raise misfit(f"{told} has no valid host or port", _URL_ACCEPTED)
    base = text.rstrip("/")
    if base.endswith(MINT_PATH):
        raise ValueError(f"{told} ends in {MINT_PATH}, which is added; write what stands before it")
    return base


URL = Kind(
    parse_url, {"type": "string", "format": "uri", "pattern": anchored(_URL), "maxLength": LONGEST_URL}, "URL"
)

_LISTEN = r"(?:[A-Za-z0-9_.\-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.\-]+)?\]):[0-9]{1,5}"
_LISTEN_ACCEPTED = '[HOST]:PORT such as ":9464", "127.0.0.1:9464" or "[::1]:9464"'


def split_listen(value: object) -> tuple[str, int]:
    """Host and port; the host is empty for every address of the machine, and without the brackets of IPv6."""
    text = text_of(value, _LISTEN_ACCEPTED)
    host, _, port = text.rpartition(":")
    fits = len(text) <= LONGEST_HOST and re.fullmatch(_LISTEN, text)
    if not fits or int(port) > LARGEST_PORT or not _is_host(host):
        hint = f"did you mean :{text}? " if re.fullmatch("[0-9]{1,5}", text) else ""
        raise ValueError(f"{shown(text)} is not an address; {hint}accepted: {_LISTEN_ACCEPTED}")
    return host.strip("[]"), int(port)


LISTEN_SCHEMA = {"type": "string", "pattern": anchored(_LISTEN), "maxLength": LONGEST_HOST}


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
