"""Proxies from the environment: checks them, and names them in messages without their passwords."""

import os
import re
from urllib.parse import urlsplit

_ACCEPTED = "accepted: http://[USER:PASSWORD@]HOST[:PORT]"
_VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def problem(proxy: str) -> str:
    """Why `proxy` cannot be used; "" if it can. The message names the variable, but not its value, which may
    contain a password."""
    reason = _reason(proxy)
    return f"{_variable(proxy)} cannot be used: {reason}; {_ACCEPTED}" if reason else ""


def address(proxy: str) -> str:
    """Host and port of `proxy` for a message, without user and password; "" if it is not a URL."""
    return host_and_port(proxy if "://" in proxy else f"//{proxy}")


def host_and_port(url: str) -> str:
    """Host and port of `url` for a message. Returns "" if it is not a URL: any part may be a password."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _reason(proxy: str) -> str:
    if invalid := re.search(r"[^\x21-\x7e]", proxy):
        character = "a line break" if invalid[0] in "\r\n" else "a character that is not allowed in a URL"
        return f"it contains {character}"
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is not a URL"
    if "@" in parts.path + parts.query + parts.fragment:
        return "the characters / ? # in a password must be percent-encoded"
    if parts.scheme.startswith("socks"):
        return "SOCKS proxies are not supported"
    return "" if host and parts.scheme in ("http", "https") else "it is not the URL of a proxy"


def _variable(proxy: str) -> str:
    names = (name for name in _VARIABLES if os.environ.get(name) == proxy)
    return next(names, "the proxy in the environment")
