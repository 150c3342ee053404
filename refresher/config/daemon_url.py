"""The address of a daemon's endpoints, as people give it to `refresher status`."""

import re

from refresher.config.addresses import split_listen
from refresher.config.quoting import shown_url

DEFAULT_PORT = 9464
ACCEPTED = "HOST, HOST:PORT, :PORT or http://HOST:PORT, with an IPv6 address in brackets"

_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared, not bound
_PARTS = re.compile(r"(?i:(https?)://)?([^/?#@\s]*)((?:/[^?#\s]*)?)")
_SCHEME_PORTS = {"http": 80, "https": 443}


def parse_daemon_url(text: str) -> str:
    """The URL of a daemon's endpoints, without ``/status`` and without a slash at the end.

    The default scheme is http. The default host is this machine. Without a scheme the default port is
    DEFAULT_PORT. Raises ValueError.
    """
    parts = _PARTS.fullmatch(text)
    if parts is None or not text:
        raise ValueError(f"{shown_url(text)} is not the address of a daemon; accepted: {ACCEPTED}")
    scheme, authority, path = (part or "" for part in parts.groups())
    has_port = re.search(r":[0-9]+$", authority) is not None
    default = _SCHEME_PORTS.get(scheme.lower(), DEFAULT_PORT)
    try:
        host, port = split_listen(authority if has_port else f"{authority}:{default}")
    except ValueError as error:
        message = f"{shown_url(text)} is not the address of a daemon; accepted: {ACCEPTED}"
        raise ValueError(message) from error
    if (scheme and not host) or not port:
        raise ValueError(f"{shown_url(text)} has no host or no port; accepted: {ACCEPTED}")
    prefix = path.rstrip("/").removesuffix("/status").rstrip("/")
    return f"{scheme.lower() or 'http'}://{_bracketed(host or 'localhost')}:{port}{prefix}"


def local_url(host: str, port: int) -> str:
    """The URL at which a daemon that listens on this address answers on this machine."""
    return f"http://{_bracketed(_WILDCARDS.get(host, host))}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
